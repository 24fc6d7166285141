"""Change every module at random, one place at a time, and see whether its tests and its chapter notice.

    python -m benchmarks.mutants --module samplers --n 60        # sixty changes of one module, in the order of seed 0
    python -m benchmarks.mutants --all --n 15                    # fifteen of each; a run that was stopped goes on
    python -m benchmarks.mutants --all --part 2/6 --seed 7       # the second sixth of the modules, other changes
    python -m benchmarks.mutants --again                         # judge the survivors once more
    python -m benchmarks.mutants --show                          # the shares, and who survived

What a change may be stands in benchmarks/changes.py. Whoever calls the changed function judges: all tests and chapters are
watched once, file by file (out/reach.json keeps who called what, and is taken up again where nothing changed), and then a
change is shown to those that reached it, quick ones first, up to --budget seconds of tests, and to the chapter whose cell it
stands in; the first that fails ends it. Judges run in a mirror of the repository, in a child that shares the libraries
loaded here. A change that hangs counts as noticed. The result file keeps the digest of the module that was judged, so that
results of an older version are told apart. Why a survivor changes nothing that anybody could notice is written by hand in
benchmarks/equivalent.json; it counts neither way. The mistakes of tests/test_mutants.py are apart from these.
"""

import argparse
import ast
import contextlib
import hashlib
import importlib
import json
import math
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

from benchmarks.changes import Change, draw, functions
from benchmarks.reliability import count_tests, row
from diffbook.store.files import write_whole

ROOT = Path(__file__).parent.parent
REACH = ROOT / 'out' / 'reach.json'
RESULTS = ROOT / 'benchmarks' / 'results' / 'mutants.json'
EQUIVALENT = ROOT / 'benchmarks' / 'equivalent.json'
APART = ('__init__.py', '_modidx.py')  # no code of ours; the graders in exercises/ have judges of another kind
APART_TESTS = ('test_mutants.py', 'test_house.py', 'test_benchmarks.py', 'test_reliability.py')  # they copy, build or time the repository


def modules() -> dict[str, Path]:
    "Every module with code of ours by its name within the package."
    package = ROOT / 'diffbook'
    files = [p for folder in ('.', 'nets', 'store', 'published', 'cli') for p in sorted((package / folder).glob('*.py')) if p.name not in APART]
    return {'.'.join(p.relative_to(package).with_suffix('').parts): p for p in files}


def witnesses() -> list[str]:
    "All tests and chapters that may judge."
    tests = [p for p in sorted((ROOT / 'tests').rglob('test_*.py')) if p.name not in APART_TESTS]
    return [str(p.relative_to(ROOT)) for p in (*tests, *sorted((ROOT / 'nbs').glob('*.ipynb')))]


def digest(source: str) -> str:
    "Of what a module does: comments, docstrings and the places of lines do not count."
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return letters(ast.dump(tree))


