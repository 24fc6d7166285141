"""The ledger and the exercises: what they accept, and above all what they refuse."""

import pytest
import torch

from diffbook import exercise, ledger
from diffbook.exercise import EXERCISES, QUESTIONS, add, question


def test_check_prints_the_largest_error(capsys):
    ledger.check('eq-x', torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), atol=0.5)
    assert capsys.readouterr().out == 'eq-x: largest error 5e-01\n'


@pytest.mark.parametrize(
    'small, large, words', [(1.0, [2.0, 1.5], 'holds in 2 cases, smallest margin 5e-01'), ([0.0], [0.0], 'holds in 1 case, smallest margin 0e+00')]
)
def test_an_inequality_says_on_how_many_cases(capsys, small, large, words):
    ledger.below('eq-x', small, large)
    assert capsys.readouterr().out == f'eq-x: {words}\n'


@pytest.mark.parametrize('small, large, options', [([1.0, 2.0], 1.5, {}), (1.0, 0.9, {'atol': 0.05}), (float('nan'), 1.0, {}), ([], 1.0, {})])
def test_an_inequality_that_fails_is_refused(small, large, options):
    with pytest.raises(AssertionError):
        ledger.below('eq-x', small, large, **options)


@pytest.mark.parametrize('k', [1, 2, 3, 7, 30, 400])
def test_the_factor_of_students_interval(k):
    stats = pytest.importorskip('scipy.stats')
    for level in (0.5, 0.9, 0.95, 0.99):
        torch.testing.assert_close(ledger.student(k, level), stats.t.ppf(0.5 + level / 2, k), rtol=2e-4, atol=0)


@pytest.mark.parametrize('k, n', [(0, 3), (3, 3), (1, 10), (232, 256), (5000, 10_000)])
def test_the_interval_of_a_share(k, n):
    stats = pytest.importorskip('scipy.stats')
    want = stats.binomtest(k, n).proportion_ci(method='wilson')
    torch.testing.assert_close(ledger.wilson(k / n, n), (want.low, want.high), rtol=1e-6, atol=1e-12)


def test_two_shares_are_compared_as_newcombe_does(capsys):
    "His example: 56 of 70 and 48 of 80, difference 0.2 (0.0524 to 0.3339)."
    ledger.claim('claim-x', got=56 / 70, better_than=48 / 80, higher=True, n=(70, 80))
    assert capsys.readouterr().out == 'claim-x: 0.8 against 0.6, difference 0.2 (0.0524 to 0.334), n = 70 and 80\n'


def test_the_interval_of_a_claim_holds_the_truth_as_often_as_it_says():
    "5 seeds, paired and alone: 95 % of 2,000 intervals hold the true difference (false alarm below 1e-6: 4.9 deviations)."
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2000, 5, generator=g, dtype=torch.float64) * s + m for s, m in ((1.0, 0.3), (2.0, 0.0)))
    for got, other, true in ((a, b, 0.3), (a, torch.zeros(()), 0.3)):
        held = sum(
            low <= true <= high
            for _, low, high in (ledger._difference(row, other[k] if other.ndim else other, (None, None), False) for k, row in enumerate(got))
        )
        assert abs(held - 1900) < 4.9 * (2000 * 0.95 * 0.05) ** 0.5, held


