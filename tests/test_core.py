"""Words, shapes and randomness: against published vectors, exact distributions and round trips."""

import math
import re
import subprocess
import sys

import pytest
import torch
from scipy import stats

from diffbook.core import (
    REGISTRY,
    Cond,
    Noise,
    build,
    describe,
    draw_rows,
    holds,
    make_generator,
    match_dims,
    merge,
    noise,
    number,
    one_of,
    philox,
    positive,
    register,
    same_shape,
    seeded_noise,
    uniform,
    whole,
)
from diffbook.schedules import DiscreteSchedule, RectifiedFlowSchedule, ShiftedSchedule, linear_betas

# Test vectors of the authors of Philox (Random123 1.14, kat_vectors): counter, key, output.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize('counter, key, want', VECTORS)
def test_philox_gives_the_published_bits(counter, key, want):
    assert tuple(int(word) for word in philox(counter, key)) == want


def test_philox_works_on_many_counters_as_on_one():
    counters = torch.randint(2**32, (50, 4), generator=make_generator(0, 'test'))
    many = torch.stack(philox(counters.unbind(1), (7, 9)), 1)
    for counter, bits in zip(counters, many):
        assert torch.equal(torch.stack(philox(counter.tolist(), (7, 9))), bits)


# One-sample tests against the exact law: a false alarm has probability below 1e-6, and the seed is fixed.
def test_uniform_is_uniform():
    u = uniform(0, 'test', 0, range(2000), (100,))
    assert u.min() > 0 and u.max() < 1
    assert stats.kstest(u.flatten().numpy(), 'uniform').pvalue > 1e-6


