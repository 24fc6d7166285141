"""Collect every chapter as one test, beside tests/, and give each of them the same quiet, repeatable surroundings."""

import io
import os
import random
import re
import signal
import threading
from contextlib import redirect_stderr
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('TQDM_DISABLE', '1')
os.environ['MPLBACKEND'] = 'agg'

import pytest

ROOT = Path(__file__).parent
NBS = ROOT / 'nbs'
WITHOUT_DATA = 'without data: '  # how the reason of a test begins that was skipped for want of it

for folder in (ROOT / 'data', ROOT.parent / 'data', ROOT.parent / 'shared' / 'data'):
    if any((folder / name).is_dir() for name in ('FashionMNIST', 'emoji', 'clip-bpe', 'model-configs')):
        os.environ.setdefault('DIFFBOOK_DATA', str(folder))


def pytest_addoption(parser):
    parser.addoption('--slow', action='store_true', help='also run slow tests and the slow cells of the chapters')
    parser.addoption('--network', action='store_true', help='also run tests that download something')
    parser.addoption('--shuffle', type=int, metavar='SEED', help='run the files, and the tests in each, in another order')
    parser.addoption('--types', action='store_true', help='check every call of the library against its annotations')


def pytest_configure(config):
    import torch

    if config.getoption('--types'):
        from jaxtyping import install_import_hook

        # an int is a float, as for every static checker (PEP 484)
        install_import_hook('diffbook', 'beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))')

    torch.set_num_threads(1)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background has it ignored
    if hasattr(signal, 'SIGHUP') and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and so has nohup this one


def pytest_collection_modifyitems(config, items):
    for mark in ('slow', 'network'):
        if not config.getoption(f'--{mark}'):
            skip = pytest.mark.skip(reason=f'runs with --{mark}')
            for item in items:
                if mark in item.keywords:
                    item.add_marker(skip)

    if (seed := config.getoption('--shuffle')) is not None:
        items[:] = shuffled(items, seed)

    if config.getoption('--types'):
        from jaxtyping import TypeCheckError

        sooner = pytest.mark.xfail(raises=TypeCheckError, strict=False, reason='the type checker speaks before the library')
        for item in items:
            if 'bad_input' in item.keywords:
                item.add_marker(sooner)


def shuffled(items, seed):
    "The files in another order, and the tests in each of them; they stay together, so that what a file shares is made once."
    draw, files = random.Random(seed), {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    groups = list(files.values())
    draw.shuffle(groups)
    return [item for group in groups for item in draw.sample(group, len(group))]


def pytest_report_header(config):
    if (seed := config.getoption('--shuffle')) is not None:
        return f'shuffled: --shuffle {seed}'


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(counted(terminalreporter.stats))


def counted(stats):
    "How many test functions ran, with how many cases, and how many of these were skipped for want of data."
    reports = [r for name in ('passed', 'failed', 'xfailed', 'xpassed') for r in stats.get(name, []) if r.when == 'call']
    cases = {report.nodeid for report in reports}
    skipped = [str(r.longrepr[2]) for r in stats.get('skipped', []) if isinstance(r.longrepr, tuple)]
    wanting = sum(reason.removeprefix('Skipped: ').startswith(WITHOUT_DATA) for reason in skipped)
    text = f'{len({name.partition("[")[0] for name in cases}):,} functions, {len(cases):,} cases'
    return text + (f'; skipped without data: {wanting:,}, set DIFFBOOK_DATA' if wanting else '')


def pytest_collect_file(file_path, parent):
    if file_path.suffix == '.ipynb' and file_path.parent == NBS and re.match(r'\d\d_', file_path.name):
        return Notebook.from_parent(parent, path=file_path)


@pytest.fixture(autouse=True)
def surroundings():
    "Every test starts from the same seeds and leaves dtype, device, grad mode and figures as it found them."
    with repeatable():
        yield


class repeatable:
    "A context with fixed seeds that puts global state back."

    def __enter__(self):
        import numpy as np
        import torch

        self.dtype, self.grad = torch.get_default_dtype(), torch.is_grad_enabled()
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        torch.set_num_threads(1)

    def __exit__(self, *error):
        import sys

        import torch

        torch.set_default_dtype(self.dtype)
        torch.set_grad_enabled(self.grad)
        torch.set_num_threads(1)
        if torch.are_deterministic_algorithms_enabled():  # the call imports the compiler: half a minute
            torch.use_deterministic_algorithms(False)
        if 'matplotlib.pyplot' in sys.modules:
            sys.modules['matplotlib.pyplot'].close('all')


class Notebook(pytest.File):
    "A chapter: one test that runs it from top to bottom."

    def collect(self):
        yield NotebookRun.from_parent(self, name='run')


class CellError(Exception):
    "A cell of a chapter failed."


class NotebookRun(pytest.Item):
    "Run one chapter through nbdev, which honours its directives, in the chapter's folder and with IN_TEST=1."

    def runtest(self):
        run_notebook(self.path, slow=self.config.getoption('--slow'))

    def repr_failure(self, error):
        return str(error.value) if isinstance(error.value, CellError) else super().repr_failure(error)

    def reportinfo(self):
        return self.path, None, f'{self.path.name}'


def run_notebook(path, slow=False):
    "Execute the notebook at `path`; raise `CellError` with the cell's id, its source and the traceback."
    from execnb.shell import CaptureShell
    from nbdev.test import test_nb

    failed = {}
    run_cell = CaptureShell.run_cell

    def watched(shell, source, *args, **kwargs):
        result = run_cell(shell, source, *args, **kwargs)
        if result.exception is not None and not failed:
            failed.update(source=source, error=result.exception)
        return result

    environment, flags = dict(os.environ), ['notest'] + ([] if slow else ['slow'])
    shown = io.StringIO()
    try:
        CaptureShell.run_cell = watched
        with repeatable(), redirect_stderr(shown):
            passed, _ = test_nb(Path(path), skip_flags=flags, basepath=ROOT)
    finally:
        CaptureShell.run_cell = run_cell
        os.environ.clear()
        os.environ.update(environment)
    if not passed:
        raise CellError(explain(Path(path), failed, shown.getvalue()))


def explain(path, failed, shown):
    "What a reader needs to mend a failing cell."
    import json
    import traceback

    if not failed:
        return f'{path.name} did not run\n{shown}'
    source, error = failed['source'], failed['error']
    identity, number = '?', '?'
    for number, cell in enumerate(json.loads(path.read_text(encoding='utf-8'))['cells']):
        text = ''.join(cell['source'])
        if cell['cell_type'] == 'code' and text.strip().endswith(source.strip()):
            identity = cell.get('id', '?')
            break
    lines = '\n'.join(f'    {line}' for line in source.strip().splitlines())
    trace = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
    return f'{path.name}, cell {identity} (number {number}): {type(error).__name__}: {error}\n\n{lines}\n\n{trace}'
