"""Graders of the chapter on text."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from diffbook.exercise import add, question
from diffbook.text import END, merge_pair, spell, train_merges


def _word(g: torch.Generator, most: int) -> str:
    "A few letters of a small alphabet: repeats and overlaps are common."
    length = int(torch.randint(2, most + 1, (), generator=g))
    return ''.join('aab'[k] for k in torch.randint(3, (length,), generator=g).tolist())


def _coding(g: torch.Generator) -> tuple[str, tuple[str, ...]]:
    return _word(g, 14), train_merges([_word(g, 8) for _ in range(5)], 8)


def _places(pieces: list[str]) -> list[int]:
    "For each letter the number of its piece."
    return [i for i, piece in enumerate(pieces) for _ in piece.removesuffix(END)]


def _replay(word: str, merges: tuple[str, ...], glue: Callable = merge_pair) -> list[int]:
    pieces = spell(word)
    for merge in merges:
        pieces = glue(pieces, tuple(merge.split()))
    return _places(pieces)


def _leftmost(word: str, merges: tuple[str, ...]) -> list[int]:
    "Glue whatever pair comes first in the word."
    pieces, known = spell(word), {tuple(m.split()) for m in merges}
    while there := [i for i, pair in enumerate(pairwise(pieces)) if pair in known]:
        pieces[there[0] : there[0] + 2] = [pieces[there[0]] + pieces[there[0] + 1]]
    return _places(pieces)


def _longest(word: str, merges: tuple[str, ...]) -> list[int]:
    "Take the longest known piece from the left, again and again."
    known, rest, pieces = {m.replace(' ', '') for m in merges}, spell(word), []
    while rest:
        n = next((n for n in range(len(rest), 1, -1) if ''.join(rest[:n]) in known), 1)
        pieces.append(''.join(rest[:n]))
        rest = rest[n:]
    return _places(pieces)


def _unmarked(word: str, merges: tuple[str, ...]) -> list[int]:
    "As if no piece ended a word."
    pieces = list(word)
    for merge in merges:
        pieces = merge_pair(pieces, tuple(merge.split()))
    return _places(pieces)


def _once(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    i = next((i for i, p in enumerate(pairwise(pieces)) if p == pair), None)
    return pieces if i is None else [*pieces[:i], ''.join(pair), *pieces[i + 2 :]]


def _from_right(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for piece in reversed(pieces):
        if out and (piece, out[0]) == pair:
            out[0] = piece + out[0]
        else:
            out.insert(0, piece)
    return out


def _no_rest(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    "Overlapping pairs: a run of three is swallowed whole."
    out: list[str] = []
    for i, piece in enumerate(pieces):
        if i and (pieces[i - 1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


add(
    '40-1',
    'Say for each letter of a word which piece it belongs to.',
    cases=_coding,
    truth=_replay,
    mistakes={
        'You glued the leftmost pair first; the order of learning decides: merge 0 everywhere, then merge 1.': _leftmost,
        'You took the longest piece that fits; byte-pair encoding replays merges, and that gives other pieces.': _longest,
        'You replayed the merges backwards: the first learned comes first.': lambda word, merges: _replay(word, merges[::-1]),
        'The last letter carries </w>: without it no merge at the end of a word is found.': _unmarked,
        'Each merge glues every occurrence of its pair, not only the first.': lambda word, merges: _replay(word, merges, _once),
        'Glue from left to right: of three equal letters the first two make the pair.': lambda word, merges: _replay(word, merges, _from_right),
        'A letter that is glued is used up: aaa is aa and a, the pairs must not overlap.': lambda word, merges: _replay(word, merges, _no_rest),
    },
)


def _table(g: torch.Generator) -> tuple[dict[str, int]]:
    found = {_word(g, 7): int(torch.randint(1, 30, (), generator=g)) for _ in range(5)}
    return ({'aaa': 7, 'ab': 3} | found,)


def _glued(
    times: dict[str, int],
    spelling: Callable[[str], list[str]] = spell,
    weigh: Callable[[int], int] = lambda n: n,
    once: bool = False,
    size: Callable[[int], int] = lambda n: n,
) -> tuple[int, int]:
    count: Counter = Counter()
    for word, n in times.items():
        pairs = list(pairwise(spelling(word)))
        for pair in sorted(set(pairs)) if once else pairs:
            count[pair] += weigh(n)
    best = min(count, key=lambda pair: (-count[pair], pair))
    return count[best], sum(size(n) * len(merge_pair(spelling(word), best)) for word, n in times.items())


def _joined(times: dict[str, int]) -> tuple[int, int]:
    "Pairs across the borders of words."
    line = [piece for word, n in times.items() for _ in range(n) for piece in spell(word)]
    count = Counter(pairwise(line))
    best = min(count, key=lambda pair: (-count[pair], pair))
    return count[best], len(merge_pair(line, best))


def _subtracted(times: dict[str, int]) -> tuple[int, int]:
    count, _ = _glued(times)
    return count, sum(n * len(word) for word, n in times.items()) - count


add(
    '40-2',
    'Count the most frequent pair, and the tokens that are left after it is glued.',
    cases=_table,
    truth=_glued,
    mistakes={
        'You counted each word once: a word that occurs n times counts n times, in both numbers.': (
            lambda times: _glued(times, weigh=lambda n: 1, size=lambda n: 1)
        ),
        'You counted pairs in the list of words: weigh each with how often its word occurs.': lambda times: _glued(times, weigh=lambda n: 1),
        'The second number counts tokens of the text: weigh each word with how often it occurs.': lambda times: _glued(times, size=lambda n: 1),
        'A pair may stand in one word several times; count each.': lambda times: _glued(times, once=True),
        'The last letter of a word is another piece: spell it with </w>.': lambda times: _glued(times, list),
        'Pairs do not reach over the border of a word.': _joined,
        'N - n holds for a pair of different pieces; aaa counts a + a twice and can glue it once. Glue, then count.': _subtracted,
    },
)


def _rows(g: torch.Generator) -> tuple[Tensor, int]:
    "Texts of several lengths, padded with the end token, with 0, or with the number before it."
    end, ids = 50, torch.randint(1, 49, (6, 9), generator=g)
    for row, length in zip(ids, torch.randint(1, 9, (6,), generator=g).tolist()):
        row[length:] = (end, 0, end - 1)[int(torch.randint(3, (), generator=g))]
        row[length] = end
    return ids, end


add(
    '40-3',
    'Say which tokens are the text, up to and including the first end token.',
    cases=_rows,
    truth=lambda ids, end: (ids == end).long().cumsum(1) - (ids == end).long() == 0,
    mistakes={
        'The end token belongs to the text: the summary is read there. You also keep padding that is not the end token.': lambda ids, end: ids != end,
        'The first end token belongs to the text: the summary is read there.': lambda ids, end: (ids == end).long().cumsum(1) == 0,
        'That is right only where the padding is the end token; with another padding it keeps it all.': (lambda ids, end: (ids == end).long().cumsum(1) <= 1),
        'The padding need not be 0.': lambda ids, end: ids != 0,
        'Upside down: true is for the text, false for the padding.': lambda ids, end: (ids == end).long().cumsum(1) - (ids == end).long() > 0,
    },
)


def _shares(g: torch.Generator) -> tuple[Tensor, Tensor]:
    counts = torch.randint(1, 100, (7,), generator=g).double()
    return counts, (counts.sum() * (1.5 + torch.rand((), generator=g, dtype=torch.float64))).round()


def _entropy(counts: Tensor) -> Tensor:
    share = counts / counts.sum()
    return -(share * share.log2()).sum()


add(
    '40-4',
    'Give the bits per character.',
    cases=_shares,
    truth=lambda counts, characters: counts.sum() / characters * _entropy(counts),
    mistakes={
        'That is bits per token: multiply by tokens over characters.': lambda counts, characters: _entropy(counts),
        'A bit is a logarithm to base 2; you took the natural one.': (
            lambda counts, characters: counts.sum() / characters * _entropy(counts) * torch.log(counts.new_tensor(2.0))
        ),
        'Each piece costs what its share says, not the logarithm of the length of the list.': (
            lambda counts, characters: counts.sum() / characters * torch.log2(counts.new_tensor(float(len(counts))))
        ),
        'Upside down: tokens over characters.': lambda counts, characters: characters / counts.sum() * _entropy(counts),
        'The sign: a share is below one, its logarithm below zero.': lambda counts, characters: -counts.sum() / characters * _entropy(counts),
        'Weigh each piece with its share: frequent pieces are paid for often.': (lambda counts, characters: -(counts / counts.sum()).log2().sum() / characters),
        'That is all bits of the text: divide by its characters.': lambda counts, characters: counts.sum() * _entropy(counts),
    },
)


question(
    '40-a',
    'How many times as many attention scores three times the tokens make.',
    9,
    {
        3: 'That is the factor of the length. Each token is compared with each: it counts twice.',
        6: 'Not 2 times 3 but 3 times 3: all pairs of tokens.',
        27: 'Pairs, not triples.',
    },
)
question(
    '40-b',
    'Two prompts that the words of CLIP keep apart: a, b or c.',
    'c',
    {
        'a': 'The tokenizer turns all capitals into small letters.',
        'b': 'Each numeral is a word of its own, with or without a space between them.',
    },
)
question(
    '40-c',
    'The number of bytes of the words "café" and a strawberry.',
    9,
    {
        5: 'Those are the characters. The smallest pieces are bytes, and é and the strawberry have several.',
        8: 'é is not ASCII: it takes two bytes.',
        6: 'The strawberry takes four bytes, as the printed list shows.',
        10: 'The space between the words is not a piece.',
    },
)
question(
    '40-d',
    'By how many tokens the first merge shortens low x 5, lower x 2, newest x 6, widest x 3.',
    9,
    {
        7: 'That is l + o (and "low" ends in another piece than "lower"). Is there a pair that more words hold?',
        8: 'That is w + e. Look at what "newest" and "widest" have in common.',
        6: 'A pair counts wherever it stands: "newest" and "widest" share two pairs.',
        18: 'Each glued pair saves one token: two become one.',
    },
)
question(
    '40-e',
    'The number of pieces of "abcbcd" under b + c, a + b, bc + d</w>.',
    3,
    {
        4: 'You stopped too early: after b + c the last rule, bc + d</w>, finds its pair at the end of the word.',
        6: 'Those are the letters. Apply the first rule, b + c, everywhere.',
        2: 'a + bc is not among the rules; only listed pairs are glued.',
        5: 'Rules are applied everywhere and in the order learned: b + c first, and it stands there twice.',
    },
)
question(
    '40-f',
    'How many of 100 tokens a row of 77 holds.',
    75,
    {
        77: 'Two places are taken: start and end.',
        76: 'There is an end token as well as a start token.',
        100: 'A row has 77 places. What does not fit is cut off.',
        25: 'That is what is dropped.',
    },
    rtol=0.001,
)
question(
    '40-g',
    'What masking the padding of Stable Diffusion does: a, b or c.',
    'b',
    {
        'a': 'Look at the bars of the padding places: their states change with the colour, so they carry something.',
        'c': 'The shapes fit, so nothing complains.',
    },
)
question(
    '40-h',
    'The share of 143 tokens that CLIP reads.',
    75 / 143,
    {
        77 / 143: 'Start and end take two of the 77 places.',
        13 / 143: 'That compares the two languages. How many of the 143 fit?',
        1.0: 'Only 75 tokens fit; the rest is dropped.',
        68 / 143: 'That is the share that is dropped.',
    },
    rtol=0.01,
)
