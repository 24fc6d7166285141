"""The bug museum: each mistake that was once made in public is made again in a copy of the library, and a named test must fail.

The rows stand in diffbook/exercises/museum/mistakes.py, which chapter 93 reads too. A test that no mistake can turn red proves nothing.
"""

import compileall
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffbook.exercises.museum.mistakes import MISTAKES

ROOT = Path(__file__).parent.parent
TESTS = Path(__file__).parent


def run_tests(package, nodes, log):
    "Run tests against the library that lies in the folder `package`; 0: all passed, 1: some failed. For a process of its own."
    for name in [n for n, m in sys.modules.items() if n.split('.')[0] == 'diffbook' or TESTS in Path(getattr(m, '__file__', None) or '/').parents]:
        if name != '__main__':
            del sys.modules[name]
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(package))
    import diffbook

    assert Path(diffbook.__file__).is_relative_to(package)
    os.chdir(ROOT)
    with open(log, 'wb') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    options = ['-x', '-p', 'no:cacheprovider', '-p', 'no:xdist', '--tb=short', '--capture=sys']
    return int(pytest.main([*options, *(str(TESTS / node) for node in nodes)]))


def fresh(package, nodes, log, limit=1200):
    "Run tests in a process of their own."
    return subprocess.run([sys.executable, __file__, str(package), str(log), *nodes], check=False, timeout=limit).returncode


def verdict(package, nodes, log, limit=180):
    """Run tests in a child that shares our loaded torch; where a process cannot be forked, in a fresh one.

    A child may inherit a lock that a thread of ours held when it was forked, and then waits for ever: after `limit` seconds
    it is killed, and a fresh process judges.
    """
    if sys.platform != 'linux':
        return fresh(package, nodes, log)
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setpgid(0, 0)
            code = run_tests(package, nodes, log)
        finally:
            os._exit(code)
    end = time.monotonic() + limit
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return fresh(package, nodes, log)
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(done[1])


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "A copy of the library, without its models; libraries that the killers need are loaded once, before the forks."
    import hypothesis  # noqa: F401
    import mpmath  # noqa: F401
    import scipy.integrate  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch.testing  # noqa: F401

    package = tmp_path_factory.mktemp('mutants')
    shutil.copytree(ROOT / 'diffbook', package / 'diffbook', ignore=shutil.ignore_patterns('__pycache__', 'zoo'))
    compileall.compile_dir(package / 'diffbook', quiet=2)  # once, and not for each mutant; a changed file is newer than what was compiled of it
    return package


@pytest.mark.parametrize('name', MISTAKES)
def test_mutant_is_killed(name, copy, tmp_path):
    seen, module, old, new, killer = MISTAKES[name]
    path = copy / 'diffbook' / module
    source = path.read_text(encoding='utf-8')
    assert source.count(old) == 1, f'{module} holds {old!r} {source.count(old)} times, expected once'
    mutant = source.replace(old, new)
    compile(mutant, module, 'exec')
    try:
        path.write_text(mutant, encoding='utf-8')
        code = verdict(copy, [killer], tmp_path / 'log')
    finally:
        path.write_text(source, encoding='utf-8')
    said = (tmp_path / 'log').read_text(errors='replace')[-3000:]
    assert code != 0, f'the mutant "{name}" ({seen}) survives {killer}'
    assert code == 1, f'{killer} did not run: pytest ended with {code}\n{said}'


def test_killers_pass_without_a_mutant(copy, tmp_path):
    "The same machinery on the unchanged copy: so a red killer is the mutant's doing."
    killers = sorted({row[-1] for row in MISTAKES.values()})
    code = verdict(copy, killers, tmp_path / 'log')
    assert code == 0, (tmp_path / 'log').read_text(errors='replace')[-3000:]


def test_the_museum_is_large_enough():
    assert len(MISTAKES) >= 60
    assert len({(row[1], row[2], row[3]) for row in MISTAKES.values()}) == len(MISTAKES)


if __name__ == '__main__':
    sys.exit(run_tests(Path(sys.argv[1]), sys.argv[3:], sys.argv[2]))
