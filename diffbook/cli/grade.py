"""`diffbook grade`: run the notebooks that students hand in, and say which exercises are right."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from diffbook.cli.app import app, at_least, note, say


@app.command()
def grade(
    files: Annotated[list[Path], typer.Argument(help='Notebooks (.ipynb) or scripts (.py) that call grade("10-1", f).')],
    exercises: Annotated[str | None, typer.Option(help='The ids that count, such as 10-1,10-2,10-a; by default all that any of the files calls.')] = None,
    seed: Annotated[int, typer.Option(help='Seed of the random cases: another one than the students saw, so that numbers copied from replies are of no use.')] = 1,
    cases: Annotated[int, typer.Option(help='Random cases for each exercise.')] = 20,
    minutes: Annotated[float, typer.Option(help='Time for one file.')] = 5.0,
    out: Annotated[Path | None, typer.Option(help='Write every verdict to this file as JSON.')] = None,
) -> None:
    """Grade notebooks: each exercise on random cases of a seed of your own, a table, and what is wrong in words.

    Example: `diffbook grade anna.ipynb ben.ipynb --exercises 10-1,10-2,10-a --seed 7 --out marks.json`

    A cell that fails is noted and the next one runs; the last answer to an exercise counts, but letters
    that are tried one after the other count as none. A mark says that the file is right, not who wrote it. Every file runs in a process of its
    own, in its own folder, and may do there what Python may do: open what strangers hand in where nothing can be harmed.
    """
    from tqdm import tqdm

    from diffbook.exercise import find
    from diffbook.store.files import write_whole

    at_least('--cases', cases, 1)
    at_least('--minutes', minutes, 0.01)
    wanted = [id.strip() for id in exercises.split(',')] if exercises is not None else None
    for id in wanted or ():
        find(id)  # names the ones that there are
    for file in files:
        if file.suffix not in ('.ipynb', '.py'):
            raise ValueError(f'{file} is no notebook, expected a name that ends in .ipynb or .py')
        if not file.is_file():
            raise FileNotFoundError(2, 'no such file', str(file))
    bar = tqdm(files, unit='file', disable=None if len(files) > 1 else True)  # None: quiet where no terminal is there
    sheets = [sheet(file, seed, cases, minutes) for file in bar]
    ids = wanted or sorted({id for s in sheets for id in s['verdicts']})
    for s in sheets:
        s['right'] = sum(s['verdicts'].get(id, {}).get('right', False) for id in ids)
        s['of'] = len(ids)
    show(sheets, ids)
    if out is not None:
        asks = {id: find(id).ask for id in ids}
        write_whole(out, (json.dumps({'seed': seed, 'cases': cases, 'exercises': asks, 'files': sheets}, indent=1) + '\n').encode())
        say(f'verdicts are in {out}')


def sheet(file: Path, seed: int, cases: int, minutes: float) -> dict[str, Any]:
    "Run one file in a process of its own: its verdicts by exercise, and the cells that failed."
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'result.json'
        command = [sys.executable, '-m', 'diffbook.cli.graded', str(file.resolve()), str(result), str(seed), str(cases)]
        try:
            done = subprocess.run(command, cwd=file.resolve().parent, capture_output=True, timeout=60 * minutes, env={**os.environ, 'MPLBACKEND': 'Agg'}, stdin=subprocess.DEVNULL)
            end = '' if done.returncode == 0 else f'ended with code {done.returncode}'
        except subprocess.TimeoutExpired:
            end = f'took longer than {minutes:g} minutes'
        found = json.loads(result.read_text(encoding='utf-8')) if result.exists() else {'verdicts': {}, 'failed': []}
    return {'file': file.name, **found} | ({'end': end} if end else {})


def show(sheets: list[dict[str, Any]], ids: list[str]) -> None:
    "Print a line for each file, a column for each exercise, and the reasons."
    width = max(map(len, ['file', *(s['file'] for s in sheets)]))
    say(f'{"file":{width}}  ' + '  '.join(f'{id:5}' for id in ids) + '  right')
    for s in sheets:
        marks = ['-' if id not in s['verdicts'] else 'right' if s['verdicts'][id]['right'] else 'no' for id in ids]
        say(f'{s["file"]:{width}}  ' + '  '.join(f'{m:5}' for m in marks) + f'  {s["right"]} of {s["of"]}')
    for s in sheets:
        for id in ids:
            if (verdict := s['verdicts'].get(id)) and not verdict['right']:
                say(f'{s["file"]}, {id}: {verdict["message"]}')
        for cell, error in s['failed']:
            note(f'{s["file"]}, {cell}: {error}')
        if 'end' in s:
            note(f'{s["file"]} {s["end"]}')