def letters(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cells(source: str) -> list[tuple[int, int, str, str]]:
    "Start and end of each piece of a module in bytes, and the chapter and the cell that it comes from; none if written by hand."
    marks = [*re.finditer(rb'^# %% (?:\.\./)+nbs/(\S+) #(\S+)\n', source.encode(), re.M)]
    ends = [m.start() for m in marks[1:]] + [len(source.encode())][: len(marks)]
    return [(m.end(), end, m[1].decode(), m[2].decode()) for m, end in zip(marks, ends, strict=True)]


@dataclass
class Mirror:
    "A copy of the repository in which one module at a time is changed."

    module: str = ''  # none: nothing is changed
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix='mutants-')))

    def __post_init__(self):
        ignored = shutil.ignore_patterns('.*', '__pycache__', 'out', '_docs', '_proc', 'data', 'zoo', 'measured')
        shutil.copytree(ROOT, self.folder, ignore=ignored, symlinks=True, dirs_exist_ok=True)
        for name in ('zoo', 'measured'):
            if (ROOT / 'diffbook' / name).is_dir():
                (self.folder / 'diffbook' / name).symlink_to(ROOT / 'diffbook' / name)
        if not self.module:
            return
        self.path = self.folder / modules()[self.module].relative_to(ROOT)
        self.source = self.path.read_text(encoding='utf-8')
        self.chapters = list(dict.fromkeys(chapter for *_, chapter, _ in cells(self.source)))

    def chapter(self, change: Change) -> str | None:
        "The chapter whose cell is changed."
        return next((f'nbs/{chapter}' for a, b, chapter, _ in cells(self.source) if a <= change.start < b), None)

    @contextlib.contextmanager
    def changed(self, change: Change):
        "The module with the change, and its chapter too; both are put back with their times, so that what was compiled stays valid."
        edits = {self.path: change.apply(self.source)}
        for a, b, chapter, cell in cells(self.source):
            if a <= change.start < b:
                path = self.folder / 'nbs' / chapter
                notebook = json.loads(path.read_text(encoding='utf-8'))
                (found,) = [c for c in notebook['cells'] if c.get('id') == cell]
                found['source'] = changed_cell(''.join(found['source']), self.source, a, b, change)
                edits[path] = json.dumps(notebook)
        kept = {path: (path.read_bytes(), path.stat()) for path in edits}
        try:
            for path, text in edits.items():
                path.write_text(text, encoding='utf-8')
            yield
        finally:
            for path, (content, stat) in kept.items():
                path.write_bytes(content)
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def changed_cell(cell: str, source: str, a: int, b: int, change: Change) -> str:
    "A cell with the change that is made in its piece of the module, which runs from byte a to byte b."
    grown = len(change.new.encode()) - (change.end - change.start)
    old = source.encode()[a:b].decode().strip('\n')
    new = change.apply(source).encode()[a : b + grown].decode().strip('\n')
    if cell.count(old) != 1:
        raise ValueError(f'a cell does not hold its piece of the module, {old[:60]!r}; run nbdev_export')
    return cell.replace(old, new)


class Watch:
    "A plugin of pytest: note who calls which functions of the package, how long it takes, and who fails first; or choose who runs."

    def __init__(self, package: Path, wanted: dict[str, float] | None = None):
        self.package, self.wanted = f'{package}{os.sep}', wanted
        self.seconds, self.lines, self.failed, self.who = {}, {}, [], ''

    def trace(self, frame, event, arg):
        if (name := frame.f_code.co_filename).startswith(self.package):
            self.lines.setdefault(self.who, {}).setdefault(name[len(self.package) :], set()).add(frame.f_code.co_firstlineno)

    def pytest_pycollect_makemodule(self, module_path):
        self.who = str(module_path.relative_to(Path.cwd()))

    def pytest_runtest_logstart(self, nodeid):
        self.who = nodeid.partition('::')[0]  # what a fixture calls may be asked for by every test of the file

    def pytest_runtest_call(self, item):
        self.who = item.nodeid

    def pytest_runtest_teardown(self, item):
        self.who = item.nodeid.partition('::')[0]

    def pytest_collection_modifyitems(self, config, items):
        if self.wanted is None:
            return
        wanted = [item for item in items if item.nodeid in self.wanted]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = sorted(wanted, key=lambda item: self.wanted[item.nodeid])

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)


def run_judges(folder: Path, names: list[str], watch: Watch, fresh: bool) -> None:
    "Run judges in this process, a child, until one fails; leave what was seen in the mirror."
    import pytest

    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, '__file__', None) or '/')
        if name != '__main__' and (ROOT in file.parents or name.split('.')[0] in ('diffbook', 'benchmarks', 'tests', 'tools')):
            del sys.modules[name]
    sys.dont_write_bytecode = not fresh
    sys.path[:] = [str(folder), *(p for p in sys.path if Path(p or '.').resolve() != ROOT)]
    os.environ['PYTHONPATH'] = str(folder)
    os.environ['PYTHONDONTWRITEBYTECODE'] = '1'
    os.chdir(folder)
    with open(folder / 'log', 'wb') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    apart = set()  # who starts processes, in which nothing is seen
    if fresh:
        sys.addaudithook(lambda event, _: apart.add(watch.who) if event in ('subprocess.Popen', 'os.fork', 'os.posix_spawn') else None)
    code = 0
    for name in names:
        if fresh:
            sys.settrace(watch.trace)
        code = int(
            pytest.main(
                [
                    *([] if fresh else ['-x']),
                    '-q',
                    '-p',
                    'no:cacheprovider',
                    '-p',
                    'no:xdist',
                    '-W',
                    'ignore::pytest.PytestAssertRewriteWarning',
                    '--tb=short',
                    name,
                ],
                plugins=[watch],
            )
        )
        sys.settrace(None)
        if code not in (0, 5):  # 5: none was chosen
            break
    said = {'code': 0 if code == 5 else code, 'failed': watch.failed, 'seconds': watch.seconds, 'apart': sorted(apart)}
    said |= {'lines': {who: {name: sorted(lines) for name, lines in where.items()} for who, where in watch.lines.items()}}
    (folder / 'seen.json').write_text(json.dumps(said))


