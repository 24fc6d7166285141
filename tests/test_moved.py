"""Names that have moved: the old place gives the same thing, and says where it is now."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / 'diffbook'


def told():
    "Old module, old name, new module and new name of everything that has moved."
    for path in sorted(PACKAGE.rglob('*.py')):
        module = '.'.join(('diffbook', *path.relative_to(PACKAGE).with_suffix('').parts))
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'moved':
                for home, words in ast.literal_eval(node.args[1]).items():
                    for word in words.split():
                        old, _, new = word.partition(':')
                        yield module, old, f'diffbook.{home.removeprefix("diffbook.")}', new or old


MOVED = list(told())


@pytest.mark.parametrize('module, old, home, new', [m for m in MOVED if not m[1].startswith('_')], ids=lambda v: v)
def test_the_old_place_gives_the_same_and_says_so(module, old, home, new):
    with pytest.warns(DeprecationWarning, match=f'{module}.{old} is {home}.{new} now'):
        found = getattr(importlib.import_module(module), old)
    assert found is getattr(importlib.import_module(home), new)


def test_names_that_never_were_are_none():
    assert {module for module, *_ in MOVED if hasattr(importlib.import_module(module), 'nothing_of_the_kind')} == set()


def test_what_has_moved_is_imported_only_when_it_is_asked_for():
    ask = 'import sys, diffbook.data; print([m for m in ("diffbook.shapes", "diffbook.recognise", "matplotlib") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', ask], capture_output=True, text=True, check=True).stdout == '[]\n'
