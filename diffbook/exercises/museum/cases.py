"""The cases of the bug museum: what the oracle measures, why innocent lines are innocent, and where the mistake stood in public."""

import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from diffbook.exercises.museum import right, wrong
from diffbook.exercises.museum.mistakes import GITHUB, LINKS

Row = tuple[str, float, float, float]  # what is measured, the value, what is expected, what is allowed


@dataclass(frozen=True)
class Case:
    "One mistake in one function, and all that the game says about it."

    f: Callable
    oracle: Callable[[Callable], list[Row]]
    row: str | None  # its name among the mistakes that the tests make
    where: str  # where it stood in public
    alibis: dict[str, str]  # how an innocent line begins -> why it is innocent
    options: dict = field(default_factory=dict)  # how samples are drawn, where not as DDPM does
    url: str = ''  # where to read it up, if the table does not say
    trained: bool = False  # is it on the way of training?
    drawn: bool = True  # or of drawing?

    @property
    def part(self) -> str:
        "The name of the function, without the number of the case."
        return self.f.__name__.rpartition('_')[0]

    @property
    def lines(self) -> list[str]:
        "The source, under the name of the part."
        return inspect.getsource(self.f).replace(self.f.__name__, self.part, 1).rstrip().splitlines()

    @property
    def guilty(self) -> int:
        "The number of the line that differs from the right function, counted from 1."
        good = inspect.getsource(getattr(right, self.part)).rstrip().splitlines()
        (k,) = [k for k, (mine, other) in enumerate(zip(self.lines, good, strict=True), 1) if mine != other]
        return k

    @property
    def link(self) -> str:
        path = self.url or LINKS.get(self.row or '', '')
        return GITHUB + path if path else ''


