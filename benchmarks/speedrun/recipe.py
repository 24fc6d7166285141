"""The book's entry, trick by trick, and what was tried and left."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from benchmarks.speedrun.gauss import BesideGauss
from benchmarks.speedrun.plans import Plan, halfwave, level, straight
from diffbook.losses import stratified_draw
from diffbook.nets.unet import UNet
from diffbook.recipes import middling

SHAPE: dict[str, Any] = dict(channels=(32, 64), blocks=(1, 2), heads=(0, 0, 4), groups=8)
FEW = 'dpmpp_2m:12:karras'


def unet(**changes: Any) -> Callable[[Tensor], UNet]:
    return lambda images: UNet(1, **SHAPE | changes)


USUAL = Plan(unet(channels=(48, 96)), draw=stratified_draw, lr=1e-3, rate=halfwave, ema=0.999)
DRAWN = replace(USUAL, draw=middling)
RATED = replace(DRAWN, rate=straight, lr=2.4e-3)
SMALL = replace(RATED, net=unet())
RECIPE = replace(SMALL, muon=True, lr=6e-3)
LADDER = {  # every rung changes one thing of the one before
    'usual': (USUAL, 'ddim:20:uniform'),  # its other walk, FEW, is the second rung
    'drawn': (DRAWN, FEW),
    'rated': (RATED, FEW),
    'small': (SMALL, FEW),
    'recipe': (RECIPE, FEW),
}
WHOLE: dict[str, Any] = dict(channels=(16, 32, 64), blocks=(1, 1, 2), heads=(0, 0, 0, 4), patch=1)  # no squares of pixels are folded
TRIED = {  # each changes one thing of the recipe
    'whole pixels': (replace(RECIPE, net=unet(**WHOLE)), FEW),
    'whole pixels, a narrower first level': (replace(RECIPE, net=unet(**WHOLE | dict(channels=(8, 32, 64)))), FEW),
    'whole pixels, wider below': (replace(RECIPE, net=unet(**WHOLE | dict(channels=(16, 48, 96)))), FEW),
    'whole pixels, attention': (replace(RECIPE, net=unet(**WHOLE | dict(heads=(0, 0, 4, 4)))), FEW),
    'whole pixels, two levels': (replace(RECIPE, net=unet(channels=(24, 48), blocks=(1, 1), heads=(0, 4, 4), patch=1)), FEW),
    'smaller': (replace(RECIPE, net=unet(channels=(24, 48))), FEW),
    'deeper': (replace(RECIPE, net=unet(blocks=(1, 3))), FEW),
    'shallower': (replace(RECIPE, net=unet(blocks=(1, 1))), FEW),
    'no attention': (replace(RECIPE, net=unet(heads=(0, 0, 0))), FEW),
    'batches of 16': (replace(RECIPE, batch=16), FEW),
    'batches of 64': (replace(RECIPE, batch=64), FEW),
    'half the rate': (replace(RECIPE, lr=3e-3), FEW),
    'twice the rate': (replace(RECIPE, lr=1.2e-2), FEW),
    'a level rate': (replace(RECIPE, rate=level), FEW),
    'mirrored': (replace(RECIPE, mirror=True), FEW),
    'beside a Gaussian': (replace(RECIPE, net=lambda images: BesideGauss(UNet(1, **SHAPE), images)), FEW),
}
