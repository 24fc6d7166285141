# Written by tools/stubs.py from the module beside it.

from collections.abc import Sequence
import torch
from torch import Tensor, nn
from .conditioning import Conditioner
from .core import Cond
from .nets.clip import CLIP
from .text import Tokenizer
from typing import Any

__all__ = ['PriorBlock', 'may_read', 'PriorTransformer', 'unit_variance', 'read_texts', 'slerp', 'text_diff', 'AutoregressivePrior', 'EmbeddingConditioner', 'DecoderConditions']

class PriorBlock(nn.Module):
    """Let each token gather from those that it may read, then think about it. Pre-norm, as GPT-2."""
    heads: int
    norm1: nn.LayerNorm
    norm2: nn.LayerNorm
    q: Any
    k: Any
    v: Any
    out: Any
    widen: nn.Linear
    narrow: nn.Linear
    def __init__(self, width: int, heads: int, eps: float) -> None: ...
    def forward(self, x: Tensor, may: Tensor) -> Tensor:
        """returns: (b, n, width), (b, n, n) bool: True where token i may read token j"""
        ...

def may_read(mask: Tensor, more: int=0) -> Tensor:
    """Say which token may read which: itself, and those before it that are there (eq-unclip-mask).

    mask: (b, l) bool, True where there is a token
    more: so many tokens follow, all of them there
    returns: (b, n, n) bool with n = l + more
    """
    ...

class PriorTransformer(nn.Module):
    """Guess the embedding of a picture from a noisy one and a text, as the last word of a sentence. Ramesh et al. 2022, section 2.2."""
    dim: int
    width: int
    context: int
    seq_dim: Any
    time: nn.Sequential
    noisy: nn.Linear
    summary: nn.Linear
    words: nn.Linear
    blocks: nn.ModuleList
    norm: nn.LayerNorm
    head: nn.Linear
    places: Any
    query: Any
    def __init__(self, dim: int=768, width: int=2048, layers: int=20, heads: int=32, *, context: int=77, seq_dim: int | None=None, eps: float=1e-05) -> None:
        """dim: of the embedding
        context: tokens of text that it can read
        seq_dim: width of a token of the text; that of the embedding, if not said
        eps: of every norm
        """
        ...
    def _begin(self) -> None:
        """Draw first weights, and the statistics of embeddings that need no change; zeros in their place would make every embedding zero."""
        ...
    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None=None) -> Tensor:
        """Read text, its vector, time, embedding and an empty place from left to right; answer from the last (eq-unclip-mask).

        x: (b, dim) noisy embedding, in units of their spread
        noise_level: (b,)
        cond: `vec` (b, dim) and `seq` (b, n, seq_dim), of the text; `mask` (b, n)
        returns: (b, dim)
        """
        ...
    def encode(self, z: Tensor) -> Tensor:
        """Embeddings (b, dim) in units of their spread, as the prior learns them (eq-unclip-units)."""
        ...
    def decode(self, x: Tensor) -> Tensor:
        """Embeddings of what the prior drew."""
        ...

def unit_variance(z: Tensor) -> Tensor:
    """Lengthen vectors of length 1 (b, d) to the length of d numbers of variance 1 (eq-unclip-length)."""
    ...

def read_texts(clip: CLIP, tokenizer: Tokenizer, captions: Sequence[str]) -> Cond:
    """What a prior is told of captions: the vector of each, the states of its tokens, and which are there; cut off behind the longest."""
    ...

