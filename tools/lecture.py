"""Slides and a plan of two hours for a chapter, made from its notebook.

    python -m tools.lecture 10 13 14 30 41 43 --out _lectures     # NN_name_slides.qmd, NN_name_plan.md and pictures
    quarto render _lectures/10_gaussian_slides.qmd                # the slides, as one page of HTML

A section of the first reading becomes a few slides: its first sentence, each numbered equation with the error that was
measured, each figure with the first sentence of its caption, and its question, whose answer comes with the next click. All
its prose stands in the speaker's notes. The plan shares two hours, a break and the exercises included, among the sections
in proportion to the minutes that they take to read, and lists what may be skipped and what to give as homework.
"""

import argparse
import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tools.book import COMMENT, DISPLAY, FENCE, FOLD, TURN, Book, Cell, Chapter, minutes
from tools.pages import RESULT, TRIED

ROOT = Path(__file__).resolve().parents[1]
TALK, BREAK, WORK = 90, 10, 20  # minutes of the two hours
SOLUTION = re.compile(r'<summary>\s*Solution\s+(\d\d-[a-z]).*?</summary>(.*?)</details>', re.S)


@dataclass
class Section:
    "What one section of a chapter gives to a lecture."

    title: str
    minutes: float
    lead: str = ''
    equations: list[tuple[str, str]] = field(default_factory=list)  # (id, formula)
    figures: list[tuple[str, str, bytes]] = field(default_factory=list)  # (label, caption, png)
    questions: list[tuple[str, str, str]] = field(default_factory=list)  # (id, question, answer)
    notes: str = ''


def sentence(text: str) -> str:
    "The first sentence of a text, on one line."
    return re.split(r'(?<=[.!?])\s', ' '.join(text.split()), maxsplit=1)[0]


def plain(text: str) -> str:
    "Prose alone: no code, folds, displayed formulas, marks or references."
    text = COMMENT.sub('', DISPLAY.sub('', FENCE.sub('', FOLD.sub('', text))))
    text = re.sub(r'\s*\(?@(?:eq|fig|sec)-[\w-]+\)?|\s*\[-?@[^\]]*\]', '', text)
    return re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', text).strip()


def pictures(cell: Cell) -> list[bytes]:
    "The pictures that a cell has drawn."
    found = [o.get('data', {}).get('image/png') for o in cell.outputs]
    return [base64.b64decode(''.join(p)) for p in found if p]


def sections(chapter: Chapter, second: bool = False) -> list[Section]:
    "The sections of the first reading, or of both, in their order; what stands before the first heading is the opening."
    made = []
    for heading, cells in [part for parts in (chapter.readings if second else chapter.readings[:1]) for part in parts]:
        prose = '\n\n'.join(c.source for c in cells if c.kind == 'markdown' and c.id not in ('title', 'box'))
        prose = re.sub(r'^(##? .*|> .*)$', '', prose, flags=re.M)
        part = Section(heading or 'Where we are going', minutes([(heading, cells)]))
        asked, rest = TURN.search(prose), FOLD.sub('', prose)
        part.equations = [(m[3], m[1].strip()) for m in DISPLAY.finditer(FENCE.sub('', rest)) if m[3]]
        part.figures = [(c.option('label'), c.option('fig-cap') or '', png) for c in cells if c.kind == 'code' for png in pictures(c)]
        answers = dict(SOLUTION.findall(prose))
        for m in TURN.finditer(prose):
            question = re.split(r'^```|<details>', prose[m.end() :], maxsplit=1, flags=re.M)[0]
            part.questions.append((m[1], COMMENT.sub('', question).strip(), plain(answers.get(m[1], ''))))
        part.notes = plain(prose[: asked.start()] if asked else prose)
        part.lead = sentence(part.notes)
        made.append(part)
    return [p for p in made if p.notes or p.equations or p.figures]


def slides(chapter: Chapter, parts: list[Section], folder: str, solutions: bool = True) -> str:
    "The slides of a chapter, for Quarto's revealjs; pictures lie in `folder`."
    text = '\n'.join(c.text for c in chapter.code)
    errors = {id: f'largest error {said}' for id, said in RESULT.findall(text)} | dict(TRIED.findall(text))
    title, line = re.match(r'# (.*)\n\n?> (.*)', chapter.cells[0].source).groups()
    head = {
        'title': title,
        'subtitle': plain(line),
        'format': {'revealjs': {'slide-number': True, 'embed-resources': True, 'theme': 'simple', 'html-math-method': 'katex'}},
    }
    out = [f'---\n{yaml.dump(head, allow_unicode=True)}---']
    for part in parts:
        notes = f'::: {{.notes}}\n{part.notes}\n:::' if part.notes else ''
        out.append(f'# {part.title}\n\n{part.lead}\n\n{notes}')
        for id, tex in part.equations:
            said = f'\n\n::: {{.aside}}\n{id}: {errors[id]}\n:::' if id in errors else ''
            out.append(f'## \n\n$$\n{tex}\n$$' + said)
        for label, caption, _ in part.figures:
            out.append(f'## \n\n![{sentence(caption)}]({folder}/{label}.png){{width=90%}}')
        for id, question, answer in part.questions:
            shown = f'\n\n::: {{.fragment}}\n{answer}\n:::' if solutions and answer else ''
            out.append(f'## Your turn ({id})\n\n{question}' + shown)
    out.append('# Summary\n\n' + plain(chapter.section('Summary') or ''))
    return '\n\n'.join(out) + '\n'


