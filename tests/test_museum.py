"""The bug museum: each case has one wrong line, an oracle that sees it and clears the right function, and numbers that were measured."""

import json
import re
from pathlib import Path

import pytest
import torch

from diffbook import museum
from diffbook.exercises.museum import mistakes, right, wrong
from diffbook.exercises.museum.cases import CASES, digest
from diffbook.ledger import read_measured
from tools import book, measure_museum

ROOT = Path(__file__).parent.parent
CHAPTER = book.Chapter(ROOT / 'nbs' / '93_museum.ipynb')
DRAWN = [k for k, found in CASES.items() if found.drawn]


@pytest.mark.parametrize('k', CASES)
def test_the_oracle_is_red_on_the_mistake_and_green_on_the_right_function(k):
    found = museum.oracle(k)
    assert not found and 'RED' in repr(found) and '\n x ' in repr(found)
    mended = museum.oracle(k, getattr(right, CASES[k].part))
    assert mended and 'green' in repr(mended) and '\n x ' not in repr(mended)


@pytest.mark.parametrize('k', CASES)
def test_one_line_is_wrong_and_others_have_their_say(k):
    found, lines = CASES[k], [line.strip() for line in CASES[k].lines]
    assert f'{found.guilty:3}  {found.lines[found.guilty - 1]}' in repr(museum.case(k)) and f'def {found.part}(' in repr(museum.case(k))
    verdict = museum.accuse(k, found.guilty)
    assert verdict and found.where in verdict.message and (found.link in verdict.message) and f'oracle({k})' in verdict.message
    for start, why in found.alibis.items():
        at = [n for n, line in enumerate(lines, 1) if line.startswith(start.strip())]
        assert len(at) == 1 and at[0] != found.guilty, start
        assert why in museum.accuse(k, at[0]).message
    for line in range(3, len(lines) + 1):
        if line != found.guilty:
            said = museum.accuse(k, line)
            assert not said and 'innocent' in said.message and 'must be' in said.message
            assert lines[found.guilty - 1] not in said.message and f'Line {found.guilty}' not in said.message, 'it gives the answer away'
            assert found.where not in said.message


def test_every_function_is_a_case_and_the_cases_span_the_parts():
    assert [found.part for found in CASES.values()] == [f.__name__ for f in right.PARTS]
    assert sorted(found.f.__name__ for found in CASES.values()) == sorted(
        name for name, f in vars(wrong).items() if getattr(f, '__module__', '') == wrong.__name__
    )
    assert [int(found.f.__name__.rpartition('_')[2]) for found in CASES.values()] == list(CASES) and len(CASES) >= 12


@pytest.mark.parametrize(('k', 'line'), [(0, 3), (19, 3), (1, 2), (1, 6), (1.5, 3)])
def test_what_does_not_exist_is_named(k, line):
    with pytest.raises((ValueError, TypeError), match='expected|whole'):
        museum.accuse(k, line)


def test_what_was_measured_is_of_these_functions():
    seen = read_measured('museum')
    assert seen['digest'] == digest(), 'run: python tools/measure_museum.py'
    assert set(seen['cases']) == {str(k) for k in DRAWN} | {'right'}
    for k in DRAWN:
        runs = seen['cases'][str(k)]
        assert len(runs['wrong']) == len(runs['right']) == seen['seeds'] == 5
        losses = [[run['loss'] for run in runs[who]] for who in ('wrong', 'right')]
        untouched = not CASES[k].trained or CASES[k].part == 'average'  # which follows the training and has no say in it
        assert (losses[0] == losses[1]) is untouched
    assert [*seen['garments']] == ['right', '7', '9', '11', '14'] and seen['garments']['14'][:3] == seen['garments']['14'][3:] == seen['garments']['right'][:3]
    assert all(museum.looks(k) is None for k in CASES if k not in DRAWN)


