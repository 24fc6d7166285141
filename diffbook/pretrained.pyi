# Written by tools/stubs.py from the module beside it.

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
import torch
from torch import Tensor, nn
from .core import whole
from .losses import Denoiser
from .nets.clip import CLIP, TextTower
from .nets.t5 import T5
from .nets.unet import UNet
from .nets.vae import AutoencoderKL
from .predictions import Prediction
from .samplers import Solver
from .schedules import Schedule
from .text import Tokenizer
from .published import clip, scheduler, sentences, unet, vae
from .published.control import ControlNet, IPAdapter
from .published.reading import Source
from typing import Any

__all__ = ['make_empty', 'NoisePlan', 'load_schedule', 'load_unet', 'load_network', 'load_vae', 'load_text_encoder', 'load_clip', 'load_tokenizer', 'load_controlnet', 'load_ip_adapter', 'save_published', 'save_pipeline', 'read_lora', 'write_lora', 'about_lora']

_PARTS: dict[Any, Any]

def make_empty(part: str, config: Mapping[str, object]) -> nn.Module:
    """Make the network that published settings describe, with shapes and without numbers; a ValueError names a setting that is not followed.

    part: one of _PARTS
    config: its settings, in the published words
    returns: on the device 'meta'
    """
    ...

@dataclass(frozen=True)
class NoisePlan:
    """What a published scheduler says: the table, what the network predicts, and which times a sampler visits.

    schedule: a table of betas; for flows the straight path
    spacing: 'leading', 'trailing' or 'linspace'
    offset: added to the times of 'leading': 1 in Stable Diffusion
    last: where sampling ends; 1: a step early, as Stable Diffusion's `set_alpha_to_one: false`
    clip: estimates of x0 are held within plus and minus this
    whole: False: times of 'linspace' may stand between rows, as Euler's do
    spare: times placed beyond the last and left out: 1 in the families of DPM-Solver
    halves: first steps that are halved, as where Runge and Kutta begin for PNDM
    levels: a rule that places the levels between the first and the last
    variance: of DDPM's step; a learned one is the second half of what the network says
    scheduler: the class that says so, which names a step rule too
    rule: a step rule that its settings name, such as 'dpmpp_2m'
    told: what the network is told of a time between rows: 'time', 'nearest row', 'row below'; of a straight path 'thousandth below' or 'thousandths'
    flow: for a straight path: whose grid of even times, 'DPM', 'UniPC', 'twice' (of Stable Diffusion 3) or 'even' (of FLUX), and by what it is shifted
    grows: for a straight path: the log of the shift is linear in the number of tokens; slope, and value at none
    unmatched: settings for which the book has no step rule, in words
    """
    schedule: Schedule
    prediction: Prediction = ...
    spacing: str = 'leading'
    offset: int = 0
    last: float = 0.0
    clip: float | None = None
    whole: bool = True
    spare: int = 0
    halves: int = 0
    levels: str | None = None
    variance: str = 'fixed_small'
    scheduler: str | None = None
    rule: str | None = None
    told: str = 'time'
    flow: tuple[str, float] | None = None
    grows: tuple[float, float] | None = None
    unmatched: str = ''
    def __post_init__(self) -> None: ...
    def denoiser(self, net: nn.Module) -> Denoiser:
        """Turn a published network into a denoiser: it was told t - 1."""
        ...
    @property
    def step_rule(self) -> Solver:
        """The step rule that the scheduler's class and settings name; DDIM, with a warning, where the book does not have it."""
        ...
    @property
    def in_ratio(self) -> bool:
        """Whether that rule walks x / alpha over sigma / alpha."""
        ...
    @property
    def unit(self) -> bool:
        """Whether a walk starts from noise of unit variance, and not from sigma times it."""
        ...
    def times(self, n: int, tokens: int | None=None) -> Tensor:
        """Give the times that n steps visit, for a picture of so many tokens where they depend on it; warn where the first is far from noise (eq-pretrained-leading).

        returns: (n + 1,) falling times
        """
        ...

def load_schedule(source: Source, config: Mapping[str, object] | None=None) -> NoisePlan:
    """Read a published scheduler: its table of betas, prediction and times, and the name of its step rule.

    source: folder of the scheduler or of the model, a name of the Hub, or what was read of it
    config: settings that replace those of the file
    """
    ...

def load_unet(source: Source, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None, folder: str='unet', variant: str | None=None) -> UNet:
    """Read a published U-Net (diffusers' UNet2DModel and UNet2DConditionModel, or Stable Diffusion's single file).

    source: folder of the U-Net or of the model, name of the Hub, a single .safetensors file, or what was read of it
    dtype: of the weights; None: as stored
    config: what a single file does not say, in diffusers' words
    folder: within that of the model; `unet_ema` holds averaged weights
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode
    """
    ...