def share(total: int, weights: list[float]) -> list[int]:
    "Whole minutes in proportion to the weights, at least one each, whose sum is the total."
    exact = [total * w / sum(weights) for w in weights]
    whole = [max(1, int(e)) for e in exact]
    order = sorted(range(len(exact)), key=lambda k: whole[k] - exact[k])
    for k in range(total - sum(whole)):
        whole[order[k % len(order)]] += 1
    while sum(whole) > total:
        whole[max(range(len(whole)), key=whole.__getitem__)] -= 1
    return whole


def clock(minute: int) -> str:
    return f'{minute // 60}:{minute % 60:02d}'


def plan(chapter: Chapter, parts: list[Section]) -> str:
    "A plan of two hours: when which section, what to show, what to ask; a break in the middle, and work at the end."
    title, now, rows, rested = chapter.cells[0].source.split('\n')[0][2:], 0, [], False
    for part, length in zip(parts, share(TALK, [max(p.minutes, 0.5) for p in parts])):
        if now + length > TALK / 2 and not rested and now:
            rows.append(f'| {clock(now)} | {BREAK} | **break** | | |')
            now, rested = now + BREAK, True
        shown = ', '.join([id for id, _ in part.equations] + [label for label, _, _ in part.figures])
        asked = '; '.join(f'{id}: {" ".join(q.split())}' for id, q, _ in part.questions)
        rows.append(f'| {clock(now)} | {length} | {part.title} | {shown} | {asked} |')
        now += length
    asks = {id: ' '.join(ask.split()) for id, ask in re.findall(rf'^\*\*({chapter.number}-\d+)\.?\*\*\.?(.*)$', chapter.section('Exercises') or '', re.M)}
    rows.append(f'| {clock(now)} | {BREAK + TALK + WORK - now} | exercises, in pairs | {", ".join(list(asks)[:2])} | |')
    later = [p[0].replace(' (second reading)', '') for p in chapter.readings[1]]
    box = re.findall(r'\*\*(You need)\*\*(.*)', chapter.box.source) if chapter.box else []
    lines = [
        f'# Two hours: {title}',
        '',
        *(f'Before it, students need{text.rstrip(".")}.' for _, text in box),
        '',
        '| at | minutes | what | show | ask |',
        '|---|---|---|---|---|',
        *rows,
        '',
    ]
    lines += [f'Left out, for a second lecture: {"; ".join(later)}.', ''] if later else []
    lines += ['Homework:', '', *(f'- **{id}** {plain(ask)}' for id, ask in asks.items()), '']
    return '\n'.join([*lines, f'Mark it with `diffbook grade HANDED_IN.ipynb --exercises {",".join(asks)} --seed 7`.', ''])


def write(chapter: Chapter, out: Path, second: bool = False, solutions: bool = True) -> list[Path]:
    "Write slides, plan and pictures of a chapter; the files."
    from diffbook.store.files import write_whole

    parts, stem = sections(chapter, second), chapter.path.stem
    folder = out / f'{stem}_pictures'
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for label, _, png in part.figures:
            write_whole(folder / f'{label}.png', png)
    files = {out / f'{stem}_slides.qmd': slides(chapter, parts, folder.name, solutions), out / f'{stem}_plan.md': plan(chapter, parts)}
    for path, text in files.items():
        write_whole(path, text.encode())
    return list(files)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('chapters', type=int, nargs='+', metavar='NN', help='numbers of chapters')
    parser.add_argument('--out', type=Path, default=Path('_lectures'))
    parser.add_argument('--second', action='store_true', help='the second reading as well')
    parser.add_argument('--no-solutions', action='store_true', help='questions without their answers')
    a = parser.parse_args(words)
    book = {ch.number: ch for ch in Book(ROOT / 'nbs').chapters}
    if unknown := [n for n in a.chapters if n not in book]:
        parser.error(f'there is no chapter {unknown[0]}, expected some of {", ".join(f"{n:02d}" for n in sorted(book))}')
    for n in a.chapters:
        print(*write(book[n], a.out, a.second, not a.no_solutions), sep='\n')


if __name__ == '__main__':
    main()
