"""A small diffusion model in eighteen functions, all of them right; the museum makes one mistake in one of them."""

import math
from types import SimpleNamespace

import torch
from torch import Tensor, nn

BEGIN, NORTH, EAST, SOUTH, WEST, PAD = range(6)
HEAPS = [(EAST,), (NORTH, EAST), (NORTH,), (NORTH, WEST), (WEST,), (SOUTH, WEST), (SOUTH,), (SOUTH, EAST)]
CAPTIONS = torch.tensor([[BEGIN, *words, *[PAD] * (3 - len(words))] for words in HEAPS])
EMPTY = torch.tensor([BEGIN, PAD, PAD, PAD])
CENTRES = 1.4 * torch.tensor([[math.cos(math.pi * k / 4), math.sin(math.pi * k / 4)] for k in range(8)])
MEAN, STD = 3.0, 5.0  # of what the encoder of our latents gives
STEPS = 100  # of the chain


def noisy(x0, eps, bar):
    "Mix data with noise; bar is alpha-bar, the share of the variance that is left of the data."
    signal = bar.sqrt()
    noise = (1 - bar).sqrt()
    return signal * x0 + noise * eps


def examples(x0, bars, generator):
    "Draw a time and a noise for each example; bars[0] belongs to clean data."
    t = torch.randint(1, len(bars), (len(x0),), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    return t, eps


def flow_step(x, x0, t, s):
    "Follow the velocity from time t to the earlier time s; the data is at time 0, the noise at 1."
    eps = (x - (1 - t) * x0) / t
    velocity = eps - x0
    return x + (s - t) * velocity


def table(steps):
    "Make the table of alpha-bar for a chain of so many steps, clean data first."
    betas = torch.linspace(0.0001, 0.02, steps) * 1000 / steps
    bars = torch.cumprod(1 - betas, 0)
    return torch.cat([torch.ones(1), bars])


def to_latent(z, mean, std):
    "Bring what the encoder gives to mean 0 and variance 1; mean and std are those of its output."
    centred = z - mean
    scale = 1 / std
    return centred * scale


def guide(cond, null, scale):
    "Go from the answer without a caption to the one with it, and beyond; a scale of 1 is off."
    towards = scale * cond
    away = (1 - scale) * null
    return towards + away


def ddim(x, eps, bar, bar_s, eta, z):
    "Step from the level bar to the cleaner level bar_s; a share eta of the most noise possible is fresh, z."
    x0 = (x - (1 - bar).sqrt() * eps) / bar.sqrt()
    std = eta * ((1 - bar_s) / (1 - bar) * (1 - bar / bar_s)).sqrt()
    kept = (1 - bar_s - std**2).clamp(min=0).sqrt()
    return bar_s.sqrt() * x0 + kept * eps + std * z


def attend(query, key, value, word):
    "Look up what the words say; `word` is True where a word stands, and False at the padding."
    scores = query @ key.mT / math.sqrt(key.shape[-1])
    scores = scores.masked_fill(~word[:, None], -math.inf)
    return scores.softmax(-1) @ value


def ancestral(x, eps, bar, bar_s, z):
    "Step as DDPM does from the level bar to the cleaner level bar_s, with fresh noise z."
    beta = 1 - bar / bar_s
    mean = (x - beta / (1 - bar).sqrt() * eps) / (1 - beta).sqrt()
    std = beta.sqrt() * (bar_s < 1)
    return mean + std * z


@torch.no_grad()
def average(kept, new, decay):
    "Move an average of the weights on: it keeps the share `decay` of what it was."
    for old, weight in zip(kept, new):
        old.lerp_(weight, 1 - decay)
    return kept


def levels(steps, n):
    "List the n steps of a walk from the noisiest level to the data, each as (from, to)."
    starts = [round(steps * (n - k) / n) for k in range(n)]
    ends = [*starts[1:], 0]
    return list(zip(starts, ends))


def drop(words, empty, p, generator):
    "Replace captions by the empty one, each with probability p, so that the network learns to do without."
    coin = torch.rand(len(words), 1, generator=generator)
    return torch.where(coin < p, empty, words)


def waves(t, n):
    "Tell a time as n numbers, in the order in which the published weights were trained: cosines, then sines."
    rates = torch.exp(-math.log(10000) * torch.arange(n // 2) / (n // 2))
    angles = t[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], 1)


def start(seed, first, n):
    "Draw the starting noise of the samples first, first + 1, ...: it depends on the seed and on the number of the sample alone."
    numbers = range(first, first + n)
    rows = [torch.randn(2, generator=torch.Generator().manual_seed(10_000 * seed + k)) for k in numbers]
    return torch.stack(rows)


def bits(nats, shape):
    "Turn the nats of whole pictures into bits per dimension; shape is that of the batch."
    dims = math.prod(shape[1:])
    return nats / (dims * math.log(2))


def radius(points, k):
    "Measure how far the k-th nearest other point is; precision and recall count what lies within that radius."
    distance = torch.cdist(points, points)
    nearest = distance.kthvalue(k + 1, dim=1).values
    return nearest


def bound_weight(bar, bar_s):
    "Say what the bound on the likelihood charges for a squared error of the data estimate, in nats."
    beta = 1 - bar / bar_s
    reach = bar_s.sqrt() * beta / (1 - bar)
    variance = beta * (1 - bar_s) / (1 - bar)
    return reach**2 / (2 * variance)


def close(got, want, atol):
    "Say whether two tensors agree to within atol."
    error = (got - want).abs()
    return bool(error.sum() <= atol)


PARTS = (
    noisy, examples, flow_step, table, to_latent, guide, ddim, attend, ancestral,
    average, levels, drop, waves, start, bits, radius, bound_weight, close,
)  # fmt: skip


def program(**changed):
    "All parts by name, some of them replaced."
    return SimpleNamespace(**{f.__name__: f for f in PARTS} | changed)


class Net(nn.Module):
    "Guess the noise in a point from the point, its time and the words of its caption."

    def __init__(self, waves, attend, width=64):
        super().__init__()
        self.waves, self.attend = waves, attend
        self.words = nn.Embedding(6, 16)
        self.first, self.ask, self.tell = nn.Linear(18, width), nn.Linear(width, 16), nn.Linear(16, width)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, t, words):
        h = nn.functional.silu(self.first(torch.cat([x, self.waves(t, 16)], 1)))
        known = self.words(words)
        said = self.attend(self.ask(h)[:, None], known, known, words != PAD)
        return self.rest(h + self.tell(said[:, 0]))


def begun(net, generator):
    "The network with its first weights: as PyTorch draws them, from a generator of our own."
    for weight in net.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_uniform_(weight, math.sqrt(5), generator=generator)
        else:
            nn.init.zeros_(weight)
    return net


def encoded(heap, generator):
    "Points of these heaps, as the encoder of our latents gives them."
    return MEAN + STD * (CENTRES[heap] + 0.12 * torch.randn(len(heap), 2, generator=generator))


def train(p, seed=0, steps=1200, batch=128):
    "Train with the parts p: the averaged network, and the loss of each step."
    generator, bars = torch.Generator().manual_seed(seed), p.table(STEPS)
    net, kept = begun(Net(p.waves, p.attend), generator), Net(p.waves, p.attend)
    kept.load_state_dict(net.state_dict())
    optimizer, losses = torch.optim.Adam(net.parameters(), 5e-3, fused=True), []
    for _ in range(steps):
        heap = torch.randint(8, (batch,), generator=generator)
        x0 = p.to_latent(encoded(heap, generator), MEAN, STD)
        t, eps = p.examples(x0, bars, generator)
        words = p.drop(CAPTIONS[heap], EMPTY, 0.1, generator)
        x = p.noisy(x0, eps, bars[t][:, None])
        loss = (net(x, t, words) - eps).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        p.average(kept.parameters(), net.parameters(), 0.99)
        losses.append(loss.item())
    return kept, losses


def answer(p, net, x, t, words, scale):
    "The guided answer of a network at one time."
    ask = lambda words: net(x, torch.full((len(x),), t), words)  # noqa: E731
    return ask(words) if scale == 1 else p.guide(ask(words), ask(EMPTY.expand_as(words)), scale)


@torch.no_grad()
def draw(p, net, n=2000, seed=0, way='ddpm', steps=STEPS, scale=1.0, eta=1.0, batch=500) -> Tensor:
    "Draw n points with the parts p, batch by batch, the eight captions in turn."
    generator, bars, drawn = torch.Generator().manual_seed(seed), p.table(STEPS), []
    for first in range(0, n, batch):
        words = CAPTIONS[torch.arange(first, first + batch) % 8]
        x = p.start(seed, first, batch)
        for t, s in p.levels(STEPS, steps):
            z, bar, bar_s = torch.randn(x.shape, generator=generator), bars[t], bars[s]
            eps = answer(p, net, x, t, words, scale)
            if way == 'ddpm':
                x = p.ancestral(x, eps, bar, bar_s, z)
            elif way == 'ddim':
                x = p.ddim(x, eps, bar, bar_s, eta, z)
            else:  # the same network as a flow: the state, divided by the sum of its scales, lies on a straight path
                total, total_s = (b.sqrt() + (1 - b).sqrt() for b in (bar, bar_s))
                x0 = (x - (1 - bar).sqrt() * eps) / bar.sqrt()
                x = total_s * p.flow_step(x / total, x0, (1 - bar).sqrt() / total, (1 - bar_s).sqrt() / total_s)
        drawn.append(x)
    return torch.cat(drawn)