CLAIMS = {  # what is claimed: options, words of the result; or of the refusal
    'lower, seed by seed': (
        dict(got=[1.0, 2.0, 3.0], better_than=[1.5, 2.4, 3.6], seeds=[0, 1, 2]),
        '2 against 2.5, difference -0.5 (-0.748 to -0.252), 3 seeds',
    ),
    'higher': (dict(got=[2.0, 2.1, 2.2], better_than=1.0, higher=True, seeds=[0, 1, 2]), 'difference 1.1'),
    'lists of two lengths': (dict(got=[1.0, 1.1, 0.9], better_than=[2.0, 2.1, 1.9, 2.2], n=(3, 4)), 'difference -1.05'),
    'a ratio': (dict(got=[1.0, 2.0, 4.0], ratio=([2.0, 4.1, 7.9], 0.4, 0.6), seeds=[0, 1, 2]), 'ratio 0.498 (0.475 to 0.522), 3 seeds'),
    'an interval': (dict(got=[1.0, 1.1, 0.9], interval=(0.7, 1.3), seeds=[0, 1, 2]), '1 (0.752 to 1.25), 3 seeds'),
    'exact': (dict(got=0.1, better_than=0.3, exact=True), '0.1 against 0.3, difference -0.2, exact'),
    'exact, many': (dict(got=[0.1, 0.2], better_than=[0.3, 0.3], exact=True), 'difference -0.15 (-0.2 to -0.1), exact'),
}
CROSSED = {
    'the wrong way round': dict(got=[1.5, 2.4, 3.6], better_than=[1.0, 2.0, 3.0], seeds=[0, 1, 2]),
    'higher is lower': dict(got=[1.0, 2.0, 3.0], better_than=[1.5, 2.4, 3.6], higher=True, seeds=[0, 1, 2]),
    'zero within': dict(got=[1.0, 2.0, 3.0], better_than=[1.1, 1.9, 3.0], seeds=[0, 1, 2]),
    'too wide a ratio': dict(got=[1.0, 2.0, 4.0], ratio=([2.0, 5.0, 6.0], 0.45, 0.55), seeds=[0, 1, 2]),
    'a ratio on the other side': dict(got=[1.0, 2.0, 4.0], ratio=([2.0, 4.1, 7.9], 1.5, 2.5), seeds=[0, 1, 2]),
    'an end beyond': dict(got=[1.0, 1.1, 0.9], interval=(0.8, 1.3), seeds=[0, 1, 2]),
    'the other end beyond': dict(got=[1.0, 1.1, 0.9], interval=(0.7, 1.2), seeds=[0, 1, 2]),
    'few trials': dict(got=0.9, interval=(0.85, 1.0), n=20),
    'exact, one of many': dict(got=[0.1, 0.4], better_than=[0.3, 0.3], exact=True),
    'not finite': dict(got=[1.0, float('nan'), 0.9], interval=(0.0, 2.0), seeds=[0, 1, 2]),
}
ILL = {
    'two comparisons': (dict(got=1.0, better_than=2.0, interval=(0, 1), exact=True), 'one of better_than'),
    'no comparison': (dict(got=1.0, exact=True), 'one of better_than'),
    'no origin': (dict(got=1.0, better_than=2.0), 'how got arose'),
    'two origins': (dict(got=1.0, better_than=2.0, n=3, exact=True), 'how got arose'),
    'two seeds': (dict(got=[1.0, 2.0], better_than=3.0, seeds=[0, 1]), 'three or more'),
    'a seed missing': (dict(got=[1.0, 2.0, 3.0], better_than=3.0, seeds=[0, 1]), '3 values of 2 seeds'),
    'one value of seeds': (dict(got=1.0, better_than=3.0, seeds=[0, 1, 2]), 'one value of 3 seeds'),
    'no share': (dict(got=1.2, better_than=3.0, n=10), 'expected a number from 0 to 1'),
}


@pytest.mark.parametrize('name', CLAIMS)
def test_a_claim_says_its_interval(capsys, name):
    options, words = CLAIMS[name]
    ledger.claim('claim-x', **options)
    assert words in capsys.readouterr().out


@pytest.mark.parametrize('name', CROSSED)
def test_a_claim_that_the_numbers_do_not_carry_is_refused(name):
    with pytest.raises(AssertionError, match='claim-x'):
        ledger.claim('claim-x', **CROSSED[name])