def test_the_measurement_can_be_had_again(tmp_path, monkeypatch):
    "One case that is on the way of drawing alone, by the committed command, shortened; the file is written whole."
    monkeypatch.setattr(measure_museum, 'FILE', tmp_path / 'museum.json')
    monkeypatch.setattr(measure_museum, 'train', lambda p, seed: right.train(p, seed, steps=40))
    monkeypatch.setattr(measure_museum, 'CASES', {9: CASES[9]})
    monkeypatch.setattr(measure_museum, 'draw', lambda p, net, **options: right.draw(p, net, n=80, batch=40, **options))
    monkeypatch.setattr(measure_museum, 'garments', lambda: {})
    measure_museum.main(['--seeds', '1'])
    found = json.loads((tmp_path / 'museum.json').read_text())
    assert found['digest'] == digest() and len(found['cases']['9']['points']) == 80
    assert found['cases']['9']['wrong'][0]['loss'] == found['cases']['9']['right'][0]['loss'] < found['cases']['9']['right'][0]['first']


def test_the_little_program_learns_and_its_parts_agree():
    "The share of the variance of noise that is left after a walk with an exact answer, and that a network learns within a few steps."
    bars = right.table(right.STEPS)
    x = torch.tensor([[0.3, -0.2]])
    for way in (
        lambda x, eps, a, b: right.ddim(x, eps, a, b, 0.0, torch.zeros_like(x)),
        lambda x, eps, a, b: right.ancestral(x, eps, a, b, torch.zeros_like(x)),
    ):
        state = right.noisy(x, torch.tensor([[1.1, 0.4]]), bars[1])
        assert torch.allclose(way(state, torch.tensor([[1.1, 0.4]]), bars[1], bars[0]), x, atol=1e-5)
    _, losses = right.train(right.program(), 0, steps=60)
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def test_the_gallery_is_the_list_of_the_tests():
    "Every mistake that names a source is in the table, with its killer and what it does; links belong to rows."
    table = museum.gallery()
    names = [row[0] for row in table.rows]
    assert sorted(names) == sorted(mistakes.public()) and len(names) >= 90 and set(mistakes.LINKS) <= set(mistakes.MISTAKES)
    assert all(len(row) == len(table.head) and all(row) for row in table.rows)
    for name, seen, _, _, red in table.rows:
        row = mistakes.MISTAKES[name]
        assert row[0] in seen and red == f'`{row[-1]}`' and (mistakes.GITHUB in seen) is (name in mistakes.LINKS)
    (shown,) = [c for c in CHAPTER.code if c.id == 'gallery-show']
    assert table._repr_markdown_() in shown.text, 'run the chapter'


def test_every_case_names_a_mistake_of_the_list_or_its_own_source():
    for found in CASES.values():
        assert found.row in mistakes.MISTAKES or (found.row is None and found.link)
    assert sum(bool(found.link) for found in CASES.values()) >= 15
    assert not set(mistakes.LOOKS) & {found.row for found in CASES.values()}


def test_the_chapter_plays_every_case_and_its_folds_name_the_lines():
    shown = '\n'.join(c.source for c in CHAPTER.code)
    assert all(f'case({k})' in shown and f'oracle({k})' in shown for k in CASES)
    told = [(int(k), int(line)) for k, line in re.findall(r'^assert accuse\((\d+), (\d+)\)$', '\n'.join(c.source for c in CHAPTER.markdown), re.M)]
    assert told == [(k, found.guilty) for k, found in CASES.items() if k > 1]


def test_look_takes_a_mended_function(monkeypatch):
    monkeypatch.setattr(museum, 'train', lambda p, seed: (p, [1.0]))
    monkeypatch.setattr(museum, 'draw', lambda p, net, **options: torch.full((8, 2), float(p.ancestral is right.ancestral)))
    assert museum.look(9)[0].sum() == 0 and museum.look(9, f=right.ancestral)[0].sum() == 16 and museum.look(0)[0].sum() == 16
