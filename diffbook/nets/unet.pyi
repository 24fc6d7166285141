# Written by tools/stubs.py from the module beside it.

from collections.abc import Mapping
from fastcore.basics import patch
from torch import Tensor, nn
from ..core import Cond
from .layers import ResBlock
from typing import Any

__all__ = ['NAMES', 'READERS', 'OLD_NAMES', 'CLASSES', 'FIXED', 'FIXED_SEQ', 'DEFAULTS', 'DEFAULTS_SEQ', 'Stage', 'UNet', 'published_places', 'as_ours', 'copy_published', 'load_published', 'published_arguments']

class Stage(nn.Module):
    """One step of the walk: a residual block, then attention if `heads` is not zero, which reads a text if `seq_dim` is not."""
    res: ResBlock
    reads: Any
    attn: Any
    columns: Any
    def __init__(self, c_in: int, c_out: int, heads: int, groups: int, eps: float, dropout: float, scale_shift: bool, seq_dim: int=0) -> None: ...
    def forward(self, x: Tensor, told: Tensor, cond: Cond | None=None) -> Tensor: ...

class UNet(nn.Module):
    """Map a noisy image and its noise level to an image of the same size. Ronneberger et al. 2015; Ho et al. 2020."""
    unit: Any
    down: nn.ModuleList
    up: nn.ModuleList
    mid: nn.ModuleList
    stem: nn.Conv2d
    norm: nn.GroupNorm
    head: Any
    waves: dict[str, float]
    time: nn.Sequential
    cond: Any
    tell: nn.Linear
    in_channels: int
    patch: int
    cond_dim: int
    seq_dim: int
    img_channels: int
    def __init__(self, in_channels: int=1, out_channels: int | None=None, channels: tuple[int, ...]=..., *, blocks: tuple[int, ...]=..., heads: tuple[int, ...]=..., patch: int=2, groups: int=8, cond_dim: int=0, seq_dim: int=0, img_channels: int=0, dropout: float=0.0, scale_shift: bool=True, down_pad: tuple[int, int]=..., freq_shift: float=1.0, cos_first: bool=False, eps: float=1e-05) -> None:
        """in_channels: channels of the image that comes
        out_channels: channels that leave; as many as come, if not said
        channels: width of each level, finest first
        blocks: residual blocks of each level on the way down; one more on the way up
        heads: attention heads of each level and, last, of the middle; 0: none
        patch: side of the squares of pixels that are folded into channels at the start
        groups: groups of channels in every norm
        cond_dim: width of `cond.vec`; 0: the net takes none
        seq_dim: width of the tokens `cond.seq`, read at every stage that has heads; 0: the net takes none
        img_channels: channels of `cond.img`, laid beside the input; 0: the net takes none
        dropout: share of activations silenced in training
        scale_shift: how a block is told the noise level, see ResBlock
        down_pad: zeros before and after each axis when halving
        freq_shift: see sinusoids
        cos_first: see sinusoids
        eps: of every norm
        """
        ...
    def _add_walk(self, levels: list[tuple[int, int, int]], middle: int, pad: tuple[int, int], rest: tuple) -> None: ...
    def _add_way_up(self, levels: list[tuple[int, int, int]], widths: list[int], rest: tuple) -> None: ...
    def _add_ends(self, c_in: int, c_out: int, width: int, groups: int, eps: float) -> None: ...
    def _add_told(self, waves: dict[str, float]) -> None: ...
    def told(self, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """Turn noise level and condition into what the blocks are told.

        noise_level: (b,)
        cond: holds `vec` (b, cond_dim) if the net was built with cond_dim
        returns: (b, all scales and shifts)
        """
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """Walk down and keep all that is seen; walk up and read it again, last first.

        x: (b, in_channels, h, w)
        noise_level: (b,), one number an image
        cond: what the image is conditioned on
        returns: (b, out_channels, h, w)
        """
        ...
    def join(self, h: Tensor, skip: Tensor) -> Tensor:
        """Stack channels.

        h: from below
        skip: over the bridge
        returns: both, stacked
        """
        ...
    def _refuse(self, x: Tensor, noise_level: Tensor, cond: Cond | None) -> None: ...
    def _take_image(self, in_channels: int, patch: int, dropout: float, down_pad: tuple[int, int]) -> None: ...
    def _take_conditions(self, cond_dim: int, seq_dim: int, img_channels: int, heads: bool) -> None: ...

NAMES: dict[Any, Any]

READERS: dict[Any, Any]

OLD_NAMES: dict[Any, Any]

CLASSES: str

def published_places(net: UNet) -> dict[str, tuple[str, slice]]:
    """Fill the table of names for `net`.

    net: any net of this class
    returns: published parameter -> (our parameter, which rows of it)
    """
    ...

def as_ours(name: str, value: Tensor, own: Tensor) -> Tensor:
    """Turn a kernel of one pixel into a matrix, and a table of classes into the columns of one.

    name: of a published tensor
    value: the tensor
    own: the parameter of ours that holds it
    returns: a view, in our form
    """
    ...

def copy_published(model: nn.Module, places: Mapping[str, tuple[str, slice]], tensors: Mapping[str, Tensor]) -> None:
    """Copy published weights to their places, all of them or none.

    model: a UNet, or another class that has such a table
    places: published parameter -> (our parameter, which rows of it)
    tensors: the published weights by name
    """
    ...

def load_published(net: UNet, tensors: Mapping[str, Tensor]) -> None:
    """Copy the weights of a diffusers UNet2DModel or UNet2DConditionModel into `net`.

    net: built with published_arguments
    tensors: the published weights by name
    """
    ...

FIXED: dict[Any, Any]

FIXED_SEQ = FIXED | {'mid_block_type': 'UNetMidBlock2DCrossAttn', 'dropout': 0.0, 'only_cross_attention': False, 'mid_block_only_cross_attention': None, 'dual_cross_attention': False, 'transformer_layers_per_block': 1, 'reverse_transformer_layers_per_block': None, 'num_attention_heads': None, 'attention_type': 'default', 'cross_attention_norm': None, 'encoder_hid_dim': None, 'encoder_hid_dim_type': None, 'addition_embed_type': None, 'addition_time_embed_dim': None, 'addition_embed_type_num_heads': 64, 'class_embeddings_concat': False, 'projection_class_embeddings_input_dim': None, 'time_embedding_act_fn': None, 'timestep_post_act': None, 'time_cond_proj_dim': None, 'conv_in_kernel': 3, 'conv_out_kernel': 3, 'resnet_skip_time_act': False, 'resnet_out_scale_factor': 1.0}

DEFAULTS: dict[Any, Any]

DEFAULTS_SEQ = DEFAULTS | {'in_channels': 4, 'out_channels': 4, 'block_out_channels': (320, 640, 1280, 1280), 'cross_attention_dim': 1280, 'down_block_types': ('CrossAttnDownBlock2D',) * 3 + ('DownBlock2D',), 'up_block_types': ('UpBlock2D',) + ('CrossAttnUpBlock2D',) * 3, 'use_linear_projection': False, 'upcast_attention': False}

def published_arguments(config: Mapping[str, object]) -> dict[str, object]:
    """Translate a published configuration; refuse by name what this class does not do.

    config: the config.json of a diffusers UNet2DModel or UNet2DConditionModel
    returns: arguments of UNet
    """
    ...