_LOADERS: Any

def load_network(source: Source, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None, folder: str | None=None, variant: str | None=None) -> nn.Module:
    """Read a published network that denoises, by the class that its settings name; a ValueError names what does not fit, and its file.

    source: folder of the network or of the model, name of the Hub, a single .safetensors file, or what was read of it
    dtype: of the weights; None: as stored
    config: what a single file does not say, in diffusers' words
    folder: within that of the model; None: where such networks lie
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode
    """
    ...

def load_vae(source: Source, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None, folder: str='vae', variant: str | None=None) -> AutoencoderKL:
    """Read a published VAE (diffusers' AutoencoderKL, or that of Stable Diffusion's single file).

    source: folder of the VAE or of the model, name of the Hub, a single .safetensors file, or what was read of it
    dtype: of the weights; None: as stored
    config: what a single file does not say, in diffusers' words
    folder: within that of the model
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode
    """
    ...

def load_text_encoder(source: Source, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None, folder: str='text_encoder', variant: str | None=None) -> TextTower | T5:
    """Read a published reader of texts, by its class: a tower of CLIP (of Stable Diffusion 1, 2 and XL), or the encoder of T5 (of Stable Diffusion 3 and FLUX).

    source: folder of the tower, of a CLIP or of the model, name of the Hub, a single .safetensors file, or what was read of it
    dtype: of the weights; None: as stored
    config: what a single file does not say, in transformers' words
    folder: within that of the model
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode; a tower with `dim`, if the file holds a projection and nothing of images
    """
    ...

def load_clip(source: Source, dtype: torch.dtype | None=None, variant: str | None=None) -> CLIP:
    """Read a published CLIP, both towers.

    source: a folder with config.json and model.safetensors, a name of the Hub, or what was read of it
    dtype: of the weights; None: as stored
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode
    """
    ...

def load_tokenizer(source: str | Path, folder: str='tokenizer') -> Tokenizer | sentences.Unigram:
    """Read a published tokenizer, by its class: CLIP's, of `vocab.json` and `merges.txt` or `tokenizer.json`, or T5's, of `spiece.model` or `tokenizer.json`; with the words that were added to it.

    source: folder of the tokenizer or of the model, or a name of the Hub
    folder: within that of the model
    """
    ...

def load_controlnet(source: Source, dtype: torch.dtype | None=None, folder: str='controlnet', variant: str | None=None) -> ControlNet:
    """Read a published ControlNet (diffusers' ControlNetModel).

    source: folder of the ControlNet or of the model, name of the Hub, or what was read of it
    dtype: of the weights; None: as stored
    folder: within that of the model
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode
    """
    ...

def load_ip_adapter(file: str | Path, dtype: torch.dtype | None=None) -> IPAdapter:
    """Read a published IP-Adapter for Stable Diffusion: one projection, and keys and values for each reader.

    file: a .safetensors file
    dtype: of the weights; None: as stored
    returns: in eval mode
    """
    ...

_WRITTEN: dict[Any, Any]

def save_published(folder: str | Path, part: UNet | AutoencoderKL | TextTower | T5 | Tokenizer | NoisePlan, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None) -> None:
    """Write one part in the published layout, which diffusers and transformers read; a ValueError, if that layout cannot express it.

    folder: of this part; made if need be
    dtype: of the stored weights; None: as they are
    config: settings to add, such as sample_size
    """
    ...

def save_pipeline(folder: str | Path, config: Mapping[str, Mapping] | None=None, dtype: torch.dtype | None=None, **parts: UNet | AutoencoderKL | TextTower | Tokenizer | NoisePlan) -> None:
    """Write a whole model in the published layout, with the index by which diffusers finds its pipeline.

    folder: of the whole model
    config: settings to add, by part
    dtype: of the stored weights; None: as they are
    """
    ...

def read_lora(model: nn.Module, path: str | Path) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Read low-rank changes in the names of peft, diffusers or kohya; a ValueError names what cannot be applied.

    model: a network, a text tower, or what holds them
    path: a .safetensors file, or a folder of peft or diffusers
    returns: by layer of ours: down (rank, in, ...), up (out, rank), alpha
    """
    ...

def write_lora(path: str | Path, changes: Mapping[str, tuple[Tensor, Tensor, float]], about: Mapping[str, object] | None=None, dtype: torch.dtype | None=None) -> None:
    """Write low-rank changes in the names of peft; a ValueError, before anything is written, if a number is not finite.

    path: a .safetensors file
    changes: by layer: down (rank, in, ...), up (out, rank), alpha
    about: plain data that a reader may want to know
    dtype: of the stored numbers; None: as they are
    """
    ...

def about_lora(path: str | Path) -> dict[str, object]:
    """What a file of write_lora says of itself; nothing, if another wrote it.

    path: as of read_lora
    """
    ...