def in_child(limit: float, folder: Path, *args) -> dict:
    "Run judges in a child that shares our loaded libraries; what it saw, or how it ended. `limit` is of processor seconds, ten times that of the wall."
    (folder / 'seen.json').unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit)))
            run_judges(folder, *args)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)
    end = time.monotonic() + 10 * limit  # on a busy machine a second is not a second
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {'code': -1, 'failed': [f'longer than {limit:.0f} s']}
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):  # what a test left running
        os.killpg(child, signal.SIGKILL)
    if (folder / 'seen.json').exists():
        return json.loads((folder / 'seen.json').read_text())
    code = os.waitstatus_to_exitcode(done[1])
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return {'code': -1, 'failed': [f'longer than {limit:.0f} s']}
    return {'code': 70, 'failed': [f'ended with {code}']}


def warm(names: list[str]) -> None:
    "Load what judges load, once."
    slow = ['diffusers', 'transformers', 'torchmetrics'] if any('parity' in name for name in names) else []
    for name in ('pytest', 'torch', 'torchvision', 'torch.testing', 'numpy', 'scipy.stats', 'scipy.integrate', 'hypothesis', 'mpmath', 'matplotlib.pyplot',
                 'PIL.Image', 'safetensors.torch', 'typer.testing', 'einops', 'jaxtyping', 'fastcore.test', 'execnb.shell', 'nbdev.test', *slow):  # fmt: skip
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.modules['torch'].set_num_threads(1)


@dataclass
class Reach:
    "Who calls which functions of the package: every test and chapter is watched once, and what was seen is kept in a file."

    path: Path
    seen: dict[str, dict] = field(default_factory=dict)  # file of tests -> its key, seconds, lines, who starts processes

    def look(self, limit: float) -> None:
        "Watch the files that are new or changed, or all if the package changed."
        from tqdm import tqdm

        kept = json.loads(self.path.read_text(encoding='utf-8')) if self.path.exists() else {}
        package = ''.join(letters(path.read_text(encoding='utf-8')) for path in modules().values())
        keys = {name: letters(package + (ROOT / name).read_text(encoding='utf-8')) for name in witnesses()}
        self.seen = {name: kept[name] for name, key in keys.items() if kept.get(name, {}).get('key') == key}
        todo = [name for name in keys if name not in self.seen]
        if not todo:
            return
        warm(todo)
        mirror = Mirror()
        try:
            for name in tqdm(todo, desc='who calls what', unit='file', disable=False):
                begun = time.monotonic()
                found = in_child(limit, mirror.folder, [name], Watch(mirror.folder / 'diffbook'), True)
                if found['failed']:
                    print(f'{name} fails without a change and does not judge: {", ".join(found["failed"][:5])}', file=sys.stderr)
                self.seen[name] = (
                    {'key': keys[name], 'wall': round(time.monotonic() - begun, 2)}
                    | {k: found.get(k, {}) for k in ('seconds', 'lines', 'apart')}
                    | {'failed': found['failed']}
                )
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self.path, json.dumps(self.seen).encode())
        finally:
            shutil.rmtree(mirror.folder)

    def judges(self, module: str, span: tuple[int, int] | None, chapter: str | None, budget: float) -> tuple[dict[str, dict[str, float]], int]:
        "By file, the tests that reach a function of a module, or any line of it if there is no span, with their seconds; and how many were left out."
        place = os.path.join(*module.split('.')) + '.py'
        word, reached = module.rpartition('.')[2], []
        for name, part in self.seen.items():
            own = name == chapter or Path(name).stem == f'test_{word}'
            for node, seconds in part['seconds'].items():
                if node in part['failed']:
                    continue
                lines = {line for who in (node, name) for line in part['lines'].get(who, {}).get(place, ())}
                hit = lines if span is None else {line for line in lines if span[0] <= line <= span[1]}
                hidden = node in part['apart'] and (own or place in part['lines'].get(node, {}))  # its processes may call it
                if hit or hidden or name == chapter:
                    reached.append((not (name == chapter), seconds, node, name))
        chosen: dict[str, dict[str, float]] = {}
        spent, left = 0.0, 0
        for _, seconds, node, name in sorted(reached):
            if spent + seconds > budget and chosen:
                left += 1
                continue
            spent += seconds
            chosen.setdefault(name, {})[node] = seconds
        return dict(sorted(chosen.items(), key=lambda item: sum(item[1].values()))), left


