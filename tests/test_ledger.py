"""The ledger and the exercises: what they accept, and above all what they refuse."""

import pytest
import torch

from diffbook import exercise, ledger
from diffbook.exercise import EXERCISES, add


def test_check_prints_the_largest_error(capsys):
    ledger.check('eq-x', torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), atol=0.5)
    assert capsys.readouterr().out == 'eq-x: largest error 5e-01\n'


def test_relative_errors_are_said_to_be_relative(capsys):
    ledger.check('eq-x', 1000.0, 1001.0, rtol=1e-2)
    assert 'relative' in capsys.readouterr().out


@pytest.mark.parametrize(
    'got, want, options',
    [
        (1.0, 1.0 + 1e-9, {}),  # the default tolerance is zero
        (1.0, 1.2, {'atol': 0.1}),
        (1.0, 1.2, {'rtol': 0.1}),
        (torch.ones(3), torch.ones(1, 3), {}),  # no silent broadcasting
        (torch.ones(3), 1.0, {}),
        (float('nan'), float('nan'), {'atol': 1e9}),
        (float('inf'), float('inf'), {}),
        ([1.0, -1.0], [-1.0, 1.0], {'atol': 1.0}),  # signed differences would cancel
    ],
)
def test_check_refuses(got, want, options):
    with pytest.raises(AssertionError):
        ledger.check('eq-x', got, want, **options)


@pytest.mark.parametrize('id', ['x', 'eq_x', 'eq-X', 'eq-', ''])
def test_check_refuses_odd_names(id):
    with pytest.raises(ValueError, match='expected'):
        ledger.check(id, 1.0, 1.0)


@pytest.fixture
def root():
    add(
        '99-1',
        'Take a root.',
        cases=lambda g: (torch.rand((), generator=g, dtype=torch.float64) + 1,),
        truth=lambda x: x.sqrt(),
        mistakes={'You squared.': lambda x: x**2},
    )
    yield
    EXERCISES.pop('99-1')


@pytest.mark.parametrize(
    'answer, words',
    [
        (lambda x: x**2, 'You squared.'),
        (lambda x: 3 * x.sqrt(), 'factor 3'),
        (lambda x: -x.sqrt(), 'sign'),
        (lambda x: x.sqrt() + 0.1, 'In one case'),
        (lambda x: x.sqrt()[None], 'shape (1,), expected ()'),
        (lambda x: x / 0, 'not finite'),
        (lambda x: x.nothing(), 'AttributeError'),
        (lambda: 1, 'TypeError'),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(root, answer, words):
    verdict = exercise.check('99-1', answer)
    assert not verdict and words in repr(verdict)


def test_a_right_answer_is_right(root):
    verdict = exercise.check('99-1', lambda x: x**0.5)
    assert verdict and repr(verdict).startswith('Right')


def test_a_mistake_is_named_only_if_it_explains_every_case(root):
    calls = []
    answer = lambda x: calls.append(x) or (x**2 if len(calls) < 5 else x)  # noqa: E731
    assert 'squared' not in repr(exercise.check('99-1', answer))


@pytest.mark.parametrize('id', ['99-2', '00-1', 'x', '../os-1', ''])
def test_an_unknown_exercise_is_named(id):
    with pytest.raises(ValueError, match='no graded exercise'):
        exercise.check(id, abs)


def test_every_grader_tells_its_mistakes_from_the_truth():
    "A mistake that agrees with the truth on random cases would fail right answers or go unseen."
    import importlib
    import pkgutil

    import diffbook.exercises

    for module in pkgutil.iter_modules(diffbook.exercises.__path__):
        importlib.import_module(f'diffbook.exercises.{module.name}')
    assert len(EXERCISES) >= 1
    for id, graded in EXERCISES.items():
        assert exercise.check(id, graded.truth), id
        for message, wrong in graded.mistakes.items():
            verdict = exercise.check(id, wrong)
            assert not verdict and verdict.message == message, (id, message, verdict)


def test_plain_numbers_are_compared_in_double_precision(root):
    assert not exercise.check('99-1', lambda x: x.sqrt() * (1 + 3e-6))
    assert exercise.check('99-1', lambda x: float(x) ** 0.5)
    with pytest.raises(AssertionError):
        ledger.check('eq-x', 0.1, 0.1 + 1e-12, atol=1e-13)
