"""Graders of the chapter on recognising shapes."""

import torch

from diffbook.shapes import CELLS, COLOURS, SHAPES, SIZES, WORDS
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
    '06-1',
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


def _relation(a, b):
    right, down = b % 3 - a % 3, b // 3 - a // 3
    if abs(right) == abs(down):
        return -1
    if abs(right) > abs(down):
        return 0 if right > 0 else 1
    return 2 if down > 0 else 3


def _cells(g):
    a, b = torch.randperm(9, generator=g)[:2].tolist()
    return a, b


def _rows_first(a, b):
    if a // 3 != b // 3:
        return 2 if a < b else 3
    return 0 if a < b else 1


add(
    '06-2',
    'Say how cell a stands to cell b: 0 left, 1 right, 2 above, 3 below, -1 at a diagonal.',
    cases=_cells,
    truth=_relation,
    edges=tuple((a, b) for a in range(9) for b in range(9) if a != b),
    mistakes={
        'You answered how b stands to a; the question is how a stands to b.': lambda a, b: _relation(b, a),
        'Rows are counted from the top, so a smaller row is above.': lambda a, b: {2: 3, 3: 2}.get(_relation(a, b), _relation(a, b)),
        'At a diagonal, as many cells down as across, the judge grants no relation: -1.': lambda a, b: _relation(a, b) if _relation(a, b) >= 0 else (0 if a % 3 < b % 3 else 1),
        'Left means more to the left than up or down: the larger difference decides, not whether the rows differ.': _rows_first,
        'The quotient of a cell by 3 is its row, the rest its column; you have exchanged them.': lambda a, b: {0: 2, 1: 3, 2: 0, 3: 1}.get(_relation(a, b), -1),
    },
)