@pytest.mark.parametrize('name', ILL)
def test_what_is_no_claim_is_refused(name):
    options, words = ILL[name]
    with pytest.raises(ValueError, match=words):
        ledger.claim('claim-x', **options)


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
        (lambda x: x.sqrt() + 0.1, 'For f(1'),
        (lambda x: x.sqrt()[None], 'shape (1,), expected ()'),
        (lambda x: x / 0, 'not finite'),
        (lambda x: x.sqrt() + 3e-5, 'single precision'),
        (lambda x: x.sqrt() + torch.rand(()), 'draws numbers of its own'),
        (lambda x: x.nothing(), 'AttributeError'),
        (lambda: 1, 'TypeError'),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(root, answer, words):
    verdict = exercise.grade('99-1', answer)
    assert not verdict and words in repr(verdict)


def test_a_right_answer_is_right(root):
    verdict = exercise.grade('99-1', lambda x: x**0.5)
    assert verdict and repr(verdict).startswith('Right')


@pytest.mark.parametrize(('off', 'right'), [(8e-7, True), (-8e-7, True), (1.2e-6, False), (-1.2e-6, False)])
def test_an_answer_may_be_off_by_a_millionth(root, off, right):
    assert bool(exercise.grade('99-1', lambda x: x.sqrt() * (1 + off))) is right


def test_a_mistake_is_named_only_if_it_explains_every_case(root):
    calls = []
    answer = lambda x: calls.append(x) or (x**2 if len(calls) < 5 else x)  # noqa: E731
    assert 'squared' not in repr(exercise.grade('99-1', answer))


@pytest.mark.parametrize('id', ['99-2', '00-1', 'x', '../os-1', ''])
def test_an_unknown_exercise_is_named(id):
    with pytest.raises(ValueError, match='no graded exercise'):
        exercise.grade(id, abs)


def test_every_grader_tells_its_mistakes_from_the_truth():
    "A mistake that agrees with the truth on random cases would fail right answers or go unseen."
    import importlib
    import pkgutil

    import diffbook.exercises

    for module in pkgutil.iter_modules(diffbook.exercises.__path__):
        importlib.import_module(f'diffbook.exercises.{module.name}')
    assert len(EXERCISES) >= 1
    for id, graded in EXERCISES.items():
        assert exercise.grade(id, graded.truth), id
        for message, wrong in graded.mistakes.items():
            verdict = exercise.grade(id, wrong)
            assert not verdict and verdict.message == message, (id, message, verdict)

    assert set(QUESTIONS) >= {'04-a'}
    for id, asked in QUESTIONS.items():
        assert exercise.grade(id, asked.answer), id
        for wrong, reply in asked.replies.items():
            verdict = exercise.grade(id, wrong)
            assert not verdict and verdict.message == reply, (id, wrong, verdict)


@pytest.fixture
def asked():
    question('99-a', 'A half and a third?', (0.5, 1 / 3), {(1 / 3, 0.5): 'The other way round.'}, rtol=0.01)
    question('99-b', 'Which?', 'b', {'a': 'That is the first.'})
    yield
    del QUESTIONS['99-a'], QUESTIONS['99-b']


@pytest.mark.parametrize(('id', 'answer', 'right', 'words'), [
    ('99-a', (0.5, 0.333), True, 'Right. 99-a.'), ('99-a', (0.5, 0.34), False, 'is not it'), ('99-a', torch.tensor([0.5, 1 / 3]).double(), True, 'Right'),
    ('99-a', (0.5, 0.34), False, 'Look at number 2 again'), ('99-a', (0.4, 0.34), False, 'Look at number 1 and number 2 again'),
    ('99-a', 0.5, False, 'asks for 2 numbers'), ('99-a', (0.5,), False, 'asks for 2 numbers'), ('99-b', 'c', False, 'Read the section once more'),
    ('99-a', (1 / 3, 0.5), False, 'The other way round.'), ('99-b', ' B', True, 'Right'), ('99-b', 'a', False, 'That is the first.'), ('99-b', 'c', False, "'c' is not it"),
])  # fmt: skip
def test_a_question_is_answered_and_not_given_away(asked, id, answer, right, words):
    verdict = exercise.grade(id, answer if not isinstance(answer, torch.Tensor) else tuple(answer.tolist()))
    assert bool(verdict) is right and words in repr(verdict)
    assert right or '0.333' not in repr(verdict)


