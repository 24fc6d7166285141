# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable
import torch
from torch import Tensor, nn
from typing import Any

__all__ = ['info_nce', 'quick_gelu', 'gelu', 'TextTower', 'ImageTower', 'CLIP', 'clip_loss', 'retrieval']

def info_nce(image_vectors: Tensor, text_vectors: Tensor, log_scale: Tensor | float) -> Tensor:
    """Give the symmetric contrastive loss (van den Oord et al. 2018; Radford et al. 2021, figure 3; eq-clip-loss).

    image_vectors: (b, e) of unit length
    text_vectors: (b, e) of unit length; row i belongs to image i
    log_scale: () log of the inverse temperature
    returns: () nats
    """
    ...

def quick_gelu(x: Tensor) -> Tensor:
    """Multiply by a sigmoid of 1.702 x (Hendrycks and Gimpel 2016, section 2): what OpenAI's CLIP was trained with."""
    ...

def gelu(x: Tensor) -> Tensor:
    """Multiply by the Gaussian distribution function (Hendrycks and Gimpel 2016)."""
    ...

class Attention(nn.Module):
    """Let every token gather from all the others, or from those before it. Vaswani et al. 2017, section 3.2."""
    heads: int
    def __init__(self, width: int, heads: int) -> None: ...
    def forward(self, x: Tensor, causal: bool) -> Tensor:
        """returns: (b, n, d) -> (b, n, d)"""
        ...

class MLP(nn.Module):
    """Look at each token by itself, in a wider space."""
    fc1: nn.Linear
    fc2: nn.Linear
    activation: Callable[[Tensor], Tensor]
    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None: ...
    def forward(self, x: Tensor) -> Tensor: ...

class Block(nn.Module):
    """Add to the tokens what attention and a small network make of them. Pre-norm, as GPT-2."""
    layer_norm1: nn.LayerNorm
    layer_norm2: nn.LayerNorm
    self_attn: Attention
    mlp: MLP
    def __init__(self, width: int, heads: int, hidden: int, activation: Callable[[Tensor], Tensor], eps: float) -> None: ...
    def forward(self, x: Tensor, causal: bool) -> Tensor: ...

class Transformer(nn.Module):
    """Stack blocks; both towers are one."""
    causal: bool
    layers: nn.ModuleList
    def __init__(self, width: int, layers: int, heads: int, hidden: int | None, activation: Callable, eps: float, causal: bool) -> None: ...
    def forward(self, x: Tensor) -> list[Tensor]:
        """returns: (b, n, d) -> the states before the first and after each block"""
        ...
    def _begin(self, width: int, layers: int) -> None:
        """Draw first weights: what a block adds shrinks with the depth (Radford et al. 2021, released code)."""
        ...

class TextEmbeddings(nn.Module):
    """Look up a vector for each token and add one for its place."""
    token_embedding: nn.Embedding
    position_embedding: nn.Embedding
    def __init__(self, vocab_size: int, context: int, width: int) -> None: ...
    def forward(self, tokens: Tensor) -> Tensor:
        """returns: (b, l) -> (b, l, d)"""
        ...

class TextTower(nn.Module):
    """Read tokens from left to right: a state for each, and one vector for all. Radford et al. 2021, section 2.4."""
    width: int
    end: int | None
    embeddings: TextEmbeddings
    encoder: Transformer
    final_layer_norm: nn.LayerNorm
    text_projection: Any
    def __init__(self, vocab_size: int=49408, context: int=77, width: int=768, layers: int=12, heads: int=12, *, hidden: int | None=None, activation: Callable[[Tensor], Tensor]=..., eps: float=1e-05, end: int | None=None, dim: int | None=None) -> None:
        """vocab_size: tokens there are
        context: tokens it can read
        heads: of the transformer
        hidden: width inside the MLP; four times the width, if not said
        eps: of every norm
        end: token at whose first place the text is summed up; None: the largest token there
        dim: if given, that one vector is projected to so many numbers
        """
        ...
    def forward(self, tokens: Tensor, *, skip: int=0, norm: bool=True) -> tuple[Tensor, Tensor]:
        """tokens: (b, l) int64
        skip: so many of the last blocks do not touch the states: 1 gives the penultimate layer
        norm: end the states with the final norm; False: as Stable Diffusion XL reads them
        returns: states (b, l, width), pooled (b, width)
        """
        ...
    def end_of(self, tokens: Tensor) -> Tensor:
        """Find the first end token of each text.

        returns: (b, l) -> (b,)
        """
        ...
    def _refuse(self, tokens: Tensor, skip: int) -> None: ...

class ImageEmbeddings(nn.Module):
    """Cut an image into patches, a vector for each; put a class token first; add a vector for each place."""
    class_embedding: nn.Parameter
    patch_embedding: nn.Conv2d
    position_embedding: nn.Embedding
    def __init__(self, size: int, patch: int, channels: int, width: int) -> None: ...
    def forward(self, images: Tensor) -> Tensor:
        """returns: (b, c, h, w) -> (b, 1 + n, d)"""
        ...

class ImageTower(nn.Module):
    """Read an image as a sequence of patches: a state for each, and one vector for all. Dosovitskiy et al. 2021."""
    shape: tuple[Any, ...]
    width: int
    embeddings: ImageEmbeddings
    pre_layrnorm: nn.LayerNorm
    encoder: Transformer
    post_layernorm: nn.LayerNorm
    def __init__(self, size: int=224, patch: int=14, width: int=1024, layers: int=24, heads: int=16, *, channels: int=3, hidden: int | None=None, activation: Callable[[Tensor], Tensor]=..., eps: float=1e-05) -> None:
        """size: height and width in pixels
        patch: side of a patch
        heads: of the transformer
        hidden: width inside the MLP; four times the width, if not said
        eps: of every norm
        """
        ...
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """returns: (b, c, size, size) -> states (b, 1 + n, width), pooled (b, width)"""
        ...

class CLIP(nn.Module):
    """Give images and texts unit vectors in one space. Radford et al. 2021."""
    text_model: TextTower
    vision_model: ImageTower
    text_projection: nn.Linear
    visual_projection: nn.Linear
    logit_scale: nn.Parameter
    def __init__(self, text_model: TextTower, vision_model: ImageTower, dim: int=768, *, log_scale: float=...) -> None:
        """dim: of the common space
        log_scale: where the log of the inverse temperature starts
        """
        ...
    def encode_text(self, tokens: Tensor) -> Tensor:
        """Give each text its vector, of unit length.

        returns: (b, l) int64 -> (b, dim)
        """
        ...
    def encode_image(self, images: Tensor) -> Tensor:
        """Give each image its vector, of unit length.

        returns: (b, c, h, w), scaled as in training -> (b, dim)
        """
        ...
    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """returns: (b, c, h, w), (b, l) -> vectors of the images and of the texts"""
        ...

def clip_loss(clip: CLIP, batch: tuple[Tensor, Tensor], generator: torch.Generator | None=None) -> Tensor:
    """Give the contrastive loss of images (b, c, h, w) and the tokens (b, l) of their captions; hold the scale at 100. A loss for `Trainer`; nothing is drawn.

    returns: ()
    """
    ...

def retrieval(image_vectors: Tensor, text_vectors: Tensor, among: int=64) -> tuple[float, float]:
    """Count how often the right partner is the most similar one among so many.

    image_vectors: (n, e)
    text_vectors: (n, e); row i belongs to image i
    among: candidates; images that fill no whole group are left out
    returns: how often an image finds its text, and a text its image
    """
    ...
