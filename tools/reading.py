"""Count how long the chapters take to read.

    python -m tools.reading                 # every taught chapter: first reading, second reading, folds
    python -m tools.reading --path first    # the first path: its chapters and their sum
    python -m tools.reading 10 30           # two chapters, section by section

180 words a minute, 4/3 minutes an equation, 5.6 seconds a line of code in sight: close to the least squares fit to the
minutes that a reader noted for fourteen chapters of an earlier form (NOTED), which it misses by 3.2 minutes in the mean.
Folds, boxes, summaries, exercises and sources are not counted; the words in folds are shown.
"""

import argparse
from pathlib import Path

from tools.book import FOLD, Book, minutes, words_of

FIRST = [8, 9, 10, 11, 12, 13, 20, 21, 22, 23, 24, 30, 31, 32]  # the first path
MOST = 300  # minutes
NOTED = [  # words, equations, lines of code, and the minutes that a reader noted; where he gave a range, its middle
    (1192, 0, 326, 35), (2264, 17, 227, 55), (2005, 14, 234, 50), (2493, 13, 500, 77.5), (2015, 13, 359, 60), (2049, 11, 274, 60), (1774, 7, 191, 37.5),
    (2030, 10, 302, 50), (2155, 9, 307, 47.5), (2038, 3, 466, 55), (2495, 8, 563, 85), (2412, 11, 379, 60), (1993, 5, 287, 45), (1724, 2, 87, 25),
]  # fmt: skip


def folded(chapter):
    "Words in the folds of the first reading, solutions of questions among them."
    text = '\n\n'.join(c.source for _, cells in chapter.readings[0] for c in cells if c.kind == 'markdown')
    return sum(words_of(f.replace('<details>', '').replace('</details>', '')) for f in FOLD.findall(text))


def first_path(book):
    "(chapter, minutes of its first reading) of the first path, in order."
    return [(ch, minutes(ch.readings[0])) for ch in book.chapters if ch.number in FIRST]


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('chapters', nargs='*', type=int, help='numbers, shown section by section')
    parser.add_argument('--path', choices=['first'], help='only the chapters of the first path')
    args = parser.parse_args(words)
    book = Book(Path(__file__).resolve().parent.parent / 'nbs')
    if args.chapters:
        for ch in book.chapters:
            if ch.number in args.chapters:
                for which, parts in zip(('first', 'second'), ch.readings):
                    for part in parts:
                        print(f'{ch.number} {which:6} {minutes([part]):5.1f} min  {part[0] or "(opening)"}')
        return
    total = 0
    for ch in book.chapters:
        if (ch.number in FIRST) if args.path else ch.taught:
            first, second = map(minutes, ch.readings)
            total += first
            print(f'{ch.name[:-6]:22} first {first:5.1f} min, second {second:5.1f} min, {folded(ch):5} words in folds')
    print(f'{"together":22} first {total:5.1f} min' + (f' of at most {MOST}' if args.path else ''))


if __name__ == '__main__':
    main()
