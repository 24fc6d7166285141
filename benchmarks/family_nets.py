"""The networks and losses of benchmarks/family.py: five families, for points of the plane and for pictures of 28 x 28.

A member of a family is a module with all that is trained, a list of what is updated in turn (part, loss, options of the trainer),
a way to draw, and a log-likelihood or a bound of it where there is one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from diffbook.core import Data, make_generator
from diffbook.data import Dataset
from diffbook.family import AffineCoupling, Flow, PixelCNN, chain_log_prob, discriminator_loss, draw_pixels, generator_loss, importance_bound
from diffbook.flows import Mlp
from diffbook.gaussian import gaussian_log_prob
from diffbook.likelihood import dequantise, log_likelihood
from diffbook.losses import Denoiser, training_loss
from diffbook.multistep import dpmpp_2m
from diffbook.nets.vae import draw_latents, kl_to_normal
from diffbook.predictions import predict_v
from diffbook.recipes import recipe
from diffbook.schedules import CosineSchedule
from diffbook.stages import Stage


@dataclass(frozen=True)
class Member:
    "One family at work: what is trained, how, and what it can do."

    model: nn.Module
    turns: list[tuple[str, Callable[..., Tensor], dict[str, Any]]]  # (name of the part, loss, options of the trainer)
    draw: Callable[[nn.Module, int, torch.Generator], Tensor]
    log_prob: Callable[[nn.Module, Tensor], dict[str, Tensor]] | None = None
    options: dict[str, Any] = field(default_factory=dict)


def mlp(*sizes: int) -> nn.Sequential:
    layers = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.SiLU())]
    return nn.Sequential(*layers[:-1])


# ---- points of the plane


class TwoSteps(nn.Module):
    "p(x1) p(x2 | x1), each a mixture of ten Gaussians."

    def __init__(self, width: int = 62, parts: int = 10):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(3 * parts)), mlp(1, width, width, width, 3 * parts)

    def part(self, said: Tensor, x: Tensor) -> Tensor:
        weight, mean, log_std = said.chunk(3, -1)
        return (weight.log_softmax(-1) + gaussian_log_prob(x, mean, torch.exp(2 * log_std))).logsumexp(-1)

    def log_prob(self, x: Data) -> Tensor:
        return self.part(self.first, x[:, :1]) + self.part(self.second(x[:, :1]), x[:, 1:])

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        x = torch.zeros(n, 0)
        for said in (lambda x: self.first.expand(n, -1), self.second):
            weight, mean, log_std = said(x).chunk(3, -1)
            k = torch.multinomial(weight.softmax(-1), 1, generator=generator)
            x = torch.cat([x, mean.gather(1, k) + log_std.gather(1, k).exp() * torch.randn(n, 1, generator=generator)], 1)
        return x


class Autoencoder(nn.Module):
    "Encoder and decoder of a VAE. The decoder's standard deviation is one for all numbers, or the second half of what it says."

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latents: int, each: bool = False):
        super().__init__()
        self.encoder, self.decoder, self.latents, self.each = encoder, decoder, latents, each
        self.log_std = nn.Parameter(torch.tensor(-1.0))

    def said(self, z: Tensor) -> tuple[Tensor, Tensor]:  # mean and log of the standard deviation
        said = self.decoder(z).float()
        mean, log_std = said.chunk(2, 1) if self.each else (said, self.log_std)
        return mean, torch.zeros_like(mean) + log_std.clamp(min=-6.0)  # about the spread of a level within its bin

    def log_weights(self, x: Data, generator: torch.Generator, k: int) -> Tensor:  # (k, b)
        mean, log_var = self.encoder(x).chunk(2, 1)
        weights = []
        for _ in range(k):
            z = draw_latents(mean, log_var, generator)
            middle, log_std = self.said(z)
            prior = gaussian_log_prob(z, torch.zeros_like(z), torch.ones_like(z)) - gaussian_log_prob(z, mean, log_var.exp())
            weights.append(gaussian_log_prob(x, middle, torch.exp(2 * log_std)).flatten(1).sum(1) + prior.sum(1))
        return torch.stack(weights)


def vae_loss(vae: Autoencoder, x: Data, generator: torch.Generator) -> Tensor:
    mean, log_var = vae.encoder(x).float().chunk(2, 1)
    middle, log_std = vae.said(draw_latents(mean, log_var, generator))
    return kl_to_normal(mean, log_var) - gaussian_log_prob(x, middle, torch.exp(2 * log_std)).flatten(1).sum(1)


def draw_vae(vae: Autoencoder, n: int, generator: torch.Generator, noisy: bool = True) -> Tensor:
    middle, log_std = vae.said(torch.randn(n, vae.latents, generator=generator))
    return middle + noisy * log_std.exp() * torch.randn(middle.shape, generator=generator)


def bounds(vae: Autoencoder, x: Data, k: int) -> dict[str, Tensor]:
    weights = vae.log_weights(x, torch.Generator().manual_seed(0), k)
    return {'nats': importance_bound(weights), 'bound': weights.mean(0)}


def gan(
    generator: nn.Module, judge: nn.Module, latents: int, options: dict[str, Any], penalty: float = 0.0, prepare: Callable = lambda x, g: x, **more: Any
) -> Member:
    "A GAN by the non-saturating loss; `penalty` holds the discriminator's slope at the data down (Mescheder et al. 2018)."
    both = nn.ModuleDict({'judge': judge, 'generator': generator})
    make = lambda n, g: both['generator'](torch.randn(n, latents, generator=g))

    def tell(judge: nn.Module, x: Data, g: torch.Generator) -> Tensor:
        real = prepare(x, g).requires_grad_(penalty > 0)
        with torch.no_grad():
            fake = make(len(x), g)
        loss = discriminator_loss(judge, real, fake)
        if penalty:
            (slope,) = torch.autograd.grad(judge(real).sum(), real, create_graph=True)
            loss = loss + penalty / 2 * slope.square().flatten(1).sum(1)
        return loss

    fool = lambda part, x, g: generator_loss(both['judge'], part(torch.randn(len(x), latents, generator=g)))
    draw = lambda model, n, g: model['generator'](torch.randn(n, latents, generator=g))
    return Member(both, [('judge', tell, options), ('generator', fool, options)], draw, None, more)


def points(family: str) -> Member:
    "A member for points of the plane, with about ten thousand parameters in all."
    plain = {'lr': 2e-3 if family == 'flow' else 5e-3, 'warmup': 100, 'ema': 0.999}  # picked in short runs
    if family == 'autoregression':
        return Member(TwoSteps(), [('', lambda m, x, g: -m.log_prob(x), plain)], TwoSteps.draw, lambda m, x: {'nats': m.log_prob(x)})
    if family == 'flow':
        nets = [mlp(2, 31, 31, 4) for _ in range(8)]
        flow = Flow(*[AffineCoupling(net, torch.tensor([k % 2, 1 - k % 2])) for k, net in enumerate(nets)])
        draw = lambda m, n, g: m.inverse(torch.randn(n, 2, generator=g))
        return Member(flow, [('', lambda m, x, g: -m.log_prob(x), plain)], draw, lambda m, x: {'nats': m.log_prob(x)})
    if family == 'VAE':
        return Member(Autoencoder(mlp(2, 66, 66, 4), mlp(2, 66, 66, 2), 2), [('', vae_loss, plain)], draw_vae, lambda m, x: bounds(m, x, 1000))
    if family == 'GAN':
        return gan(
            mlp(2, 67, 67, 2), nn.Sequential(mlp(2, 67, 67, 1), nn.Flatten(0)), 2, {'lr': 2e-3, 'warmup': 0, 'betas': (0.0, 0.99), 'ema': 0.999}, penalty=0.1
        )
    denoiser = Denoiser(Mlp(2, 64), CosineSchedule(), predict_v)
    draw = lambda m, n, g, steps=50: Stage(m, m.schedule, (2,), solver=dpmpp_2m).draw(n, steps=steps, batch=n, seed=g.initial_seed() % 2**31)
    return Member(denoiser, [('', training_loss, plain)], draw, lambda m, x: {'nats': log_likelihood(m, m.schedule, x)})


# ---- pictures of garments


class Squeeze(nn.Module):
    "Four neighbours of a picture become four channels: invertible, and of log-determinant 0."

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(z, 2)


class Spread(nn.Module):
    "From levels in [-1, 1] to all numbers by a logit, as flows for pictures do (Dinh et al. 2017)."

    def __init__(self, edge: float = 0.01):
        super().__init__()
        self.edge = edge

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = self.edge + (1 - 2 * self.edge) * (x + 1.0039216) / 2.0078432
        log_det = math.log((1 - 2 * self.edge) / 2.0078432) - p.log() - torch.log1p(-p)
        return torch.logit(p), log_det.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return (torch.sigmoid(z) - self.edge) / (1 - 2 * self.edge) * 2.0078432 - 1.0039216


def coupling_net(channels: int, width: int) -> nn.Sequential:
    last = nn.Conv2d(width, 2 * channels, 3, padding=1)
    nn.init.zeros_(last.weight), nn.init.zeros_(last.bias)  # each coupling begins as the identity
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), last)


def picture_flow(width: int = 32) -> Flow:
    "RealNVP's chain: checkers and channels at 14 x 14, channels at 7 x 7."
    checker = (torch.arange(14)[:, None] + torch.arange(14)) % 2
    quarters = [torch.tensor(q)[:, None, None].expand(4, 14, 14) for q in ([1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1])]
    fine = [*quarters, checker.expand(4, 14, 14), 1 - checker.expand(4, 14, 14)]
    layers: list[nn.Module] = [Spread(), Squeeze(), *(AffineCoupling(coupling_net(4, width), keep) for keep in fine), Squeeze()]
    halves = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(k)) < 8 for k in range(3)])
    for half in halves:
        layers += [AffineCoupling(coupling_net(16, width), keep[:, None, None].expand(16, 7, 7)) for keep in (half, ~half)]
    return Flow(*layers)


def up(a: int, b: int) -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.SiLU()]


class Ends(nn.Module):
    "What is said first becomes a level, in [-1, 1]; what is said second stays as it is."

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.tanh(x[:, :1]), x[:, 1:]], 1)


def painter(latents: int, width: int = 64, each: bool = False) -> nn.Sequential:
    "From latents to a picture, by way of 7 x 7."
    start = [nn.Linear(latents, 32 * 49), nn.Unflatten(1, (32, 7, 7)), nn.SiLU(), nn.Conv2d(32, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
    return nn.Sequential(*start, *up(width, width), *up(width, width // 2), nn.Conv2d(width // 2, 1 + each, 3, padding=1), Ends())


def reader(outputs: int, *end: nn.Module, width: int = 64, norm: Callable = lambda layer: layer) -> nn.Sequential:
    "From a picture to some numbers."
    convs = [(1, width // 2), (width // 2, width), (width, width)]
    layers = [m for k, (a, b) in enumerate(convs) for m in (norm(nn.Conv2d(a, b, 4 if k < 2 else 3, 2 if k < 2 else 1, 1)), nn.LeakyReLU(0.2))]
    return nn.Sequential(*layers, nn.Flatten(), norm(nn.Linear(49 * width, outputs)), *end)


def spread(images: Tensor) -> Tensor:
    return dequantise(images, make_generator(0, 'family levels'))


def clean(images: Tensor, generator: torch.Generator) -> Tensor:
    return images.float() / 127.5 - 1


def pictures(family: str) -> Member:
    "A member for pictures of 28 x 28 in bytes."
    plain = {'lr': 2e-3, 'warmup': 100, 'ema': 0.999}
    if family == 'autoregression':
        loss = lambda m, images, g: -chain_log_prob(m(images), images[:, 0]) / 784
        draw = lambda m, n, g: draw_pixels(m, n, 28, g)
        return Member(PixelCNN(), [('', loss, plain)], draw, lambda m, images: {'nats': chain_log_prob(m(images), images[:, 0])}, {'batch': 16, 'bf16': True})
    if family == 'flow':
        loss = lambda m, images, g: -m.log_prob(dequantise(images, g)) / 784
        draw = lambda m, n, g: m.inverse(torch.randn(n, 16, 7, 7, generator=g))
        return Member(picture_flow(), [('', loss, plain)], draw, lambda m, images: {'nats': m.log_prob(spread(images))})
    if family == 'VAE':
        vae = Autoencoder(reader(64), painter(32, each=True), 32, each=True)
        loss = lambda m, images, g: vae_loss(m, dequantise(images, g), g) / 784
        return Member(vae, [('', loss, plain)], lambda m, n, g: draw_vae(m, n, g, noisy=False), lambda m, images: bounds(m, spread(images), 64), {'bf16': True})
    if family == 'GAN':
        options = {'lr': 1e-3, 'warmup': 100, 'betas': (0.0, 0.99), 'ema': 0.998}
        return gan(painter(64), reader(1, nn.Flatten(0), norm=spectral_norm), 64, options, prepare=clean, bf16=True)
    made = recipe('fashion-mnist-small')
    loss = lambda m, images, g: made.loss(m, (images,), g)
    draw = lambda m, n, g: Stage(m, m.schedule, (1, 28, 28), solver=dpmpp_2m).draw(n, steps=20, seed=g.initial_seed() % 2**31)
    model = made.model(Dataset(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)))
    return Member(model, [('', loss, {'lr': made.lr, 'warmup': 100, 'weight_decay': made.weight_decay, 'ema': made.ema})], draw, None, {'bf16': True})