@pytest.mark.parametrize(
    ('id', 'answer', 'words'),
    [
        ('99-a', 'b', 'expected 2 numbers'),
        ('99-b', 1.0, 'expected a letter'),
        ('99-a', abs, 'expected 2 numbers'),
        ('99-a', ..., 'the answer is Ellipsis, expected 2 numbers'),
    ],
)
def test_a_question_wants_its_kind_of_answer(asked, id, answer, words):
    with pytest.raises(ValueError, match=words):
        exercise.grade(id, answer)


@pytest.mark.parametrize('id', ['99-1', '9-a', '99-A', '99-aa', ''])
def test_a_question_has_a_letter(id):
    with pytest.raises(ValueError, match='and a small letter'):
        question(id, 'x', 1.0)


@pytest.mark.parametrize('answer', [3, None, 'f', 2.0])
def test_an_answer_is_a_function(root, answer):
    with pytest.raises(ValueError, match='expected a function'):
        exercise.grade('99-1', answer)


@pytest.mark.parametrize(('value', 'shown'), [
    (tuple(range(8)), '(0, 1, 2, 3, 4, 5, 6, 7)'), (tuple(range(9)), '9 values'),
    (torch.zeros(12), str([0.0] * 12)), (torch.zeros(13), 'tensor of shape (13,)'), (torch.zeros(1, 2), '[0.0, 0.0].reshape(1, 2)'),
    ('x' * 57, repr('x' * 57)), ('x' * 58, repr('x' * 58)[:57] + '...'), (abs, 'abs'), (torch.tensor(0.1234567), '0.123457'),
])  # fmt: skip
def test_an_argument_is_shown_as_long_as_it_is_short(value, shown):
    assert exercise._shown(value) == shown


def test_an_unknown_exercise_is_told_of_all_chapters():
    with pytest.raises(ValueError, match='of chapters 03, 04, 05, 06, 07'):
        exercise.grade('98-1', abs)
    with pytest.raises(ValueError, match='graded are 04-1, 04-a$'):
        exercise.grade('04-9', abs)


@pytest.fixture
def pair():
    "A task with two answers, an edge, and a mistake that only the edge shows."
    add(
        '99-2',
        'Give x to the power n, and n times x.',
        cases=lambda g: (torch.rand(3, generator=g, dtype=torch.float64) + 1, int(torch.randint(1, 5, (), generator=g))),
        truth=lambda x, n: (x**n, n * x),
        mistakes={
            'The zeroth power is one.': lambda x, n: (x**n if n else 0 * x, n * x),
            'One number was asked for each x.': lambda x, n: ((x**n).sum(), n * x),
            'That divides by n.': lambda x, n: (x**n, x / n),
        },
        edges=[(torch.tensor([0.5, 2.0], dtype=torch.float64), 0)],
    )
    yield
    EXERCISES.pop('99-2')


def spoil(x, n):
    x.mul_(2)
    return (x / 2) ** n, n * x / 2


@pytest.mark.parametrize(
    'answer, words',
    [
        (lambda x, n: (x**n if n else 0 * x, n * x), 'zeroth power'),  # right on every random case
        (lambda x, n: (n * x, x**n), 'order'),
        (lambda x, n: ((x**n).sum(), n * x), 'One number'),  # a shape that a known mistake explains
        (lambda x, n: (x**n, x / n if n else n * x), 'That divides'),  # a mistake that fails at the edge is known by the rest
        (lambda x, n: x**n, 'shape (2,), expected 2 parts, of shapes (2,)'),
        (lambda x, n: (x**n, x * float('nan')), 'not finite. For f([0.5, 2.0], 0) your answer is [1.0, 1.0], [nan, nan]; [1.0, 1.0], [0.0, 0.0] is'),
        (lambda x, n: (x**n + 1, n * x), 'For f([0.5, 2.0], 0) your answer is [2.0, 2.0], [0.0, 0.0]; [1.0, 1.0], [0.0, 0.0] is right.'),
    ],
)
def test_edges_orders_shapes_and_inputs_are_told(pair, answer, words):
    verdict = exercise.grade('99-2', answer)
    assert not verdict and words in repr(verdict), verdict


