# Written by tools/stubs.py from the module beside it.

from collections.abc import Mapping
from torch import Tensor, nn
from typing import Any

__all__ = ['best_cut', 'bucket', 'RelativeBias', 'Block', 'T5']

def best_cut(text: str, score: Mapping[str, float], unknown: float, longest: int | None=None) -> list[str]:
    """Cut a text into the pieces whose log probabilities add up to most (Viterbi 1967; Kudo 2018; eq-t5-best).

    text: without spaces
    score: log probability of each piece
    unknown: that of a character which is no piece
    longest: letters of the longest piece, if known
    """
    ...

def bucket(offset: Tensor, buckets: int=32, far: int=128) -> Tensor:
    """Number each distance: small ones each by itself, large ones in steps that grow (Raffel et al. 2020, section 2.1; eq-t5-bucket).

    offset: whole numbers: how far to the right the token stands that is read
    buckets: half of them for each direction
    far: from here on all distances are one
    returns: int64
    """
    ...

class RelativeBias(nn.Module):
    """Add to the score of two tokens a number for their distance, one in each head (eq-t5-bias)."""
    buckets: int
    far: int
    table: nn.Embedding
    def __init__(self, heads: int, buckets: int, far: int) -> None: ...
    def forward(self, n: int) -> Tensor:
        """returns: (heads, n, n): for a token that asks, a row; for one that answers, a column"""
        ...

class Block(nn.Module):
    """Add to the tokens what attention and a small network make of them: no biases, no means, no scale."""
    heads: int
    norm1: nn.RMSNorm
    norm2: nn.RMSNorm
    q: Any
    k: Any
    v: Any
    o: nn.Linear
    gate: Any
    widen: nn.Linear
    narrow: nn.Linear
    def __init__(self, width: int, heads: int, head_dim: int, hidden: int, gated: bool, eps: float) -> None: ...
    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """returns: (b, n, d), (b or 1, heads, n, n) -> (b, n, d)"""
        ...

class T5(nn.Module):
    """Read tokens in both directions: a state for each. The encoder of Raffel et al. 2020; by default T5 1.1 of size XXL."""
    width: int
    embed: nn.Embedding
    bias: RelativeBias
    blocks: nn.ModuleList
    norm: nn.RMSNorm
    def __init__(self, vocab_size: int=32128, width: int=4096, layers: int=24, heads: int=64, *, head_dim: int=64, hidden: int=10240, gated: bool=True, buckets: int=32, far: int=128, eps: float=1e-06) -> None:
        """vocab_size: tokens there are, filled up to a multiple of 128
        head_dim: of each head; heads need not share the width
        hidden: width of the small network
        gated: one half opens the other by GELU, as in 1.1; False: ReLU, as in 1.0
        eps: of every norm
        """
        ...
    def _begin(self, width: int, inner: int, head_dim: int, hidden: int) -> None:
        """Draw first weights: the scale that the scores lack is in those of the queries (released code of Raffel et al.)."""
        ...
    def forward(self, tokens: Tensor, mask: Tensor | None=None) -> Tensor:
        """tokens: (b, l) int64
        mask: (b, l) bool, True where a token may be read; None: all, the padding too
        returns: states (b, l, width)
        """
        ...
    def _refuse(self, tokens: Tensor, mask: Tensor | None) -> None: ...
