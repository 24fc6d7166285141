# Written by tools/stubs.py from the module beside it.

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from .core import whole
from .losses import Denoiser
from .nets.clip import CLIP, TextTower
from .nets.unet import UNet
from .nets.vae import AutoencoderKL
from .predictions import Prediction
from .schedules import DiscreteSchedule
from .text import Tokenizer
from typing import Any

__all__ = ['PLAUSIBLE', 'SILENT', 'Places', 'FLOATS', 'SPACINGS', 'EARLY', 'ORIGINAL_UNET', 'WITHIN_UNET', 'ORIGINAL_VAE', 'WITHIN_VAE', 'ORIGINAL_TEXT', 'WITHIN_TEXT', 'SINGLE', 'read_tensors', 'Published', 'read_published', 'fill', 'load_unet', 'load_vae', 'load_text_encoder', 'load_clip', 'load_tokenizer', 'unet_config', 'vae_config', 'text_config', 'published_tensors', 'NoisePlan', 'load_schedule', 'plan_config', 'save_published', 'save_pipeline']

def read_tensors(files: Iterable[str | Path]) -> dict[str, Tensor]:
    """Map safetensors files into memory and give their tensors by name.

    files: safetensors, each with names of its own
    returns: views of the files, mapped into memory: nothing is read before it is looked at
    """
    ...

@dataclass(frozen=True)
class Published:
    """What a published part says: its configuration, its tensors by their published names, and where that stands."""
    config: dict
    tensors: dict[str, Tensor]
    where: Path

def read_published(source: str | Path, part: str, config: Mapping[str, object] | None=None, folder: str | None=None, variant: str | None=None) -> Published:
    """Read configuration and tensors of one part.

    source: a folder of the part or of the whole model, a name of the Hub, or a single .safetensors file
    part: one of KINDS
    config: what a single file does not say
    folder: of the part within that of the model, where it is not the usual one
    variant: which of several files of weights; None: the full one, else fp16, else the one there is
    """
    ...

_IS_TEXT: tuple[Any, ...]

_IS_FLAG: tuple[Any, ...]

PLAUSIBLE: dict[Any, Any]

SILENT: tuple[Any, ...]

Places = Mapping[str, tuple[str, slice]]

def fill(model: nn.Module, tensors: Mapping[str, Tensor], places: Places, where: object, dtype: torch.dtype | None=None) -> nn.Module:
    """Put published tensors into a model: as they lie in the file where one is one of ours, copied where we keep several in one.

    model: made without memory, on the device 'meta'
    tensors: by published name
    where: for messages
    dtype: None: as stored
    returns: the same, in eval mode
    """
    ...

FLOATS: tuple[Any, ...]

def load_unet(source: str | Path, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None, folder: str='unet', variant: str | None=None) -> UNet:
    """Read a published U-Net (diffusers' UNet2DModel and UNet2DConditionModel, or Stable Diffusion's single file).

    source: folder of the U-Net or of the model, name of the Hub, or a single .safetensors file
    dtype: of the weights; None: as stored
    config: what a single file does not say, in diffusers' words
    folder: within that of the model; `unet_ema` holds averaged weights
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode
    """
    ...

class _Unfilled(TorchFunctionMode):
    """Skip the drawing of first weights: where there is no memory it draws nothing, and makes torch import its compiler."""
    def __torch_function__(self, f, types, args=..., kwargs=None): ...

def load_vae(source: str | Path, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None, folder: str='vae', variant: str | None=None) -> AutoencoderKL:
    """Read a published VAE (diffusers' AutoencoderKL, or that of Stable Diffusion's single file).

    source: folder of the VAE or of the model, name of the Hub, or a single .safetensors file
    dtype: of the weights; None: as stored
    config: what a single file does not say, in diffusers' words
    folder: within that of the model
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode
    """
    ...