@cache
def reasons() -> dict[tuple[str, str, str], str]:
    "Why some changes cannot be noticed, by module and lines before and after."
    listed = json.loads(EQUIVALENT.read_text(encoding='utf-8')) if EQUIVALENT.exists() else []
    return {(one['module'], one['old'], one['new']): one['why'] for one in listed}


def summary(module: str, part: dict) -> dict:
    "Count the verdicts of one module; a survivor with a reason is equivalent."
    said = lambda m: 'equivalent' if m['verdict'] == 'survived' and (module, m['old'], m['new']) in reasons() else m['verdict']  # noqa: E731
    counts = Counter(said(m) for m in part['mutants'])
    red, tried = counts['killed'] + counts['hung'], len(part['mutants']) - counts['equivalent']
    return {'tried': tried, 'noticed': red, 'share': round(red / tried, 4) if tried else None, 'equivalent': counts['equivalent'], 'hung': counts['hung']}


def survivors(module: str, part: dict) -> list[dict]:
    return [m for m in part['mutants'] if m['verdict'] == 'survived' and (module, m['old'], m['new']) not in reasons()]


def read_results(path: Path = RESULTS) -> dict:
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}


def write_results(report: dict, path: Path) -> None:
    write_whole(path, (json.dumps(dict(sorted(report.items())), indent=1, ensure_ascii=False) + '\n').encode())


def judge(
    module: str, n: int, seed: int, limit: float, reach: Reach, before: dict | None = None, again: bool = False, budget: float = 120.0, keep=lambda part: None
) -> dict:
    "Try changes of one module, those of an earlier run of this seed and source left out; `keep` is called after each."
    from tqdm import tqdm

    mirror = Mirror(module)
    try:
        if before and before['digest'] != digest(mirror.source):
            before = None  # of an older version
        if again and before is None:
            return {}
        same = before and (again or before['seed'] == seed)
        part = {'digest': digest(mirror.source), 'seed': before['seed'] if again else seed, 'mutants': before['mutants'] if same else []}
        wanted = list(
            draw(mirror.source, f'{part["seed"]} {module}')
            if n == 0
            else islice(draw(mirror.source, f'{part["seed"]} {module}'), max(n, again * len(part['mutants'])))
        )
        known = {(m['line'], m['operator'], m['old'], m['new']): m for m in part['mutants']}
        todo = []
        for change in wanted:
            old, new = change.lines(mirror.source)
            seen = known.get((change.line, change.operator, old, new))
            if (seen is None and not again) or (seen is not None and again and seen['verdict'] == 'survived'):
                todo.append((change, old, new))
        bar = tqdm(todo, desc=module, unit='change', disable=False)
        for change, old, new in bar:
            span = next((f for f in functions(mirror.source) if f[0] <= change.line <= f[1]), None)
            chosen, left = reach.judges(module, span, mirror.chapter(change), budget)
            wanted_nodes = {node: seconds for nodes in chosen.values() for node, seconds in nodes.items()}
            warm(list(chosen))
            with mirror.changed(change):
                patience = max(limit, 3 * sum(reach.seen[name]['wall'] for name in chosen))
                seen = in_child(patience, mirror.folder, list(chosen), Watch(mirror.folder / 'diffbook', wanted_nodes), False)
            verdict = 'hung' if seen['code'] == -1 else 'killed' if seen['code'] else 'survived'
            one = {'line': change.line, 'operator': change.operator, 'old': old, 'new': new, 'verdict': verdict, 'by': (seen['failed'] or [None])[0]}
            one |= {'judges': len(wanted_nodes), 'left out': left} if verdict == 'survived' else {}
            part['mutants'] = [m for m in part['mutants'] if (m['line'], m['operator'], m['old'], m['new']) != (change.line, change.operator, old, new)] + [one]
            bar.set_postfix({k: v for k, v in summary(module, part).items() if k in ('tried', 'noticed')})
            keep(part)
        return part
    finally:
        shutil.rmtree(mirror.folder)


