"""One mistake in each function; the number is that of the case. Who reads on has lost the game."""

import math

import torch


def noisy_1(x0, eps, bar):
    "Mix data with noise; bar is alpha-bar, the share of the variance that is left of the data."
    signal = bar.sqrt()
    noise = 1 - bar
    return signal * x0 + noise * eps


def examples_2(x0, bars, generator):
    "Draw a time and a noise for each example; bars[0] belongs to clean data."
    t = torch.randint(1, len(bars), (len(x0),), generator=generator)
    eps = torch.rand(x0.shape, generator=generator)
    return t, eps


def flow_step_3(x, x0, t, s):
    "Follow the velocity from time t to the earlier time s; the data is at time 0, the noise at 1."
    eps = (x - (1 - t) * x0) / t
    velocity = eps - x0
    return x + (t - s) * velocity


def table_4(steps):
    "Make the table of alpha-bar for a chain of so many steps, clean data first."
    betas = torch.linspace(0.0001, 0.02, steps)
    bars = torch.cumprod(1 - betas, 0)
    return torch.cat([torch.ones(1), bars])


def to_latent_5(z, mean, std):
    "Bring what the encoder gives to mean 0 and variance 1; mean and std are those of its output."
    centred = z - mean
    scale = 1 / std
    return centred / scale


def guide_6(cond, null, scale):
    "Go from the answer without a caption to the one with it, and beyond; a scale of 1 is off."
    towards = scale * cond
    away = (scale - 1) * null
    return towards + away


def ddim_7(x, eps, bar, bar_s, eta, z):
    "Step from the level bar to the cleaner level bar_s; a share eta of the most noise possible is fresh, z."
    x0 = (x - (1 - bar).sqrt() * eps) / bar.sqrt()
    std = eta * (1 - bar).sqrt()
    kept = (1 - bar_s - std**2).clamp(min=0).sqrt()
    return bar_s.sqrt() * x0 + kept * eps + std * z


def attend_8(query, key, value, word):
    "Look up what the words say; `word` is True where a word stands, and False at the padding."
    scores = query @ key.mT / math.sqrt(key.shape[-1])
    scores = scores.masked_fill(word[:, None], -math.inf)
    return scores.softmax(-1) @ value


def ancestral_9(x, eps, bar, bar_s, z):
    "Step as DDPM does from the level bar to the cleaner level bar_s, with fresh noise z."
    beta = 1 - bar / bar_s
    mean = (x - beta / (1 - bar).sqrt() * eps) / (1 - beta).sqrt()
    std = beta.sqrt()
    return mean + std * z


@torch.no_grad()
def average_10(kept, new, decay):
    "Move an average of the weights on: it keeps the share `decay` of what it was."
    for old, weight in zip(kept, new):
        old.lerp_(weight, decay)
    return kept


def levels_11(steps, n):
    "List the n steps of a walk from the noisiest level to the data, each as (from, to)."
    starts = [round(steps * (n - k) / n) for k in range(n)]
    ends = [max(t - steps // n, 0) for t in starts]
    return list(zip(starts, ends))


def drop_12(words, empty, p, generator):
    "Replace captions by the empty one, each with probability p, so that the network learns to do without."
    coin = torch.rand(1, 1, generator=generator)
    return torch.where(coin < p, empty, words)


def waves_13(t, n):
    "Tell a time as n numbers, in the order in which the published weights were trained: cosines, then sines."
    rates = torch.exp(-math.log(10000) * torch.arange(n // 2) / (n // 2))
    angles = t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def start_14(seed, first, n):
    "Draw the starting noise of the samples first, first + 1, ...: it depends on the seed and on the number of the sample alone."
    numbers = range(n)
    rows = [torch.randn(2, generator=torch.Generator().manual_seed(10_000 * seed + k)) for k in numbers]
    return torch.stack(rows)


def bits_15(nats, shape):
    "Turn the nats of whole pictures into bits per dimension; shape is that of the batch."
    dims = math.prod(shape[1:])
    return nats / dims


def radius_16(points, k):
    "Measure how far the k-th nearest other point is; precision and recall count what lies within that radius."
    distance = torch.cdist(points, points)
    nearest = distance.kthvalue(k, dim=1).values
    return nearest


def bound_weight_17(bar, bar_s):
    "Say what the bound on the likelihood charges for a squared error of the data estimate, in nats."
    beta = 1 - bar / bar_s
    reach = bar_s.sqrt() * beta / (1 - bar)
    variance = beta * (1 - bar_s) / (1 - bar)
    return reach**2 / 2 * variance


def close_18(got, want, atol):
    "Say whether two tensors agree to within atol."
    error = got - want
    return bool(error.sum() <= atol)