@pytest.mark.parametrize('shape', [(100,), (3, 33), (1,)])
def test_noise_is_standard_normal(shape):
    x = noise(0, 'test', 5, range(200_000 // math.prod(shape)), shape)
    assert stats.kstest(x.flatten().numpy(), 'norm').pvalue > 1e-6


def test_the_two_halves_of_a_box_muller_pair_are_independent():
    n = 200_000
    x = noise(1, 'test', 0, range(n), (2,))
    products = torch.stack([x[:, 0] * x[:, 1], (x[:, 0] ** 2 - 1) * (x[:, 1] ** 2 - 1) / 2])
    assert (products.mean(1).abs() < 5 / math.sqrt(n)).all()  # five standard errors: 6e-7 each


def test_streams_of_other_arguments_are_uncorrelated():
    n = 100_000
    base = noise(0, 'a', 0, range(10), (n // 10,)).flatten()
    others = [noise(1, 'a', 0, range(10), (n // 10,)), noise(0, 'b', 0, range(10), (n // 10,)), noise(0, 'a', 1, range(10), (n // 10,))]
    others += [noise(0, 'a', 2**32, range(10), (n // 10,)), noise(0, 'a', 0, range(10, 20), (n // 10,))]
    for other in others:
        assert (base * other.flatten()).mean().abs() < 5.5 / math.sqrt(n)  # 4e-8 each


def test_a_sample_does_not_depend_on_its_batch_or_order():
    whole = noise(3, 'test', 9, range(64), (3, 5))
    assert torch.equal(noise(3, 'test', 9, [63, 0, 7], (3, 5)), whole[[63, 0, 7]])


def test_seeded_noise_depends_on_time_and_start_alone():
    draw = seeded_noise(4, start=10)
    x = torch.zeros(6, 2, dtype=torch.float64)
    t = torch.tensor(0.3, dtype=torch.float64)
    assert torch.equal(draw(x, t), draw(x + 1, t))
    assert torch.equal(draw(x, t)[2:], seeded_noise(4, start=12)(x[2:], t))
    assert not torch.equal(draw(x, t), draw(x, torch.nextafter(t, t + 1)))
    assert draw(x.float(), t).dtype == torch.float32


def test_each_example_draws_at_its_own_time():
    "Noise for times of shape (b,) is what each example draws alone, and a forked stream is another one for the same samples."
    x, t = torch.zeros(4, 3, dtype=torch.float64), torch.tensor([0.9, 0.3, 0.9, 0.0]).double()
    draw = Noise(4, start=10)
    assert torch.equal(draw(x, t), torch.cat([Noise(4, start=10 + i)(x[i : i + 1], t[i]) for i in range(4)]))
    assert not torch.equal(draw(x, t), draw(x, t[0])) and torch.equal(draw(x, t)[::2], draw(x, t[0])[::2])
    streams = [draw, draw.fork('a'), draw.fork('b'), draw.fork('a').fork('b'), draw.fork('a/b/c'), Noise(5, start=10)]
    assert len({float(f(x, t)[0, 0]) for f in streams}) == len(streams)
    assert torch.equal(draw.fork('a')(x, t)[2:], Noise(4, start=12).fork('a')(x[2:], t[2:]))


@pytest.mark.bad_input
def test_a_seed_is_no_generator():
    for wrong in (0, 'train'):
        with pytest.raises(ValueError, match='expected a torch.Generator, such as core.make_generator'):
            draw_rows(lambda n, g: torch.rand(n, generator=g), 3, wrong)


FRESH = """
import sys
sys.path.insert(0, sys.argv[1])
from diffbook.core import REGISTRY, build, describe
assert not REGISTRY
assert type(build({'type': 'Tokenizer', 'merges': []})).__module__ == 'diffbook.text'
assert type(build({'type': 'RatioTable', 'betas': [0.1, 0.2]})).__module__ == 'diffbook.published.scheduler'
assert build({'type': 'predict_v'}).__module__ == 'diffbook.predictions'
for type_, words in (('mine:Mine', 'if mine is yours, import it first (in a shell: python -c '), ('Mine', 'if a module is yours, import it first (in a shell: python -c '), ('Trainer', 'expected one of'), ('os:system', 'if os is yours')):
    try:
        build({'type': type_})
        raise SystemExit(f'{type_} was built')
    except ValueError as error:
        assert words in str(error), str(error)
assert 'mine' not in sys.modules and not hasattr(sys, 'imported_mine')
import mine
for type_ in ('mine:Mine', 'Mine', 'elsewhere:Mine'):
    assert isinstance(build({'type': type_, 'width': 3}), mine.Mine)
assert describe(mine.Mine(4)) == {'type': 'mine:Mine', 'width': 4}
assert type(build({'type': 'mine:UNet'})).__module__ == 'mine'
assert type(build({'type': 'UNet', 'in_channels': 1, 'channels': [8], 'blocks': [1], 'heads': [0, 0], 'groups': 4})).__module__ == 'diffbook.nets.unet'
"""
MINE = """
import sys
sys.imported_mine = True
from diffbook.core import register
@register
class Mine:
    def __init__(self, width: int = 2):
        self.width = width
@register
class UNet:
    pass
"""


def test_a_part_is_found_in_a_fresh_process_and_a_file_imports_nothing(tmp_path):
    "The book's own parts by their names; a reader's once the reader has imported their module, also if it has moved."
    (tmp_path / 'mine.py').write_text(MINE)
    run = subprocess.run([sys.executable, '-c', FRESH, tmp_path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_generators_differ_by_every_argument():
    draws = {torch.randint(2**62, (), generator=make_generator(*a)).item() for a in [(0, 'a', 0), (1, 'a', 0), (0, 'b', 0), (0, 'a', 1), (0, 'a/1', 0)]}
    assert len(draws) == 5
    assert torch.equal(torch.randn(3, generator=make_generator(5, 'x', 2)), torch.randn(3, generator=make_generator(5, 'x', 2)))


@pytest.mark.bad_input
@pytest.mark.parametrize('seed', [True, 1.5, '3', None])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(ValueError, match='expected an integer'):
        noise(seed, 'test', 0, [0], (1,))


@pytest.mark.parametrize('shape', [(4,), (4, 4), (4, 4, 4, 4), (4, 1, 2)])
def test_match_dims_scales_each_example_by_its_own_time(shape):
    t, x = torch.arange(1.0, 5.0), torch.ones(shape)
    got = match_dims(t, x) * x
    want = torch.stack([ti * xi for ti, xi in zip(t, x)])
    assert torch.equal(got, want)
    assert torch.equal(match_dims(torch.tensor(3.0), x) * x, 3 * x)


@pytest.mark.parametrize('t', [torch.ones(3), torch.ones(4, 1), torch.ones(1, 4)])
def test_match_dims_refuses_other_shapes(t):
    with pytest.raises(ValueError, match=r'expected \(\) or \(4,\)'):
        match_dims(t, torch.ones(4, 4))


def test_match_dims_takes_dtype_from_the_data():
    assert match_dims(torch.ones(2, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_cond_maps_what_is_there():
    cond = Cond(seq=torch.ones(2, 3, 4), mask=torch.ones(2, 3, dtype=torch.bool)).map(lambda v: v[:1])
    assert cond.vec is None and cond.img is None and cond.seq.shape == (1, 3, 4) and cond.mask.shape == (1, 3)


def test_two_conditions_become_one():
    a, b = Cond(vec=torch.ones(2, 3)), Cond(img=torch.zeros(2, 1, 4, 4), mask=torch.ones(2, 5, dtype=torch.bool))
    both = merge(a, b)
    assert both.vec is a.vec and both.img is b.img and both.mask is b.mask and both.seq is None
    for x, y in ((a, both), (both, b)):
        with pytest.raises(ValueError, match='(vec|img) stands in both conditions'):
            merge(x, y)
    assert merge(Cond(), Cond()) == Cond()


REFUSED = [  # a check of an argument, and the words of its refusal
    *((lambda v=v: whole('n', v), f'n is {v!r}, expected a positive whole number') for v in (0, -1, 1.0, True, '3', None, math.nan)),
    (lambda: whole('first', -1, least=0), 'first is -1, expected a whole number, at least 0'),
    (lambda: whole('k', 5000, 2, 4000), 'k is 5000, expected a whole number from 2 to 4,000'),
    *((lambda v=v: positive('lr', v), f'lr is {v!r}, expected a positive number') for v in (0, -1.0, math.inf, math.nan, True, '1', None)),
    *((lambda v=v: number('p', v, 0, 1), f'p is {v!r}, expected a number from 0 to 1') for v in (-0.1, 1.1, math.nan, False, '0')),
    (lambda: number('shift', math.inf), 'shift is inf, expected a finite number'),
    (lambda: number('decay', -1, least=0), 'decay is -1, expected a number, at least 0'),
    (lambda: one_of('split', 'dev', {'train': 1, 'test': 2}), "split is 'dev', expected one of train, test"),
    (lambda: one_of('split', ['train'], ('train',)), "split is ['train'], expected one of train"),
    *((lambda v=v: holds('var', torch.tensor([1.0, v]), above=0), f'var holds {v:g}, expected positive numbers') for v in (0.0, -1.0, math.nan, math.inf)),
    (lambda: holds('var', torch.tensor(-1.0), least=0), 'var holds -1, expected finite numbers from 0 up'),
    (lambda: holds('beta', torch.tensor([[0.5], [1.5]]), 0, 1), 'beta holds 1.5, expected numbers from 0 to 1'),
    (lambda: holds('terms', torch.tensor(math.nan)), 'terms holds nan, expected finite numbers'),
    (lambda: same_shape(eps=torch.ones(2, 3), x0=torch.ones(2)), 'eps has shape (2, 3), expected that of x0, (2,)'),
]


@pytest.mark.bad_input
@pytest.mark.parametrize('call, words', REFUSED)
def test_a_wrong_argument_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=f'^{re.escape(words)}$'):
        call()


def test_a_right_argument_comes_back():
    assert [whole('n', 1), whole('n', 0, least=0), whole('n', 4000, 2, 4000)] == [1, 0, 4000]
    assert [positive('lr', 3), positive('lr', 1e-300), number('p', 0, 0, 1), number('x', -1e300)] == [3, 1e-300, 0, -1e300]
    assert one_of('split', 'test', ('train', 'test')) == 'test'
    x = torch.tensor([0.0, 1.0])
    assert holds('x', x, 0, 1) is x and holds('x', x, least=0) is x and holds('x', x) is x and holds('x', x + 1e-300, above=-1).shape == (2,)
    same_shape(a=torch.ones(3), b=torch.zeros(3), c=torch.ones(3))


def test_nested_objects_come_back_from_their_description():
    schedule = ShiftedSchedule(RectifiedFlowSchedule(), shift=3.0)
    again = build(describe(schedule))
    t = torch.linspace(0, 1, 9)
    assert describe(schedule) == {'type': 'ShiftedSchedule', 'base': {'type': 'RectifiedFlowSchedule'}, 'shift': 3.0}
    assert torch.equal(again.sigma(t), schedule.sigma(t))


def test_tables_of_numbers_come_back_exactly():
    schedule = DiscreteSchedule(linear_betas(10))
    assert torch.equal(build(describe(schedule)).betas, schedule.betas)


@pytest.mark.parametrize(
    'config, words',
    [
        ({'type': 'os.system'}, "'os.system'"),
        ({'type': 'CosineSchedule', 'speed': 1}, "'speed'"),
        ({'type': 'ShiftedSchedule', 'shift': 2.0}, "'base'"),
        ({}, 'None'),
        ({'type': ['CosineSchedule']}, 'CosineSchedule'),
    ],
)
def test_what_is_not_in_the_closed_list_is_refused_by_name(config, words):
    with pytest.raises(ValueError, match='.*') as error:
        build(config)
    assert words in str(error.value)


def test_an_unregistered_object_is_not_described():
    with pytest.raises(ValueError, match='object is not registered'):
        describe(object())


def test_subclasses_record_their_own_arguments():
    class Base:
        def __init__(self, a: int):
            self.a = a

    @register
    class OnlyForThisTest(Base):
        def __init__(self, b: int = 2):
            super().__init__(b + 1)

    try:
        assert describe(OnlyForThisTest(5)) == {'type': 'test_core:OnlyForThisTest', 'b': 5}
    finally:
        REGISTRY.pop('test_core:OnlyForThisTest')


def test_a_name_of_the_library_stays_the_librarys():
    library = REGISTRY['RectifiedFlowSchedule']

    @register
    class RectifiedFlowSchedule:
        pass

    assert REGISTRY['RectifiedFlowSchedule'] is library


def test_a_plain_number_keeps_its_digits():
    x = torch.ones(2, 3, dtype=torch.float64)
    assert match_dims(0.3, x).item() == 0.3 and match_dims(2**53 - 1, x).item() == 2**53 - 1
