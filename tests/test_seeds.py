"""What tools/measure_seeds.py repeats is what the chapters hold, and its seeds are others in each repetition."""

import json

import pytest
import torch

from diffbook import core
from tools import measure_seeds as tool

MEASURED = json.loads(tool.FILE.read_text(encoding='utf-8'))['experiments']
X = torch.zeros(2, 3)
DRAWS = {
    'noise': lambda f: f(0, 'test', 0, range(2), (3,)),
    'generator': lambda f: torch.rand(3, generator=f(0, 'test')),
    'make_generator': lambda f: torch.rand(3, generator=f(0, 'test')),
    'seeded_noise': lambda f: f(0, 'test')(X, torch.tensor(0.5)),
}


def test_every_experiment_was_measured_and_no_other():
    assert MEASURED.keys() == tool.EXPERIMENTS.keys()


@pytest.mark.parametrize('name', [name for name, found in MEASURED.items() if 'cells' in found])
def test_the_cells_of_an_experiment_are_in_the_chapter(name):
    assert set(MEASURED[name]['cells']) <= tool.cells(MEASURED[name]['chapter']).keys()
    assert {len(values) for values in MEASURED[name]['values'].values()} == {MEASURED[name]['repetitions']}


@pytest.mark.parametrize('word', DRAWS)
def test_repetition_zero_is_the_page_and_the_others_are_not(word):
    page = DRAWS[word](getattr(core, word))
    assert torch.equal(DRAWS[word](tool.moved(0)[word]), page)
    assert not torch.isclose(DRAWS[word](tool.moved(1)[word]), page).any()


@pytest.mark.parametrize('k', [0, 3])
def test_seeds_are_moved_in_what_a_cell_defines_and_imports(monkeypatch, k):
    cells = {
        'a': 'from diffbook.core import noise\ndef draw():\n    return noise(0, "x", 0, range(2))\ntorch.manual_seed(0)\nweights = torch.rand(4)',
        'b': 'drawn = draw()',
    }
    monkeypatch.setattr(tool, 'cells', lambda chapter: cells)
    space = tool.run('a chapter', 'a b', {'torch': torch}, k)
    assert torch.equal(space['drawn'], core.noise(1000 * k, 'x', 0, range(2)))
    torch.manual_seed(1000 * k)
    assert torch.equal(space['weights'], torch.rand(4))
