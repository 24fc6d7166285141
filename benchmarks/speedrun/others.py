"""The networks of other libraries, by width, trained by the usual recipe: v of the cosine schedule, AdamW, half a cosine, averaged weights.

Each library's own class makes the network. What is theirs to choose, the width, the rate and the walk, is swept.
"""

from collections.abc import Callable

from torch import nn

from benchmarks.peers import DIFFUSERS, LUCIDRAINS, SMALL, Net, from_diffusers, told_ratio
from benchmarks.speedrun.plans import Plan, halfwave


def diffusers(width: int) -> nn.Module:
    return from_diffusers(block_out_channels=(width, 2 * width, 4 * width), layers_per_block=1, norm_num_groups=16)


def lucidrains(width: int) -> nn.Module:
    from denoising_diffusion_pytorch import Unet

    return Net(Unet(dim=width, dim_mults=(1, 2, 4), channels=1))


def smalldiffusion(width: int) -> nn.Module:
    from smalldiffusion import Unet

    return Net(Unet(28, 1, 1, ch=width, ch_mult=(1, 2, 3), num_res_blocks=2, attn_resolutions=(7,), dropout=0.0), told_ratio)


NETS: dict[str, Callable[[int], nn.Module]] = {DIFFUSERS: diffusers, LUCIDRAINS: lucidrains, SMALL: smalldiffusion}
WIDTHS = {DIFFUSERS: (16, 32), LUCIDRAINS: (16, 32), SMALL: (32,)}  # the last takes multiples of 32 only, and 64 is ten million parameters
RATES = (1e-3, 2e-3, 4e-3)
WALKS = ('ddim:20:uniform', 'ddim:50:uniform', 'heun:12:karras', 'dpmpp_2m:12:karras', 'dpmpp_2m:20:karras')


def plan(name: str, width: int = 32, lr: float = 1e-3) -> Plan:
    "What the network of another library is trained by."
    last = name == LUCIDRAINS  # a sixth faster with the channels last, where the others gain nothing
    return Plan(lambda images: NETS[name](width), lr=lr, rate=halfwave, ema=0.999, channels_last=last)
