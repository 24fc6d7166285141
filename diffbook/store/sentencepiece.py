"""SentencePiece's files, read as a stranger's: the model in protobuf, and within it the table that normalises texts.

A model is a list of messages, each a field number, a kind and a value; the few fields that a unigram tokenizer needs are read,
and every length is held against the bytes that are there. The table is a trie in two arrays (Aoe 1989), as darts-clone packs it.
"""

import functools
import math
import struct
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ['Charsmap', 'SentencePieces', 'clusters', 'parse_fields', 'read_sentencepieces']

MOST_BYTES = 1 << 25
MOST_PIECES = 1 << 20
KINDS = {1: 'normal', 2: 'unknown', 3: 'control', 4: 'user-defined', 5: 'unused', 6: 'byte'}


class SentencePieces(NamedTuple):
    "What a model says: pieces by number, the log probability of each, which one stands for what is unknown, and the table."

    pieces: list[str]
    scores: list[float]
    unknown: int
    charsmap: bytes


def parse_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    "Yield number and value of each field of a protobuf message: whole numbers, or the bytes of everything else."
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = {1: 8, 5: 4}[kind]
        else:
            raise ValueError(f'field {number} is of kind {kind}, expected 0, 1, 2 or 5')
        if length > len(data) - at:
            raise ValueError(f'field {number} is {length:,} bytes long, and {len(data) - at:,} are left')
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    "A number in groups of seven bits, the lowest first, and where it ends."
    value = 0
    for k in range(10):
        if at + k >= len(data):
            raise ValueError('the file ends within a number')
        value |= (data[at + k] & 0x7F) << 7 * k
        if data[at + k] < 0x80:
            return value, at + k + 1
    raise ValueError('a number is longer than ten bytes')


def read_sentencepieces(file: str | Path) -> SentencePieces:
    "Read a unigram model of SentencePiece, usually `spiece.model`; a ValueError names what is wrong, or what is not followed."
    file = Path(file)
    with file.open('rb') as source:
        data = source.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f'{file} has more than {MOST_BYTES:,} bytes')
    try:
        return _model(data)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f'{file} could not be read as a model of SentencePiece: {error}') from error


def _model(data: bytes) -> SentencePieces:
    found: list[tuple[str, float, int]] = []
    said: dict[int, dict[int, int | bytes]] = {2: {}, 3: {}}  # how it was trained, how it normalises
    for number, value in parse_fields(data):
        if number == 1:
            found.append(_piece(_message(value, 'a piece')))
        elif number in said:
            said[number] |= dict(parse_fields(_message(value, f'field {number}')))
        if len(found) > MOST_PIECES:
            raise ValueError(f'there are more than {MOST_PIECES:,} pieces')
    if (kind := said[2].get(3, 1)) != 1:
        raise ValueError(f'model_type is {kind}, expected 1, unigram; 2 is byte-pair encoding, 3 words, 4 characters')
    for number, name in ((24, 'treat_whitespace_as_suffix'), (35, 'byte_fallback')):
        if said[2].get(number, 0):
            raise ValueError(f'{name} is true, expected false')
    for number, name in ((3, 'add_dummy_prefix'), (4, 'remove_extra_whitespaces'), (5, 'escape_whitespaces')):
        if not said[3].get(number, 1):
            raise ValueError(f'{name} is false, expected true')
    unknown = [i for i, (_, _, kind) in enumerate(found) if kind == 2]
    if len(unknown) != 1:
        raise ValueError(f'{len(unknown)} pieces stand for what is unknown, expected one')
    return SentencePieces([text for text, _, _ in found], [score for _, score, _ in found], unknown[0], _message(said[3].get(2, b''), 'precompiled_charsmap'))


def _message(value: int | bytes, name: str) -> bytes:
    if isinstance(value, int):
        raise ValueError(f'{name} is a number, expected bytes')
    return value