def load_text_encoder(source: str | Path, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None, folder: str='text_encoder', variant: str | None=None) -> TextTower:
    """Read a published text tower: CLIP's ViT-L/14 of Stable Diffusion 1, OpenCLIP's ViT-H/14 of Stable Diffusion 2.

    source: folder of the tower, of a CLIP or of the model, name of the Hub, or a single .safetensors file
    dtype: of the weights; None: as stored
    config: what a single file does not say, in transformers' words
    folder: within that of the model
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode; with `dim`, if the file holds a projection and nothing of images
    """
    ...

def load_clip(source: str | Path, dtype: torch.dtype | None=None, variant: str | None=None) -> CLIP:
    """Read a published CLIP, both towers.

    source: a folder with config.json and model.safetensors, or a name of the Hub
    dtype: of the weights; None: as stored
    variant: which of several files; None: the full one, else fp16, else the one there is
    returns: in eval mode
    """
    ...

def load_tokenizer(source: str | Path, folder: str='tokenizer') -> Tokenizer:
    """Read CLIP's tokenizer in either layout, `vocab.json` and `merges.txt` or `tokenizer.json`, with the words that were added to it.

    source: folder of the tokenizer or of the model, or a name of the Hub
    folder: within that of the model
    """
    ...

def unet_config(net: UNet) -> dict[str, object]:
    """Describe a U-Net as diffusers does; refuse one that it does not have.

    returns: in diffusers' words
    """
    ...

def vae_config(vae: AutoencoderKL) -> dict[str, object]:
    """Describe a VAE as diffusers does; refuse one that it does not have.

    returns: in diffusers' words
    """
    ...

def text_config(tower: TextTower) -> dict[str, object]:
    """Describe a text tower as transformers does.

    returns: in transformers' words
    """
    ...

def published_tensors(model: UNet | AutoencoderKL | TextTower) -> dict[str, Tensor]:
    """Give a model's tensors in the published names and forms.

    returns: by published name
    """
    ...

SPACINGS: tuple[Any, ...]

@dataclass(frozen=True)
class NoisePlan:
    """What a published scheduler says: the table, what the network predicts, and which times a sampler visits.

    spacing: one of SPACINGS
    offset: added to the times of 'leading': 1 in Stable Diffusion
    last: where sampling ends; 1: a step early, as Stable Diffusion's `set_alpha_to_one: false`
    clip: estimates of x0 are held within plus and minus this
    whole: False: times of 'linspace' may stand between rows, as Euler's do
    spare: times placed beyond the last and left out: 1 in the families of DPM-Solver
    halves: first steps that are halved, as where Runge and Kutta begin for PNDM
    levels: how levels are placed between the first and the last: one of LEVELS
    variance: of DDPM's step: one of VARIANCES; a learned one is the second half of what the network says
    """
    schedule: DiscreteSchedule
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
    def __post_init__(self) -> None: ...
    def denoiser(self, net: nn.Module) -> Denoiser:
        """Turn a published network into a denoiser: it was told t - 1."""
        ...
    def times(self, n: int) -> Tensor:
        """Give the times that n steps visit; warn where the first is far from noise.

        returns: (n + 1,) falling times
        """
        ...

EARLY: float

def load_schedule(source: str | Path, config: Mapping[str, object] | None=None) -> NoisePlan:
    """Read a published scheduler: its table of betas, prediction and times; the solver that it names is left to the caller.

    source: folder of the scheduler or of the model, or a name of the Hub
    config: settings that replace those of the file
    """
    ...

def plan_config(plan: NoisePlan) -> dict[str, object]:
    """Describe a plan as the first scheduler of diffusers that means the same: the table is written out.

    returns: in diffusers' words
    """
    ...

def save_published(folder: str | Path, part: UNet | AutoencoderKL | TextTower | Tokenizer | NoisePlan, dtype: torch.dtype | None=None, config: Mapping[str, object] | None=None) -> None:
    """Write one part in the published layout: diffusers and transformers read the folder.

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

ORIGINAL_UNET: dict[Any, Any]

WITHIN_UNET: dict[Any, Any]

ORIGINAL_VAE: dict[Any, Any]

WITHIN_VAE: dict[Any, Any]

ORIGINAL_TEXT: dict[Any, Any]

WITHIN_TEXT: dict[Any, Any]

SINGLE: dict[Any, Any]
