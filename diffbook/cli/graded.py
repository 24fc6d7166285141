"""Run one file that was handed in, and write its verdicts: `python -m diffbook.cli.graded FILE RESULT SEED CASES`."""

import json
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffbook.exercise import Question, Verdict, find, recorded
from diffbook.store.files import write_whole


def cells(file: Path) -> Iterator[tuple[str, str]]:
    "(name, code) of each code cell; magics and shell commands are left out."
    text = file.read_text(encoding='utf-8')
    if file.suffix == '.py':
        yield 'the script', text
        return
    for k, cell in enumerate(json.loads(text)['cells']):
        if cell['cell_type'] == 'code' and not (source := ''.join(cell['source'])).startswith('%%'):
            yield f'cell {cell.get("id", k)}', re.sub(r'(?m)^(\s*)[%!].*$', r'\1pass', source)


def counted(id: str, given: list[Verdict]) -> dict[str, Any]:
    "The last verdict, and how often was tried; letters that were tried one after the other count as none."
    right, message = given[-1].right, given[-1].message
    known = find(id) if given[-1].right else None
    if isinstance(known, Question) and isinstance(known.answer, str) and not all(v.right for v in given):
        right, message = False, f'{len(given)} letters are tried in the file; a letter counts when it stands alone.'
    return {'right': right, 'message': message, 'tries': len(given)}


def main(file: str, result: str, seed: str, cases: str) -> None:
    verdicts: dict[str, Any] = {}
    failed: list[tuple[str, str]] = []
    names: dict[str, Any] = {'__name__': '__main__'}

    def keep() -> None:
        write_whole(Path(result), json.dumps({'verdicts': verdicts, 'failed': failed}).encode())

    with recorded(int(seed), int(cases)) as given:
        for name, code in cells(Path(file)):
            try:
                exec(compile(code, name, 'exec'), names)  # the file is run on purpose: see the help of `diffbook grade`
            except Exception as error:
                failed.append((name, ' '.join(traceback.format_exception_only(error)[-1].split())[:300]))
            verdicts |= {id: counted(id, [v for other, v in given if other == id]) for id, _ in given}
            keep()
    keep()


if __name__ == '__main__':
    main(*sys.argv[1:])
