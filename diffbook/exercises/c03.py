"""Graders of the chapter on data."""

import torch

from diffbook.data import CELLS, COLOURS, SHAPES, SIZES, WORDS
from diffbook.exercise import add

TABLES = ([w for pair in WORDS.values() for w in pair], list(COLOURS), list(SHAPES))


def _caption(g):
    "One object, sometimes without its size or colour, in words that may stand elsewhere in the sentence too."
    size, colour, shape, cell, silent = (int(torch.randint(k, (1,), generator=g)) for k in (4, 8, 6, 9, 6))
    words = [TABLES[0][size], TABLES[1][colour], TABLES[2][shape]]
    words = [w for k, w in enumerate(words) if k != silent]
    return (f'a {" ".join(words)} at the {CELLS[cell]}',)


def _find(text, tables=TABLES, words=str.split):
    "Position of the first word of each table that is in the text, or -1."
    found = words(text)
    size, colour, shape = (next((k for k, w in enumerate(t) if w in found), -1) for t in tables)
    return size, colour, shape


def _truth(text):
    size, colour, shape = _find(text)
    return (size // 2 if size >= 0 else -1), colour, shape


def _first_word(text):
    return _find(text, (list(SIZES), *TABLES[1:]))


add(
    '03-1',
    'Give size, colour and shape (positions, -1 if not said) of the object that a caption names.',
    cases=_caption,
    truth=_truth,
    mistakes={
        'little is small and large is big: look at all the words of WORDS.': _first_word,
        'WORDS lists two words a size; the position among all four is not the position of the size.': _find,
        'What is not said is -1, not 0.': lambda text: tuple(max(v, 0) for v in _truth(text)),
        'The order is size, colour, shape.': lambda text: _truth(text)[::-1],
    },
)
