"""Words with numbers of their own, cut out of a text before it falls into pieces, as the transformers library does."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from diffbook.core import register

__all__ = ['AddedWord', 'Cutter', 'in_full']

SPACE = re.compile('[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+')  # Unicode's White_Space
CIRCLED = re.compile('[\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189]')  # letters too


@register
@dataclass(frozen=True)
class AddedWord:
    "A text with a number of its own, cut out before any merge. The flags are those of the transformers library."

    text: str
    number: int
    normalized: bool = False  # found in the cleaned text, so in capitals too, and not in the text as it came
    single_word: bool = False  # only where no letter or digit touches it
    lstrip: bool = False  # the space before it goes with it
    rstrip: bool = False  # the space after it goes with it


class Cutter:
    "Find added words: first those of the text as it came, then, between them, those of the cleaned text."

    def __init__(
        self,
        pieces: list[str],  # of the vocabulary, by number; added words that are new are appended
        special: Sequence[AddedWord],  # words that the vocabulary has anyway
        added: Sequence[AddedWord],
        clean: Callable[[str], str],
    ):
        found, known = {word.number: word for word in special}, {piece: i for i, piece in enumerate(pieces)} if added else {}
        for word in sorted(added, key=lambda w: w.number):
            right = known.setdefault(word.text, len(pieces))
            if word.number != right or not word.text:
                raise ValueError(f'the added word {word.text!r} has number {word.number}, expected a text, and {right}')
            pieces += [word.text] * (right == len(pieces))
            found[word.number] = word
        self.clean = clean
        self.raw = {word.text: word for word in found.values() if not word.normalized}
        self.cleaned = {clean(word.text): word for word in found.values() if word.normalized}
        if len(self.raw) + len(self.cleaned) < len(found):
            raise ValueError('two added words are the same when they are cleaned, expected different ones')
        self.borders = tuple(map(_pattern, (self.raw, self.cleaned)))

    def cut(self, text: str) -> Iterator[str | int]:
        "Yield the numbers of added words and the cleaned texts between them, in order."
        for part in _cut(text, self.borders[0], self.raw):
            yield from _cut(self.clean(part), self.borders[1], self.cleaned) if isinstance(part, str) else (part,)


def _pattern(words: Collection[str]) -> re.Pattern | None:
    "A pattern of texts, of which the longest holds where several begin."
    texts = sorted(words, key=len, reverse=True)
    return re.compile('|'.join(map(re.escape, texts))) if texts else None


def _cut(text: str, border: re.Pattern | None, words: dict[str, AddedWord]) -> Iterator[str | int]:
    "Yield the numbers of added words, leftmost first, and the texts between them."
    at = 0
    for found in border.finditer(text) if border else ():
        word, (a, b) = words[found[0]], found.span()
        if word.single_word and (a and _of_a_word(text[a - 1]) or b < len(text) and _of_a_word(text[b])):
            continue
        while word.lstrip and a > at and SPACE.match(text[a - 1]):
            a -= 1
        b = space.end() if word.rstrip and (space := SPACE.match(text, b)) else b
        yield from (text[at:a],) if at < a else ()
        yield word.number
        at = b
    yield from (text[at:],) if at < len(text) else ()


def _of_a_word(c: str) -> bool:
    "Whether a character can stand in a word, as Unicode says: letters, marks, digits, joiners."
    return c.isalpha() or unicodedata.category(c) in ('Mn', 'Mc', 'Me', 'Nd', 'Nl', 'Pc') or c in '\u200c\u200d' or bool(CIRCLED.match(c))


def in_full(
    text: str,
    added: Sequence[AddedWord],
    number_of: Callable[[str], Collection[int]],  # the numbers of a text
) -> str:
    "Write each added word that stands for several, `<toy>`, `<toy>_1`, `<toy>_2`, in full, as diffusers' pipelines do."
    texts, found = {word.text for word in added}, set(number_of(text) if added else ())
    for word in added:
        i, whole = 1, word.text
        while f'{word.text}_{i}' in texts:
            i, whole = i + 1, f'{whole} {word.text}_{i}'
        text = text.replace(word.text, whole) if i > 1 and word.number in found else text
    return text
