"""What editors and type checkers see: stubs in step, a face that is complete and light, and users' code that checks."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import diffbook
from tools import stubs

ROOT = Path(__file__).resolve().parents[1]
NAMES = [(module, name) for module, names in diffbook.FACE.items() for name in names.split()]


def test_the_stubs_are_in_step():
    off = [path.name for path, text in stubs.stubs().items() if not path.exists() or path.read_text(encoding='utf-8') != text]
    assert not off, f'run: make export ({", ".join(off)})'


@pytest.mark.parametrize(('module', 'name'), NAMES, ids=[name for _, name in NAMES])
def test_a_promised_name_is_on_the_face(module, name):
    value = getattr(importlib.import_module(f'diffbook.{module}'), name)
    assert getattr(diffbook, name) is value and name in dir(diffbook) and name in diffbook.__all__


def test_a_name_is_promised_once():
    assert len({name for _, name in NAMES}) == len(NAMES)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        getattr(diffbook, 'no_such_name')  # noqa: B009


def test_the_face_loads_nothing_until_it_is_asked():
    script = 'import sys, diffbook; assert "torch" not in sys.modules; from diffbook import UNet, sample, load; assert "torch" in sys.modules'
    subprocess.run([sys.executable, '-c', script], check=True, cwd=ROOT)


def test_help_says_what_each_parameter_means():
    from diffbook import Trainer, guide

    assert 'scale: 0 is unconditional, 1 is off' in guide.__doc__ and 'null: ' in guide.__doc__
    assert 'every: updates between two checkpoints' in Trainer.fit.__doc__ and 'lr: the highest learning rate' in Trainer.__init__.__doc__


def test_help_says_it_wherever_a_name_is_imported_from():
    "In a process of its own, where nothing is asked of the face."
    script = (
        'from diffbook.data import read_folder, load_data; from diffbook.conform import check_solver; from diffbook.training import Trainer, save\n'
        'assert "skip_broken: leave out" in read_folder.__doc__ and "always in colour" in read_folder.__doc__ and "split: train" in load_data.__doc__\n'
        'assert "law: of the data" in check_solver.__doc__ and "about: plain data" in save.__doc__ and "every: updates" in Trainer.fit.__doc__'
    )
    subprocess.run([sys.executable, '-c', script], check=True, cwd=ROOT)


PIECES = """
from fastcore.basics import patch

class Walker:
    "One who walks."

    def __init__(
        self,
        pace: float,  # in metres a second
        name='nobody',
    ):
        self.pace, self.steps = pace, 0

@patch
def walk(
    self: Walker,
    seconds: int = 3,  # to walk for
) -> float:  # metres
    "Walk on."
    self.tired = True
    return self.pace * seconds

@patch(as_prop=True)
def slow(self: Walker) -> bool:
    return self.pace < 1
"""


def test_a_class_in_pieces_is_whole_in_its_stub():
    namespace = {}
    text = stubs.Stub(PIECES).text()
    exec(text, namespace)
    walker = namespace['Walker']
    assert isinstance(walker.slow, property) and walker.__init__.__annotations__['pace'] is float and walker.walk.__defaults__ == (3,)
    assert [line.strip() for line in walker.walk.__doc__.splitlines() if line.strip()] == ['Walk on.', 'seconds: to walk for', 'returns: metres']
    assert walker.__annotations__ == {'pace': float, 'steps': int, 'tired': bool}


def checked(folder: Path, *files: Path) -> str:
    "What mypy says of files that use the package."
    options = ['--no-error-summary', '--follow-imports=silent', '--ignore-missing-imports', '--cache-dir', str(folder), '--python-executable', sys.executable]
    apart = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}  # of which mypy believes everything
    return subprocess.run([sys.executable, '-m', 'mypy', *options, *map(str, files)], capture_output=True, text=True, cwd=ROOT, env=apart).stdout


def test_what_a_user_writes_passes_the_type_checker_and_a_slip_does_not(tmp_path):
    blocks = (ROOT / 'README.md').read_text(encoding='utf-8').split('```python\n')[1:]
    (tmp_path / 'readme.py').write_text('\n'.join(block.split('```')[0] for block in blocks))
    (tmp_path / 'face.py').write_text(f'from diffbook import {", ".join(diffbook.__all__)}\n' + '\n'.join(diffbook.__all__))
    (tmp_path / 'slip.py').write_text('from diffbook import Trainer, guide, kl_gaussian\nTrainer.fitt\nguide(1, 2)\nkl_gaussian("a", 1, 2, 3)\n')
    said = checked(tmp_path / 'cache', ROOT / 'tests' / 'typed' / 'user.py', *(tmp_path / name for name in ('readme.py', 'face.py', 'slip.py')))
    slips = [line for line in said.splitlines() if 'slip.py' in line and ': error:' in line]
    assert len(slips) >= 4 and '"fitt"' in slips[0], said
    assert not [line for line in said.splitlines() if ': error:' in line and line not in slips], said


def test_two_copies_of_the_book_do_not_ask_each_other_for_ever():
    "Mutants are judged by a copy beside the library: each copy puts a finder of modules in front of the others."
    import importlib.util
    import sys

    import diffbook

    before = list(sys.meta_path)
    try:
        spec = importlib.util.spec_from_file_location('another', diffbook.__file__)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        assert len(sys.meta_path) == len(before) + 1
        assert importlib.util.find_spec('diffbook.samplers') and importlib.util.find_spec('diffbook.no_such') is None
    finally:
        sys.meta_path[:] = before