def at(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def powers(noisy) -> list[Row]:
    one, none = at(1.0), at(0.0)
    power = lambda bar: (noisy(one, none, at(bar)) ** 2 + noisy(none, one, at(bar)) ** 2).item()  # noqa: E731
    return [(f'variance of x where bar is {bar}, for data of variance 1', power(bar), 1.0, 1e-9) for bar in (0.9, 0.5, 0.1)]


def numbers(examples) -> list[Row]:
    t, eps = examples(torch.zeros(50_000, 2), torch.ones(101), torch.Generator().manual_seed(0))
    t = t.double()
    return [
        ('mean of 100,000 noises', eps.mean().item(), 0.0, 0.02),
        ('variance of 100,000 noises', eps.var().item(), 1.0, 0.02),
        ('smallest of 50,000 times', t.min().item(), 1.0, 0.0),
        ('largest of 50,000 times', t.max().item(), 100.0, 0.0),
    ]


def ends(flow_step) -> list[Row]:
    x, times = at(-1.3), [1.0, 0.75, 0.5, 0.25, 0.0]
    for t, s in zip(times, times[1:]):
        x = flow_step(x, at(0.7), t, s)
    return [('where four steps end, if the only data point is 0.7', x.item(), 0.7, 1e-9)]


def last_row(table) -> list[Row]:
    return [
        ('share of the variance that is data, at the start', table(100)[0].item(), 1.0, 1e-6),
        ('the same after 1000 steps', table(1000)[-1].item(), 0.0, 0.01),
        ('the same after 100 steps', table(100)[-1].item(), 0.0, 0.01),
    ]


def moments(to_latent) -> list[Row]:
    z = to_latent(right.encoded(torch.arange(20_000) % 8, torch.Generator().manual_seed(0)), right.MEAN, right.STD)
    return [('mean of 20,000 latents', z.mean().item(), 0.0, 0.05), ('standard deviation of 20,000 latents', z.std().item(), 1.0, 0.05)]


def agreement(guide) -> list[Row]:
    return [
        ('answer at scale 1, where 2 is said with the caption and 5 without', guide(2.0, 5.0, 1.0), 2.0, 1e-9),
        ('answer at scale 3, where 2 is said with the caption and without', guide(2.0, 2.0, 3.0), 2.0, 1e-9),
    ]


def kept_variance(ddim) -> list[Row]:
    rows = []
    for eta in (0.0, 0.5, 1.0):
        bar, bar_s = at(0.3), at(0.6)  # data at 0: the state is noise alone, x = sqrt(1 - bar) eps
        old = ddim((1 - bar).sqrt(), at(1.0), bar, bar_s, eta, at(0.0))
        fresh = ddim(at(0.0), at(0.0), bar, bar_s, eta, at(1.0))
        rows.append((f'variance of the noise after a step to bar 0.6, eta {eta}', (old**2 + fresh**2).item(), 0.4, 1e-9))
    return [*rows, ('fresh noise in a step that ends at the data, eta 1', ddim(at(0.0), at(0.0), at(0.9), at(1.0), 1.0, at(1.0)).item(), 0.0, 1e-9)]


def padding(attend) -> list[Row]:
    g = torch.Generator().manual_seed(0)
    query, words = torch.randn(1, 1, 8, generator=g), torch.randn(1, 4, 8, generator=g)
    other = torch.cat([words[:, :2], torch.randn(1, 2, 8, generator=g)], 1)
    seen = torch.tensor([[True, True, False, False]])
    change = (attend(query, words, words, seen) - attend(query, other, other, seen)).abs().max().item()
    return [
        ('change of the answer when only the padding changes', change, 0.0, 1e-6),
        ('answer where every value is 1', attend(query, words, torch.ones_like(words), seen).mean().item(), 1.0, 1e-5),
    ]


def last_noise(ancestral) -> list[Row]:
    step = lambda z, bar_s: ancestral(at(0.0), at(0.0), at(0.9), at(bar_s), at(z)).item()  # noqa: E731
    return [
        ('what a fresh noise of 1 does to a step from bar 0.9 to 0.95', step(1.0, 0.95) - step(0.0, 0.95), math.sqrt(1 - 0.9 / 0.95), 1e-9),
        ('what it does to the last step, from bar 0.9 to the data', step(1.0, 1.0) - step(0.0, 1.0), 0.0, 1e-9),
    ]


def lag(average) -> list[Row]:
    kept, new = [torch.zeros(1, dtype=torch.float64)], [torch.ones(1, dtype=torch.float64)]
    for _ in range(10):
        average(kept, new, 0.9)
    return [('the average after ten updates from 0 towards 1, decay 0.9', kept[0].item(), 1 - 0.9**10, 1e-9)]


def chain(levels) -> list[Row]:
    rows = []
    for n in (10, 30):
        steps = levels(100, n)
        gaps = sum(end != begin for (_, end), (begin, _) in zip(steps, steps[1:]))
        rows.append((f'steps that do not begin where the one before ended, {n} steps', float(gaps), 0.0, 0.0))
    return [*rows, ('where the last of 30 steps ends', float(steps[-1][1]), 0.0, 0.0)]


def coins(drop) -> list[Row]:
    g, words, empty = torch.Generator().manual_seed(0), torch.ones(64, 4).long(), torch.zeros(4).long()
    shares = torch.stack([(drop(words, empty, 0.1, g)[:, 0] == 0).double().mean() for _ in range(500)])
    return [
        ('share of 32,000 captions that is dropped', shares.mean().item(), 0.1, 0.03),
        ('standard deviation of that share among batches of 64', shares.std().item(), math.sqrt(0.1 * 0.9 / 64), 0.01),
    ]


def order(waves) -> list[Row]:
    told = waves(torch.zeros(1), 8)[0]
    return [('mean of the first half at time 0', told[:4].mean().item(), 1.0, 1e-6), ('mean of the second half', told[4:].mean().item(), 0.0, 1e-6)]


def alone(start) -> list[Row]:
    whole, second = start(0, 0, 8), start(0, 4, 4)
    return [('change of samples 5 to 8 when they are drawn in a batch of their own', (whole[4:] - second).abs().max().item(), 0.0, 1e-6)]


def eight(bits) -> list[Row]:
    nats = 3 * 32 * 32 * math.log(256)  # every pixel: 256 levels, all equally likely
    return [('bits per dimension of a model that knows nothing of 256 levels', bits(nats, (16, 3, 32, 32)), 8.0, 1e-6)]


def others(radius) -> list[Row]:
    line = torch.arange(5.0)[:, None]
    return [(f'distance to the nearest {k} on a ruler, from its left end', radius(line, k)[0].item(), float(k), 1e-5) for k in (1, 2)]


def half_the_gain(bound_weight) -> list[Row]:
    ratio = lambda bar: bar / (1 - bar)  # noqa: E731
    pairs = ((0.9, 0.95), (0.5, 0.6), (0.05, 0.06))
    return [(f'weight of a step from bar {a} to {b}', bound_weight(at(a), at(b)).item(), (ratio(b) - ratio(a)) / 2, 1e-9) for a, b in pairs]


def opposite(close) -> list[Row]:
    zeros = torch.zeros(2)
    say = lambda *got: float(close(torch.tensor(got), zeros, 0.1))  # noqa: E731
    return [
        ('(0, 0) is close to (0, 0), 1 for yes', say(0.0, 0.0), 1.0, 0.0),
        ('(2, 2) is close to (0, 0)', say(2.0, 2.0), 0.0, 0.0),
        ('(2, -2) is close to (0, 0)', say(2.0, -2.0), 0.0, 0.0),
    ]


_CASES = [
    Case(
        wrong.noisy_1,
        powers,
        'one minus alpha_bar for its root',
        'In notebooks of a course on how diffusion models work, the noise is multiplied by 1 - alpha_bar where its square root belongs. The issue that says so is from 2023 and open.',
        {
            'signal = ': 'If the data has variance 1, this share of it has variance bar. That is what bar means.',
            'return ': 'Data and noise each with its factor, added: that is all that mixing is.',
        },
        trained=True,
    ),
    Case(
        wrong.examples_2,
        numbers,
        'noise of uniform law',
        'A tutorial drew its noise by torch.rand, which is uniform between 0 and 1, where torch.randn, the normal distribution, was meant: one letter.',
        {
            't = ': 'Times from 1 to the last row: row 0 is clean data, and there is no noise to be guessed in it.',
            'return ': 'It hands over what it drew.',
        },
        trained=True,
    ),
    Case(
        wrong.flow_step_3,
        ends,
        'Euler uphill',
        'In a small flow wrapper the author found, after a report of something else, that he had inverted the direction from noise to data.',
        {
            'eps = ': 'On the straight line x is (1 - t) x0 + t eps. Solve it for eps.',
            'velocity = ': 'The line leads from the data at 0 to the noise at 1, so this is how x changes as t grows.',
        },
        options={'way': 'flow', 'steps': 50},
    ),
    Case(
        wrong.table_4,
        last_row,
        None,
        'A small DDPM keeps the betas of a thousand steps whatever the number of steps is; the title of the issue is "Deadly Bug found and solved".',
        {
            'bars = ': 'The shares of all steps up to here, multiplied: that is alpha-bar, whatever the betas are.',
            'return ': 'Clean data stands in front, with the whole variance.',
        },
        url='zoubohao/DenoisingDiffusionProbabilityModel-ddpm-/issues/14',
        trained=True,
    ),
    Case(
        wrong.to_latent_5,
        moments,
        'scale of the latents on the wrong side',
        'Which side of the autoencoder is multiplied and which is divided was mixed up more than once: a pull request to MONAI lets the sampler divide before decoding, as it should, and CogVideoX has a flag because the factor was forgotten in training.',
        {
            'centred = ': 'The mean of the output is taken away: what is left has mean 0, as the oracle confirms.',
            'scale = ': 'One over the standard deviation: what one multiplies by to get a deviation of 1.',
        },
        trained=True,
    ),
    Case(
        wrong.guide_6,
        agreement,
        'guidance with the printed sign',
        'An annotated implementation prints the formula with s - 1 on its pages; its code has 1 - s, so that only those who wrote their own from the page were hit.',
        {
            'towards = ': 'At scale 1 this is the whole answer with the caption, and the rest must vanish. It does.',
            'return ': 'Two weighted answers, added. Ask what the weights must add up to, and where they are made.',
        },
        options={'scale': 3.0},
    ),
    Case(
        wrong.ddim_7,
        kept_variance,
        'eta without the ratio of the steps',
        'A teaching notebook took eta times the noise of the present level for the fresh noise. Its authors then counted: the root below was clamped at zero in 19 of 19 steps.',
        {
            'x0 = ': 'The data that the guessed noise implies: x is sqrt(bar) x0 + sqrt(1 - bar) eps, solved for x0.',
            'kept = ': 'Old and fresh noise together must have the variance 1 - bar_s, so this is what is left for the old. But look when the clamp has to help.',
            'return ': 'Data, old noise and fresh noise, each with its factor.',
        },
        options={'way': 'ddim', 'steps': 20},
    ),
    Case(
        wrong.attend_8,
        padding,
        'mask upside down',
        'PyTorch has two conventions: True hides a word in MultiheadAttention and shows it in scaled_dot_product_attention. A book on language models carried a mask from one to the other.',
        {
            'scores = query': 'Similarity over the root of the number of channels: the usual scores.',
            'return ': 'Weights that add up to one, and a mean of the values: where all values are 1 the answer is 1, says the oracle.',
        },
        trained=True,
    ),
    Case(
        wrong.ancestral_9,
        last_noise,
        'noise at the last step',
        'An annotated DDPM adds fresh noise in every step, the last one too. With a thousand steps the last noise has a deviation of 0.01, and nobody sees it.',
        {
            'beta = ': 'One minus the share of the variance that this one step keeps. Right for steps of any length.',
            'mean = ': 'Algorithm 2 of Ho et al., without its noise.',
            'return ': 'A mean and a deviation times a noise. The oracle likes the step in the middle of the way; where does it differ from the last?',
        },
    ),
    Case(
        wrong.average_10,
        lag,
        'decay of the average exchanged',
        'A training library merged a repair of its moving average under the title "Fix dumb bug in EMA where I had beta backwards".',
        {
            'for old': 'Each averaged weight is visited with the new one of the same place.',
            'return ': 'It gives back the weights that it moved.',
        },
        trained=True,
    ),
    Case(
        wrong.levels_11,
        chain,
        'previous level by subtraction',
        'Schedulers of diffusers found the level to which a step leads by subtracting the mean stride from the present one. With 13 of 1000 steps the walk said 923, and the next step began at 922.',
        {
            'starts = ': 'Evenly spaced and rounded, from the last level down: 30 steps of 100 cannot all be equally long.',
            'return ': 'Pairs of where a step begins and where it ends.',
        },
        options={'way': 'ddim', 'steps': 30, 'eta': 0.0},
    ),
    Case(
        wrong.drop_12,
        coins,
        'the condition dropped for a whole batch',
        'Asked of Stable Diffusion in 2022: is the text dropped for a whole batch in one case of ten, or for one example in ten? The reply that came drops each example by itself.',
        {'return ': 'Where the coin says so the empty caption stands, elsewhere the caption itself. On average the share is right.'},
        options={'scale': 3.0},
        trained=True,
    ),
    Case(
        wrong.waves_13,
        order,
        'sines where cosines belong',
        'An example of an attention library had the halves exchanged: with the published weights the answer of the network was 37 % off; videos stayed sharp and lost their composition.',
        {
            'rates = ': 'From one turn in 2 pi down to one in 2 pi times 10000, evenly in the logarithm.',
            'angles = ': 'Each time at each rate.',
        },
        trained=True,
    ),
    Case(
        wrong.start_14,
        alone,
        'noise by place in the batch',
        'The same seed gives another picture when the batch has another size: reported of several programs. The noise depends on the place of a sample in its batch, and not on its number.',
        {
            'rows = ': 'One generator for each number, seeded by the seed and that number: nobody else is asked.',
            'return ': 'The rows, one below the other.',
        },
        options={'way': 'ddim', 'steps': 30, 'eta': 0.0},
    ),
    Case(
        wrong.bits_15,
        eight,
        'nats read as bits',
        'Asked of a published VAE: its log shows a distortion of about 1; are these bits per dimension? They are nats, the logarithm is the natural one.',
        {'dims = ': 'The numbers of one picture: all sizes but that of the batch.'},
        drawn=False,
    ),
    Case(
        wrong.radius_16,
        others,
        'a point that is its own neighbour',
        'We know no thread about it, and made it ourselves while writing the chapter on metrics: in a table of the distances of a set to itself, the nearest of all is the point.',
        {'distance = ': 'All distances from all points to all points; the diagonal is zero.', 'return ': 'It returns what it found.'},
        drawn=False,
    ),
    Case(
        wrong.bound_weight_17,
        half_the_gain,
        'operator precedence in the weight of the bound',
        'In the weights of the bound, published with latent diffusion and copied from there, a product without brackets, `2. * 1 - alphas_cumprod`, gave 2 - alpha_bar for 2 (1 - alpha_bar). Ours is the same kind of slip.',
        {
            'beta = ': 'One minus the share of the variance that this one step keeps.',
            'reach = ': 'The factor of the data estimate in the mean of the step: an error there moves the mean by as much.',
            'variance = ': 'The variance of the step when the data is known (Ho et al. 2020, equation 7).',
        },
        drawn=False,
    ),
    Case(
        wrong.close_18,
        opposite,
        'errors that cancel',
        'The tests of a small library compare tensors by the sum of their differences. Errors of opposite sign cancel, and the test is green.',
        {'return ': 'The errors together must not exceed what is allowed. Ask what the line before calls an error.'},
        drawn=False,
    ),
]
CASES = dict(enumerate(_CASES, 1))


def judge(x: torch.Tensor) -> dict[str, float | None]:
    "The share of the points that lie near the heap of their caption, the width of the heaps, and the share that differs from all others."
    off = x - right.CENTRES[torch.arange(len(x)) % 8]
    near = off.norm(dim=1) < 0.5
    width = off[near].square().mean().sqrt().item() if near.any() else None
    return {'share': near.float().mean().item(), 'width': width, 'different': len(torch.unique((x * 1e4).round(), dim=0)) / len(x)}


def digest() -> str:
    "Of the functions, right and wrong: what was measured of others is out of date."
    return hashlib.sha256((inspect.getsource(right) + inspect.getsource(wrong)).encode()).hexdigest()[:16]
