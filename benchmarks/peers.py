"""The networks that are compared, each as a function of noisy images and times from 0 to 1000."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measure import flops
from diffbook.nets.unet import UNet
from diffbook.pretrained import fill
from diffbook.published.unet import arguments, places

OURS, DIFFUSERS, LUCIDRAINS, SMALL = 'diffbook', 'diffusers', 'denoising-diffusion-pytorch', 'smalldiffusion'
SHAPE = dict(channels=(56, 128), blocks=(1, 1), heads=(0, 0, 4))  # ours at equal parameters
WIDE = {'block_out_channels': (32, 64, 128), 'layers_per_block': 1, 'norm_num_groups': 32}
DDPM = {'block_out_channels': (32, 64, 64), 'layers_per_block': 2, 'norm_num_groups': 8, 'downsample_padding': 0, 'freq_shift': 1, 'flip_sin_to_cos': False}
PLAIN, ATTENTION = ('Block2D',) * 3, ('Block2D', 'AttnBlock2D', 'Block2D')


class Net(nn.Module):
    "A network called as `net(x, t)`, with times from 0 to 1000, however its library wants it called."

    def __init__(self, inner: nn.Module, form: Callable[[nn.Module, Tensor, Tensor], Tensor] = lambda net, x, t: net(x, t)):
        super().__init__()
        self.inner, self.form = inner, form

    def forward(self, x: Tensor, t: Tensor, cond: None = None) -> Tensor:
        return self.form(self.inner, x, t)


def ours(**shape) -> Net:
    return Net(UNet(1, **(shape or SHAPE)))


def from_diffusers(blocks: tuple[str, ...] = PLAIN, side: int = 28, **config) -> Net:
    from diffusers import UNet2DModel

    down = tuple(b.replace('Block', 'DownBlock') for b in blocks)
    up = tuple(b.replace('Block', 'UpBlock') for b in reversed(blocks))
    net = UNet2DModel(sample_size=side, in_channels=1, out_channels=1, down_block_types=down, up_block_types=up, **(config or WIDE))
    return Net(net, lambda net, x, t: net(x, t).sample)


def from_lucidrains() -> Net:
    from denoising_diffusion_pytorch import Unet

    return Net(Unet(dim=32, dim_mults=(1, 2, 4), channels=1))


def told_ratio(net: nn.Module, x: Tensor, t: Tensor) -> Tensor:
    "Call a network that is told sigma / alpha, on the cosine schedule."
    return net(x, torch.tan(t * math.pi / 2000).clamp(1e-3, 1e3))


def from_smalldiffusion() -> Net:
    from smalldiffusion import Unet

    return Net(Unet(28, 1, 1, ch=32, ch_mult=(1, 2, 3), num_res_blocks=2, attn_resolutions=(7,), dropout=0.0), told_ratio)


EQUAL = {OURS: ours, DIFFUSERS: from_diffusers, LUCIDRAINS: from_lucidrains, SMALL: from_smalldiffusion}


def make(name: str, seed: int = 0) -> Net | None:
    "One of the nets of about 2.6 million parameters; None where the library is absent."
    torch.manual_seed(seed)
    try:
        return EQUAL[name]()
    except ImportError:
        return None


def same_weights(blocks: tuple[str, ...] = ATTENTION, **config) -> dict[str, Net]:
    "A network of DDPM's form twice, with the same weights; empty without diffusers."
    torch.manual_seed(0)
    try:
        theirs = from_diffusers(blocks, **(config or DDPM))
    except ImportError:
        return {}
    net = UNet(**arguments(dict(theirs.inner.config)))
    fill(net, {name: value.clone() for name, value in theirs.inner.state_dict().items()}, places(net), 'benchmark')
    return {OURS: Net(net.train()), DIFFUSERS: theirs}


def size(net: Net) -> dict:
    "Parameters, and multiplications and additions of one image forward and of its training."
    device = next(net.parameters()).device
    x, t = torch.zeros(1, 1, 28, 28, device=device), torch.ones(1, device=device)
    with torch.no_grad():
        forward = flops(lambda: net(x, t))
    training = flops(lambda: net(x, t).sum().backward())
    net.zero_grad()
    return {
        'parameters': sum(p.numel() for p in net.parameters()),
        'forward GFLOP an image': round(forward / 1e9, 4), 'training GFLOP an image': round(training / 1e9, 4),
    }  # fmt: skip


def optimizer(net: Net, lr: float = 1e-4) -> torch.optim.Optimizer:
    "The same for all."
    return torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.01, fused=True)


def train_step(net: Net, optim: torch.optim.Optimizer, x: Tensor, t: Tensor, target: Tensor, bf16: bool = False) -> Tensor:
    "Make one update."
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        loss = F.mse_loss(net(x, t).float(), target)
    optim.zero_grad()
    loss.backward()
    optim.step()
    return loss.detach()
