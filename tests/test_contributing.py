"""What CONTRIBUTING.md tells to do is done: the drawing of the house is held against the imports, the code of each page runs."""

import re
from pathlib import Path

import pytest

from diffbook import exercise
from diffbook.core import REGISTRY
from tools import book as rules

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
PAGES = re.findall(r'^### (An? [a-z]+)$', TEXT, re.M)


def sources():
    package = ROOT / 'diffbook'
    files = [path for path in package.rglob('*.py') if path.name not in ('_modidx.py', '__init__.py')]
    return {'.'.join(path.relative_to(package).with_suffix('').parts): path.read_text(encoding='utf-8') for path in files}


def test_the_house_is_as_drawn():
    assert not list(rules.climbs(rules.drawn(TEXT), sources()))


@pytest.mark.parametrize(('module', 'source', 'words'), [
    ('core', 'from .losses import Denoiser', 'core imports losses, which is drawn on the same floor or above'),
    ('nets.unet', 'from ..nets.vae import Codec', 'nets.unet imports nets.vae'),
    ('store.files', 'from diffbook import data', 'store.files imports data'),
    ('attic', '', 'attic is not drawn'),
])  # fmt: skip
def test_an_arrow_up_and_a_room_that_is_not_drawn_are_seen(module, source, words):
    found = list(rules.climbs(rules.drawn(TEXT), sources() | {module: source}))
    assert any(words in problem for problem in found), found


def test_a_room_that_is_gone_is_seen():
    left = {name: source for name, source in sources().items() if name != 'elbo'}
    assert list(rules.climbs(rules.drawn(TEXT), left)) == ['elbo is drawn and not there']


def test_every_page_can_be_followed():
    "Each block alone, as a reader would who copies it."
    assert PAGES == ['A sampler', 'A schedule', 'A prediction', 'A network', 'An exercise', 'A recipe', 'A chapter']
    known, exercises = dict(REGISTRY), dict(exercise.EXERCISES)
    part = TEXT.partition('## Add something')[2].partition('## The site')[0]
    blocks = re.findall(r'^```python\n(.*?)^```', part, re.M | re.S)
    assert len(blocks) == 6
    try:
        for k, block in enumerate(blocks):
            exec(compile(block, f'CONTRIBUTING.md, block {k}', 'exec'), {'__name__': 'followed'})
    finally:  # forget what the reader added, and keep what the library's own modules did when they were first imported
        for name in REGISTRY.keys() - known.keys():
            if not REGISTRY[name].__module__.startswith('diffbook.'):
                del REGISTRY[name]
        exercise.EXERCISES.clear()
        exercise.EXERCISES.update(exercises)