def overall(report: dict) -> dict:
    "The share by module and of all; modules that changed since are named."
    there, parts = modules(), {module: summary(module, part) for module, part in report.items()}
    tried, noticed = (sum(part[k] for part in parts.values()) for k in ('tried', 'noticed'))
    older = [m for m, part in report.items() if m not in there or digest(there[m].read_text(encoding='utf-8')) != part['digest']]
    return {'tried': tried, 'noticed': noticed, 'share': round(noticed / tried, 4) if tried else None, 'of an older version': older,
            'not judged': [m for m in there if m not in report], 'modules': parts}  # fmt: skip


def show(report: dict) -> None:
    total = overall(report)
    for module, part in total['modules'].items():
        print(
            f'{module:20} {part["noticed"]:4} of {part["tried"]:4} noticed, {part["equivalent"]} equivalent'
            + ', of an older version' * (module in total['of an older version'])
        )
        for m in survivors(module, report[module]):
            print(f'    line {m["line"]}, {m["operator"]}\n      - {m["old"]}\n      + {m["new"]}')
    print(f'{total["noticed"]} of {total["tried"]} noticed; not judged: {", ".join(total["not judged"]) or "none"}')


@row('G13', 'the tests can fail', goal='60 of 60 seeded mistakes and 90 % of random changes noticed')
def g13(short: bool, seed: int) -> dict:
    "Make each mistake of the museum in a copy of the library and run the test that is named beside it. For random changes of every module, one place at a time, read the result file of `python -m benchmarks.mutants --all` (the nightly run: other changes every night); the short form judges two of the ledger."
    seeded = count_tests('tests/test_mutants.py', 'killed and (noise or sign)' if short else 'test_mutant_is_killed')
    if short:
        reach = Reach(REACH)
        reach.look(2400)
    total = overall({'ledger': judge('ledger', 2, seed, 60, reach)} if short else read_results())
    return {
        'figure': f'{seeded["figure"]} seeded, {total["noticed"]} of {total["tried"]} drawn', 'met': seeded['met'] and total['noticed'] >= 0.9 * total['tried'] > 0,
        'n': seeded['n'] + total['tried'], 'seeded': seeded, 'drawn': total,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--module', nargs='+', choices=modules(), metavar='NAME', help='such as samplers or nets.unet')
    parser.add_argument('--all', action='store_true', help='every module of the package')
    parser.add_argument('--part', default='1/1', help='of the modules, such as 2/6: the second of six shares')
    parser.add_argument('--n', type=int, default=15, help='changes of each module; 0: all there are')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--again', action='store_true', help='judge the survivors of the result file once more')
    parser.add_argument('--least', type=float, help='end with 1 if a smaller share of all is noticed')
    parser.add_argument('--limit', type=float, default=60, help='seconds until a change counts as hanging, at least')
    parser.add_argument('--budget', type=float, default=120, help='seconds of tests that a change is shown to, at most')
    parser.add_argument('--reach', type=Path, default=REACH, help='the file that keeps who calls what')
    parser.add_argument('--out', type=Path, default=RESULTS, help='the result file, which is read and gone on with')
    parser.add_argument('--show', action='store_true', help='print the result file and run nothing')
    a = parser.parse_args(argv)
    report = read_results(a.out)
    if a.show:
        show(report)
        return 0
    k, parts = map(int, a.part.split('/'))
    chosen = a.module or (
        list(report) if a.again else list(modules()) if a.all else parser.error('name modules with --module, or say --all, --again or --show')
    )
    chosen, wrong = chosen[k - 1 :: parts], []
    import conftest  # noqa: F401  the quiet surroundings of the tests, and where data lies

    reach = Reach(a.reach)
    reach.look(40 * a.limit)
    for module in chosen:
        keep = lambda part, module=module: write_results(report | {module: part}, a.out)  # noqa: E731
        try:
            if part := judge(module, a.n, a.seed, a.limit, reach, report.get(module), a.again, a.budget, keep):
                report[module] = part
                write_results(report, a.out)
        except (RuntimeError, ValueError) as error:  # the other modules are judged all the same
            wrong.append(module)
            print(error, file=sys.stderr)
    found = {module: report[module] for module in chosen if module in report}
    show(found)
    total = overall(found)
    return int(bool(wrong) or (a.least is not None and (total['share'] or 0) < a.least))


if __name__ == '__main__':
    sys.exit(main())