def _piece(data: bytes) -> tuple[str, float, int]:
    "Text, score and kind of a piece."
    said = {1: b'', 2: b'\0\0\0\0', 3: 1} | dict(parse_fields(data))
    text, score, kind = _message(said[1], 'the text of a piece').decode(), said[2], said[3]
    if not text or isinstance(score, int) or len(score) != 4 or not math.isfinite(struct.unpack('<f', score)[0]):
        raise ValueError(f'piece {text!r} has the score {score!r}, expected a text and a finite number of four bytes')
    if kind not in (1, 2, 3):
        raise ValueError(f'piece {text!r} is {KINDS.get(kind, kind)}, expected normal, unknown or control')
    return text, struct.unpack('<f', score)[0], kind


# Normalisation


class Charsmap:
    """Replace characters by a table, as the tokenizers library does.

    A text falls into clusters, what a reader sees as one character. A cluster of fewer than six bytes is looked up whole, and
    the *shortest* beginning of it that the table knows replaces all of it; else each of its characters is looked up by itself.
    """

    def __init__(self, data: bytes):
        if len(data) < 8:
            raise ValueError(f'the table of characters has {len(data)} bytes, expected at least 8')
        (size,) = struct.unpack_from('<I', data)
        if size % 4 or not 4 <= size <= len(data) - 4:
            raise ValueError(f'the table of characters says that it is {size:,} bytes long, of {len(data) - 4:,}, expected a multiple of 4')
        self.units = struct.unpack_from(f'<{size // 4}I', data, 4)
        self.texts = data[4 + size :]
        self._known = functools.lru_cache(1 << 14)(self._replace)

    def __call__(self, text: str) -> str:
        "Normalise a text."
        return ''.join(map(self._known, clusters(text)))

    def _replace(self, cluster: str) -> str:
        if len(cluster.encode('utf-8', 'surrogatepass')) < 6 and (found := self.look_up(cluster)) is not None:
            return found
        return ''.join(c if (found := self.look_up(c)) is None else found for c in cluster)

    def look_up(self, text: str) -> str | None:
        "What stands for the shortest beginning of a text that the table knows."
        at = _offset(self.units[0])
        for byte in text.encode('utf-8', 'surrogatepass'):
            unit = self._unit(at ^ byte)
            if not byte or unit & 0x800000FF != byte:
                return None
            at ^= byte ^ _offset(unit)
            if unit >> 8 & 1:
                start = self._unit(at) & 0x7FFFFFFF
                end = self.texts.find(b'\0', start)
                if start > len(self.texts):
                    raise ValueError(f'the table of characters points at byte {start:,} of {len(self.texts):,}')
                return self.texts[start : end if end >= 0 else None].decode()
        return None

    def _unit(self, at: int) -> int:
        if at >= len(self.units):
            raise ValueError(f'the table of characters points at row {at:,} of {len(self.units):,}')
        return self.units[at]


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)


JOINERS = '\u200c\u200d\uff9e\uff9f\u0e33\u0eb3' + ''.join(map(chr, range(0xE0020, 0xE0080)))  # they belong to the character before, and are no marks
ALONE = '\u102b\u102c\u1038\u1083\u108f\u1a61\u1a63\u1a64\uaa7b\uaa7d\U00011720\U00011721' + ''.join(
    map(chr, [*range(0x1062, 0x1065), *range(0x1067, 0x106E), *range(0x1087, 0x108D), *range(0x109A, 0x109D)])
)  # marks that belong to nobody
APART = ('Cc', 'Cf', 'Zl', 'Zp')  # nothing belongs to these
BEGINNERS = '\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd'  # the next character belongs to them


def clusters(text: str) -> Iterator[str]:
    "Cut a text into what a reader sees as one character, by the rules of Unicode (annex 29) that can matter to short ones."
    start = 0
    for i in range(1, len(text)):
        before, c = text[i - 1], text[i]
        if not (before == '\r' and c == '\n' or _belongs(c) and not _is_apart(before) or before in BEGINNERS and not _is_apart(c)):
            yield text[start:i]
            start = i
    if text:
        yield text[start:]


@functools.lru_cache(1 << 14)
def _belongs(c: str) -> bool:
    return c >= '\u0300' and (unicodedata.category(c) in ('Mn', 'Me', 'Mc') and c not in ALONE or c in JOINERS)


@functools.lru_cache(1 << 14)
def _is_apart(c: str) -> bool:
    return unicodedata.category(c) in APART and c not in JOINERS and c not in BEGINNERS