def test_an_answer_that_changes_its_arguments_is_judged_like_any_other(pair):
    assert exercise.grade('99-2', spoil)


def test_the_old_name_still_grades_and_says_so(root):
    with pytest.warns(DeprecationWarning, match='grade'):
        assert exercise.check('99-1', lambda x: x.sqrt())


def ladder(t, d, dtype):
    angles = t.to(dtype)[:, None] * 10_000 ** -(torch.arange(d // 2, dtype=dtype) / (d // 2 - 1))
    return torch.cat([angles.sin(), angles.cos()], 1)


NOISE = lambda mean, log_var, eps: mean + torch.exp(log_var / 2) * torch.randn_like(eps)  # noqa: E731
SLIPS = [  # exercise, what readers handed in, words of the sentence that they should get
    ('12-1', lambda b, t: tuple(torch.cumprod(1 - b, 0)[t - 1].sub(k).abs().sqrt() for k in (0, 1)), 't = 0'),
    ('20-1', lambda x, eps, ab: (x - (1 - ab) * eps) / ab, 'Both roots'),
    ('30-2', lambda at, st, a, s, x, e: a * (x - st * e) + s * e, 'divide by alpha_t'),
    ('30-4', lambda T, n: [float(i * (T // n) + 1) for i in reversed(range(n))], 'leading spacing without its end'),
    ('30-4', lambda T, n: [float(i * (T // n)) for i in reversed(range(n))], 'counted from 0'),
    ('10-1', lambda z1, z2: EXERCISES['10-1'].truth(z1, z2)[::-1], 'order'),
    ('11-1', lambda *a: EXERCISES['11-1'].truth(*a)[::-1], 'order'),
    ('13-2', lambda *a: EXERCISES['13-2'].truth(*a)[::-1], 'order'),
    ('13-3', lambda var, a, s: (var, var, var), 'same floor'),
    ('10-2', lambda x, mean, var, alpha, sigma: (x / alpha, sigma**2 / alpha**2), 'undid the scaling'),
    ('10-3', NOISE, 'draws numbers of its own'),
    ('22-1', lambda t, d: ladder(t, d, torch.float32), 'single precision'),
    ('42-1', lambda q, k, v, m: ((q @ k.T / q.shape[1] ** 0.5).masked_fill(~m, -torch.inf)).softmax(0) @ v, 'over the queries'),
    ('50-3', lambda e, w: ((e / (w / 2)).log().sum() / 2, len(e) * w / 2), 'negative rate'),
    ('53-2', lambda table, n, offset: torch.linspace(0, table - 1, n, dtype=torch.float64).round().flip(0), 'linspace'),
    ('41-2', lambda states, tokens, end: states[torch.arange(len(states)), (tokens == end).long().cumsum(1).argmax(1)], 'padded with end tokens'),
    ('42-4', lambda mc, vc, mn, vn, s: (mn + s * (mc - mn), vc), 'extrapolated'),
]


@pytest.mark.parametrize('id, answer, words', SLIPS, ids=[f'{id}-{k}' for k, (id, _, _) in enumerate(SLIPS)])
def test_typical_slips_get_their_sentence(id, answer, words):
    exercise.find(id)
    verdict = exercise.grade(id, answer)
    assert not verdict and words in repr(verdict), verdict


def test_plain_numbers_are_compared_in_double_precision(root):
    assert not exercise.grade('99-1', lambda x: x.sqrt() * (1 + 3e-6))
    assert exercise.grade('99-1', lambda x: float(x) ** 0.5)
    with pytest.raises(AssertionError):
        ledger.check('eq-x', 0.1, 0.1 + 1e-12, atol=1e-13)
