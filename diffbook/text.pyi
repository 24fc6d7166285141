# Written by tools/stubs.py from the module beside it.

from collections.abc import Iterable, Sequence
from pathlib import Path
from torch import Tensor
from .store.merges import CLIP_MERGES, clip_merges
from .store.words import AddedWord, Cutter
from typing import Any

__all__ = ['SPECIAL', 'END', 'LETTERS', 'clean', 'words', 'spell', 'merge_pair', 'train_merges', 'Tokenizer', 'clip_tokenizer', 'AddedWord', 'CLIP_MERGES', 'clip_merges']

_all_: list[Any]

def clean(text: str) -> str:
    """Normalise a text as CLIP's published tokenizer does: composed characters, single spaces, lower case."""
    ...

SPECIAL: tuple[Any, ...]

def words(text: str) -> list[str]:
    """Split a text into the words that merges never cross."""
    ...

END: str

_VISIBLE: list[Any]

LETTERS: Any

def spell(word: str) -> list[str]:
    """Write a word as its bytes in UTF-8, one visible letter each; the last one carries the end of the word."""
    ...

def merge_pair(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """Glue each occurrence of a pair, from left to right."""
    ...

def train_merges(texts: Iterable[str], n: int) -> tuple[str, ...]:
    """Learn byte-pair merges: again and again glue the most frequent pair (Sennrich et al. 2016).

    texts: what to learn from
    n: merges, at most: fewer when nothing is left to merge
    returns: each 'left right', in the order in which they were learned
    """
    ...

_MOST: Any

_NUMBER: Any

_BYTES: Any

class Tokenizer:
    """Turn texts into numbers by byte-pair encoding, numbered as CLIP's (Radford et al. 2021)."""
    pieces: list[Any]
    rules: dict[Any, Any]
    start: Any
    end: Any
    _words: Cutter
    context: Any
    _seen: dict[Any, Any]
    pad: Any
    def __init__(self, merges: Sequence[str], context: int=77, *, pad: int | None=None, added: Sequence[AddedWord]=...) -> None:
        """merges: each 'left right', in the order in which they were learned
        context: numbers a text is given
        pad: fills what is left over; None: the end token
        added: words with numbers of their own
        """
        ...
    @property
    def vocab_size(self) -> int:
        """returns: 256 bytes, 256 bytes that end a word, the merges, start and end, and what was added"""
        ...
    def _bytes(self) -> list[bytes]:
        """returns: of each token, to read them back"""
        ...
    def _learn(self, merges: Sequence[str]) -> None:
        """Number what the merges make; refuse one that the others do not lead to."""
        ...
    def _merge(self, word: str) -> list[int]:
        """Replay the merges in the order in which they were learned, looking only at pairs that are there."""
        ...
    def encode(self, text: str) -> list[int]:
        """Give the tokens of a text, without start and end."""
        ...
    def _encode_chunk(self, chunk: str) -> list[int]:
        """The tokens of what stands between two spaces, from memory if we can."""
        ...
    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Turn tokens back into text: what stands before the first end token, one space between words."""
        ...
    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """Turn texts into rows of tokens of one length; warn if a text does not fit.

        texts: one text or several
        returns: (b, context) int64: start, text, end, padding
        """
        ...
    def _cut(self, ids: list[list[int]], cut: list[int]) -> str:
        """Say what does not fit: of the first such text in full, of the others their number."""
        ...
    def mask(self, ids: Tensor) -> Tensor:
        """Say which tokens are the text: those up to and including the first end token.

        ids: (b, l) rows of tokens
        returns: (b, l) bool
        """
        ...
    def spread(self, text: str) -> str:
        """Write each added word that stands for several in full, as diffusers' pipelines do."""
        ...

_CACHED: Any

def clip_tokenizer(folder: str | Path, context: int=77) -> Tokenizer:
    """Read CLIP's published vocabulary; refuse a folder that numbers its pieces in another way, or adds words to them.

    folder: holds merges.txt, or OpenAI's bpe_simple_vocab_16e6.txt.gz
    context: numbers a text is given
    returns: padded as the folder says
    """
    ...