def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Walk on the sphere from the direction of `a` towards that of `b`, with the length between theirs (Shoemake 1985; eq-unclip-slerp).

    a: (b, d) at share 0
    b: (b, d) at share 1
    share: () or (b,), of the way
    returns: (b, d)
    """
    ...

def text_diff(z: Tensor, before: Tensor, after: Tensor, share: float | Tensor=0.4) -> Tensor:
    """Turn an embedding towards the difference of two texts (Ramesh et al. 2022, section 3.3; eq-unclip-diff).

    z: (b, d) embedding of a picture
    before: (b, d) vector of a text that describes it
    after: (b, d) vector of the text that shall
    share: of the way towards the difference of the texts
    returns: (b, d)
    """
    ...

class AutoregressivePrior(nn.Module):
    """Spell the embedding of a picture: its coordinates on the principal axes, largest first, each as one of so many letters. Ramesh et al. 2022, section 2.2."""
    context: int
    words: nn.Linear
    summary: nn.Linear
    letters: Any
    places: Any
    blocks: nn.ModuleList
    norm: nn.LayerNorm
    head: nn.Linear
    def __init__(self, dim: int=1024, letters: int=319, alphabet: int=1024, width: int=2048, layers: int=24, heads: int=32, *, context: int=77, seq_dim: int | None=None, eps: float=1e-05) -> None:
        """dim: of the embedding
        context: tokens of text that it can read
        seq_dim: width of a token of the text; that of the embedding, if not said
        eps: of every norm
        """
        ...
    def fit(self, z: Tensor) -> AutoregressivePrior:
        """Find the axes, and cut each so that every bucket holds as many embeddings (eq-unclip-spelling).

        returns: (n, dim) embeddings of pictures
        """
        ...
    def encode(self, z: Tensor) -> Tensor:
        """The word of each embedding.

        returns: (b, dim) -> (b, letters) int64
        """
        ...
    def decode(self, word: Tensor) -> Tensor:
        """The embedding that a word stands for: the mean of each bucket.

        returns: (b, letters) -> (b, dim)
        """
        ...
    def forward(self, word: Tensor, cond: Cond) -> Tensor:
        """The logits of each letter, given those before it and the text (eq-unclip-letters).

        returns: the first letters (b, j), a text -> (b, j + 1, alphabet), at most all
        """
        ...
    def draw(self, cond: Cond, generator: torch.Generator) -> Tensor:
        """Draw one letter after the other, and read the word.

        returns: (b, dim)
        """
        ...

class EmbeddingConditioner(Conditioner):
    """Tell a decoder an embedding twice: as a vector beside the noise level, and as a small learned picture beside the noisy one, which says where."""
    none: nn.Parameter
    size: tuple[Any, ...]
    lay: nn.Sequential
    def __init__(self, dim: int, size: int, *, channels: int=8, side: int=8) -> None:
        """dim: of the embedding
        size: height and width of the pictures
        """
        ...
    def forward(self, raw: Tensor) -> Cond:
        """returns: (b, dim), in units of their spread -> vec (b, dim), img (b, channels, size, size)"""
        ...
    def null(self, n: int) -> Cond: ...

class DecoderConditions(nn.Module):
    """Tell the decoder of DALL-E 2 the embedding of a picture and a text: as a vector beside the time, and as tokens. Ramesh et al. 2022, section 2.1."""
    dim: int
    tokens: int
    none: nn.Parameter
    vec_text: nn.Linear
    vec_image: nn.Linear
    seq_image: nn.Linear
    seq_text: nn.Linear
    norm: nn.LayerNorm
    def __init__(self, dim: int=768, vec_dim: int=1536, seq_dim: int=2048, tokens: int=4, *, eps: float=1e-05) -> None:
        """dim: of the embeddings
        vec_dim: of what is added to the time
        seq_dim: of a token
        tokens: made of the embedding
        """
        ...
    def forward(self, image: Tensor | None, text: Tensor, states: Tensor, mask: Tensor | None=None) -> Cond:
        """Add two projections for the time; lay tokens of the picture before those of the text.

        image: (b, dim) embeddings of pictures; None: of no picture
        text: (b, dim) vectors of texts
        states: (b, l, dim) of their tokens
        mask: (b, l) bool
        returns: vec (b, vec_dim), seq (b, tokens + l, seq_dim), and a mask if there is one
        """
        ...
