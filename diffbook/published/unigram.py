"""The tokenizer of T5: normalise, split at spaces, cut each word into its most probable pieces; called as the book's own `Tokenizer` is."""

import base64
import math
import re
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..core import register, whole
from ..nets.t5 import best_cut
from ..store.sentencepiece import Charsmap
from ..store.words import SPACE, AddedWord, Cutter, in_full

MARK = '\u2581'  # stands where a word begins: a low line, so that spaces can be seen


@register
class Unigram:
    "Turn texts into numbers by the most probable cut into pieces, numbered as T5's (Kudo and Richardson 2018)."

    def __init__(
        self,
        pieces: Sequence[str],  # by number
        scores: Sequence[float],  # log probability of each
        context: int = 512,  # numbers a text is given
        *,
        unknown: int = 2,
        end: int = 1,
        pad: int = 0,  # what stands for strange characters, ends a text, fills up what is left
        charsmap: str = '',  # table that normalises characters, in base 64; none: they stay as they are
        added: Sequence[AddedWord] = (),  # words that are cut out before
    ):
        self.pieces, self.score = list(pieces), {piece: float(score) for piece, score in zip(pieces, scores)}
        _check_pieces(self.pieces, scores, self.score)
        self.context, (self.unknown, self.end, self.pad) = (
            whole('context', context, 2, 1 << 16),
            (whole('a number', n, 0, len(pieces) - 1) for n in (unknown, end, pad)),
        )
        self.clean = Charsmap(base64.b64decode(charsmap)) if charsmap else str
        self._words = Cutter(self.pieces, (), added, self.clean)
        self._number, self._seen = {piece: i for i, piece in enumerate(self.pieces)}, {}
        self._strange, self._longest = min(self.score.values()) - 10.0, max(map(len, pieces))  # ten nats below the rarest piece, as SentencePiece has it

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def words(self, text: str) -> list[str]:
        "Split a normalised text at its spaces; each word begins with the mark."
        parts = [part if part.startswith(MARK) else MARK + part for part in SPACE.split(text) if part]
        return [word for part in parts for word in re.findall(f'{MARK}[^{MARK}]*', part)]

    def encode(self, text: str) -> list[int]:
        "Give the tokens of a text, without the end."
        if not isinstance(text, str):
            raise ValueError(f'the text is {text!r}, of type {type(text).__name__}, expected str')
        ids: list[int] = []
        for part in self._words.cut(text):
            ids += [i for word in self.words(part) for i in self._encode_word(word)] if isinstance(part, str) else [part]
        return ids

    def _encode_word(self, word: str) -> list[int]:
        "The tokens of a word, from memory if we can; strange characters in a row are one token."
        if word not in self._seen:
            ids = [self._number.get(piece, self.unknown) for piece in best_cut(word, self.score, self._strange, self._longest)]
            found = [i for k, i in enumerate(ids) if not (k and i == ids[k - 1] == self.unknown)]
            if len(self._seen) >= 1 << 16 or len(word) > 64:
                return found
            self._seen[word] = found
        return self._seen[word]

    def __call__(
        self,
        texts: str | Sequence[str],  # one text or several
    ) -> Tensor:  # (b, context) int64: text, end, padding
        "Turn texts into rows of tokens of one length; warn if a text does not fit."
        texts, room = [texts] if isinstance(texts, str) else list(texts), self.context - 1
        if not texts:
            raise ValueError('there are no texts, expected at least one')
        ids = [self.encode(text) for text in texts]
        if cut := [i for i, line in enumerate(ids) if len(line) > room]:
            warnings.warn(
                f'{len(cut)} of {len(ids)} texts are too long; text {cut[0]} has {len(ids[cut[0]]):,} tokens and {room} fit, the others are dropped',
                stacklevel=2,
            )
        rows = [[*line[:room], self.end] for line in ids]
        return torch.tensor([line + [self.pad] * (self.context - len(line)) for line in rows])

    def mask(self, ids: Tensor) -> Tensor:  # (b, l) -> (b, l) bool
        "Say which tokens are the text: those up to and including the last end token; a text may hold one itself."
        return (ids == self.end).flip(1).cummax(1).values.flip(1)

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        "Turn tokens back into text: what stands before the first end token."
        numbers = torch.as_tensor(ids).reshape(-1).tolist()
        if strange := [i for i in numbers if isinstance(i, float) or not 0 <= i < self.vocab_size]:
            raise ValueError(f'token {strange[0]!r} is not one of the {self.vocab_size} of the vocabulary')
        kept = numbers[: numbers.index(self.end)] if self.end in numbers else numbers
        return ''.join(self.pieces[i] for i in kept if i != self.pad).replace(MARK, ' ').strip(' ')

    def spread(self, text: str) -> str:
        "Write each added word that stands for several in full, as diffusers' pipelines do."
        return in_full(text, self.arguments['added'], self.encode)


def _check_pieces(pieces: Sequence[str], scores: Sequence[float], score: Mapping[str, float]) -> None:
    if not pieces or len(pieces) != len(scores) or len(score) != len(pieces):
        raise ValueError(f'there are {len(pieces)} pieces, {len(score)} of them different, and {len(scores)} scores, expected as many of each')
    if strange := [piece for piece in pieces if not piece or not math.isfinite(score[piece])]:
        raise ValueError(f'the score of {strange[0]!r} is {score[strange[0]]}, expected a text and a finite number')
