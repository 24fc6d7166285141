"""Slides, a plan and a handout for a lecture on a chapter, made from its notebook.

    python -m tools.lecture 14                                # _lectures/14_elbo_slides.html and 14_elbo_plan.md
    python -m tools.lecture 14 --blocks 90 --add sign         # ninety minutes without a break; one section of the second reading as well
    python -m tools.lecture 14 --handout                      # 14_elbo_handout.ipynb: the chapter without its solutions, a cell for each answer
    python -m tools.lecture 14 --to qmd                       # slides for Quarto's revealjs in place of the page

The slides are one page of HTML that needs a browser and no net: arrows or a click go on, N shows the notes. They keep the
order of the chapter. On a slide stand the first sentence of a section, every sentence with a word in bold, every displayed
formula with its number, each figure with its caption, each derivation step by step, what a cell prints, and the question at
the end, whose answer comes with the next click. All the prose stands in the notes.

The plan shares the minutes among the sections: twice the time to read them, as with pen and paper, their derivations and
two minutes a question. What does not fit is named: first derivations, then sections.
"""

import argparse
import base64
import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tools.book import COMMENT, DISPLAY, FENCE, FOLD, INLINE, TURN, Book, Cell, Chapter, minutes, words_of
from tools.pages import CLAIMED, RESULT, TRIED
from tools.references import labels

ROOT = Path(__file__).resolve().parents[1]
SITE = 'https://diffbook.github.io/diffbook/'
WORK, QUESTION = 10, 2  # minutes for exercises in pairs at the end, and for a question
SOLUTION = re.compile(r'<details>\s*<summary>\s*Solution\s+(\d\d-\w+)\b.*?</summary>(.*?)</details>\n*', re.S)
PART = re.compile(
    r'(?P<fold><details>.*?</details>)|(?P<code>^(?P<tick>`{3,}|~{3,}).*?^(?P=tick)[ \t]*$)|(?P<formula>\$\$(?P<tex>.+?)\$\$(?:[ \t]*\{#(?P<eq>[\w-]+)\})?)',
    re.M | re.S,
)
ABBREVIATED = ('al.', 'e.g.', 'i.e.', 'cf.', 'vs.')


@dataclass
class Slide:
    "One slide: Markdown, what comes with further clicks, a picture, notes."

    title: str
    text: str = ''
    steps: list[str] = field(default_factory=list)
    picture: tuple[str, bytes] | None = None  # label, png
    notes: str = ''
    opens: bool = False  # a section
    closed: bool = False  # what follows in the text goes to a slide of its own


@dataclass
class Section:
    "What one section of a chapter gives to a lecture."

    title: str
    minutes: float  # to read
    slides: list[Slide] = field(default_factory=list)
    equations: list[str] = field(default_factory=list)  # ids
    numbers: list[str] = field(default_factory=list)  # (14.2), Figure 14.1: what is shown
    questions: list[tuple[str, str]] = field(default_factory=list)
    derivations: dict[str, float] = field(default_factory=dict)  # title -> minutes at the board
    run: list[str] = field(default_factory=list)  # ids of cells to run in the hall

    @property
    def needs(self) -> float:
        return 2 * self.minutes + sum(self.derivations.values()) + QUESTION * len(self.questions)


def sentences(text: str) -> list[str]:
    "The sentences of a paragraph, each on one line; formulas, abbreviations and bold words stay whole."
    kept: list[str] = []
    masked = INLINE.sub(lambda m: f'\0{kept.append(m[0]) or len(kept) - 1}\0', ' '.join(text.split()))
    out: list[str] = []
    for piece in re.split(r'(?<=[.!?])\s+|(?<=[.!?]\*\*)\s+|(?<=[.!?]["*)])\s+', masked):
        if out and (out[-1].endswith(ABBREVIATED) or out[-1].count('**') % 2):
            out[-1] += f' {piece}'
        else:
            out.append(piece)
    return [re.sub('\0(\\d+)\0', lambda m: kept[int(m[1])], s) for s in out]


def plain(text: str, known: dict[str, tuple[str, str]], where: str = '') -> str:
    "Prose with its formulas: no code, folds or marks; a reference becomes its number, a link its words, with the chapter that it leads to."
    text = COMMENT.sub('', FENCE.sub('', FOLD.sub('', text)))
    text = re.sub(r'\$\$[ \t]*\{#(eq-[\w-]+)\}', lambda m: rf'\tag{{{known[m[1]][1].split()[1]}}}$$' if m[1] in known else '$$', text)
    text = re.sub(r'(?<![\w.@/])@((?:eq|fig|sec)-[\w-]*\w)', lambda m: known[m[1]][1] if m[1] in known else m[0], text)
    text = re.sub(r'\s*\[-?@[^\]]*\]', '', text)
    text = re.sub(r'(?<![\w.@/])@([a-z]+)(\d{4})\w*', lambda m: f'{m[1].capitalize()} ({m[2]})', text)

    def words(m: re.Match[str]) -> str:
        chapter = re.match(r'(\d\d)_', m[2])
        return f'{m[1]} (chapter {chapter[1]})' if where == 'plan' and chapter else m[1]

    return re.sub(r'(?<!!)\[((?:[^\]\\]|\\.)*)\]\(([^)\s]*)\)', words, text).strip()


def cell_safe(text: str) -> str:
    "A text for one cell of a table: no bars, also in formulas."
    text = INLINE.sub(lambda m: m[0].replace(r'\|', r'\Vert ').replace('|', r'\mid '), ' '.join(text.split()))
    return re.sub(r'(?<!\\)\|', r'\|', text)


def pictures(cell: Cell) -> list[bytes]:
    "The pictures that a cell has drawn."
    found = [o.get('data', {}).get('image/png') for o in cell.outputs]
    return [base64.b64decode(''.join(p)) for p in found if p]


def printed(cell: Cell) -> str:
    "What a cell prints, without the lines of the ledger."
    lines = ''.join(''.join(o.get('text', '')) for o in cell.outputs if o.get('name') == 'stdout').splitlines()
    return '\n'.join(line for line in lines if line.strip() and not any(form.match(line) for form in (RESULT, TRIED, CLAIMED)))


class Lecture:
    "Sections and slides of a chapter."

    def __init__(self, chapter: Chapter, known: dict[str, tuple[str, str]], second: bool = False, add: tuple[str, ...] = (), leave: tuple[str, ...] = ()):
        self.chapter, self.known = chapter, known
        text = '\n'.join(c.text for c in chapter.code)
        self.checked = {id: f'largest error {said}' for id, said in RESULT.findall(text)} | dict(TRIED.findall(text))
        first, later = chapter.readings
        among = lambda words, title: any(w.lower() in title.lower() for w in words)  # noqa: E731
        for w in (*add, *leave):
            if not among((w,), ' '.join(title for title, _ in first + later)):
                raise ValueError(f'no section of {chapter.name} has {w!r} in its heading; there are: {"; ".join(title for title, _ in first + later if title)}')
        taught = [p for p in first + later if (p in first or second or among(add, p[0])) and not among(leave, p[0] or '\0')]
        self.untaught = [p for p in first + later if p not in taught]
        self.sections = [s for s in (self.section(*p) for p in taught) if s.slides]

    def section(self, heading: str, cells: list[Cell]) -> Section:
        title = heading.replace(' (second reading)', '') or 'Where we are going'
        part = Section(title, minutes([(heading, cells)]))
        slide, last = Slide(title, opens=True), ''
        part.slides.append(slide)
        for c in cells:
            if c.id in ('title', 'box'):
                continue
            if c.kind == 'code':
                last = self.shown(part, c) or last
                continue
            last = self.read(part, c.source, last)
        if not any(s.text or s.steps or s.picture for s in part.slides):
            part.slides = []
        return part

    def plain(self, text: str) -> str:
        return plain(text, self.known)

    def read(self, part: Section, source: str, last: str) -> str:
        "Put the markdown of one cell on slides; the last sentence, which may lead to a formula in the next cell."
        asked = TURN.search(source)
        text, end = source[: asked.start()] if asked else source, 0
        for m in [*PART.finditer(text), None]:
            between = text[end : m.start() if m else None]
            proof, mark, rest = between.rpartition('<!-- derived') if part.equations and end else ('', '', between)
            for k, chunk in enumerate((proof, mark + rest)):
                for paragraph in re.split(r'\n[ \t]*\n', chunk):
                    last = self.paragraph(part, paragraph, proof=not k) or last
            if m is None:
                break
            end = m.end()
            if m['fold'] and 'Solution' not in m['fold'].split('</summary>')[0]:
                self.fold(part, m['fold'])
            elif m['formula']:
                self.formula(part, m, last)
                last = ''
        if asked:
            self.question(part, asked[1], source[asked.end() :])
        return last

    def paragraph(self, part: Section, text: str, proof: bool = False) -> str:
        "Notes take all of a paragraph; a slide its sentences in bold, and the first of the section, or every step of a proof. The last sentence."
        text = re.sub(r'^## .*$', '', text, flags=re.M)
        if m := re.match(r'\s*###+ (.*)', text):
            part.slides.append(Slide(m[1]))
            text = text[m.end() :]
        if not (text := self.plain(text)):
            return ''
        slide, listed = part.slides[-1], re.match(r'[-*|>]\s|\||\d+\. ', text)
        said = [text] if listed else sentences(text)
        slide.notes = f'{slide.notes}\n\n{text}'.strip()
        if proof:
            slide.steps.append(text)
            return said[-1]
        kept = [s for k, s in enumerate(said) if listed or '**' in s or (k == 0 and slide.opens and not slide.text)]
        if kept and (slide.picture or slide.steps or slide.closed):
            part.slides.append(slide := Slide(part.title))
        slide.text = '\n\n'.join(t for t in [slide.text, ' '.join(kept)] if t)
        return '' if listed else said[-1]

    def formula(self, part: Section, m: re.Match[str], last: str) -> None:
        "A slide for a displayed formula, under the sentence that leads to it."
        id, tex = m['eq'], m['tex'].strip()
        number = self.known[id][1].split()[1] if id in self.known else ''
        lead = '' if re.search(r'[.!?]\**$', last) else last
        for slide in part.slides[-1:]:  # the sentence moves to its formula
            slide.text = slide.text.removesuffix(lead).rstrip() if lead else slide.text
        tag = rf' \tag{{{number}}}' if number else ''
        notes = f'Checked in the chapter: {self.checked[id]}.' if id in self.checked else ''
        part.slides.append(Slide(part.title, f'{lead}\n\n$$\n{tex}{tag}\n$$'.strip(), notes=notes))
        if number:
            part.equations.append(id)
            part.numbers.append(f'({number})')

    def fold(self, part: Section, fold: str) -> None:
        "A derivation, step by step."
        title, body = re.match(r'<details>\s*<summary>(.*?)</summary>(.*)</details>', fold, re.S).groups()
        steps = [p for p in re.split(r'\n[ \t]*\n|\n(?=\d+\. )', self.plain(body)) if p.strip()]
        part.slides.append(Slide(title.strip(), steps=steps))
        part.derivations[title.strip()] = max(1.0, words_of(body) / 90 + 0.25 * len(INLINE.findall(body)))

    def shown(self, part: Section, cell: Cell) -> str:
        "A figure with its caption, or what a cell prints."
        label, output = cell.option('label'), printed(cell)
        for png in pictures(cell):
            number = self.known[label][1] if label in self.known else ''
            caption = self.plain(cell.option('fig-cap') or '')
            part.slides.append(Slide(number or part.title, caption, picture=(label or cell.id, png)))
            part.numbers += [number] if number else []
        if output and len(output.splitlines()) <= 8:
            part.slides.append(Slide('What comes out', f'```text\n{output}\n```', notes=f'Printed by the cell `{cell.id}` of the chapter.', closed=True))
        if (output or cell.picture) and cell.id not in part.run:
            part.run.append(cell.id)
        return ''

    def question(self, part: Section, id: str, text: str) -> None:
        question = self.plain(re.split(r'^```|<details>', text, maxsplit=1, flags=re.M)[0])
        answer = next((self.plain(body) for asked, body in SOLUTION.findall(text) if asked == id), '')
        part.slides.append(Slide(f'Your turn ({id})', question, steps=[answer] if answer else [], closed=True))
        part.questions.append((id, question))

    def deck(self, solutions: bool = True) -> list[Slide]:
        "All slides, the summary last."
        slides = [s for part in self.sections for s in part.slides if s.text or s.steps or s.picture or s.opens]
        if not solutions:
            slides = [Slide(s.title, s.text) if s.title.startswith('Your turn') else s for s in slides]
        return [*slides, Slide('Summary', self.plain(self.chapter.section('Summary') or ''), opens=True)]

    @property
    def heading(self) -> tuple[str, str]:
        title, line = re.match(r'# (.*)\n\n?> (.*)', self.chapter.cells[0].source).groups()
        return title, self.plain(line)

    def exercises(self) -> list[tuple[str, str, bool, bool]]:
        "(id, task, graded by the tool, belongs to what is taught) of each exercise."
        text, found = self.chapter.section('Exercises') or '', []
        later = [label for _, cells in self.untaught for c in cells for label in re.findall(r'\{#(eq-[\w-]+)\}|^#\| label: (fig-[\w-]+)', c.source, re.M)]
        absent = {a or b for a, b in later}
        for task in re.split(rf'^(?=\*\*{self.chapter.number:02d}-\d+)', text, flags=re.M)[1:]:
            id = re.match(r'\*\*(\d\d-\d+)', task)[1]
            ask = re.sub(r'^\*\*[\d-]+\.?\*\*\.?\s*', '', FOLD.sub('', task))
            named = set(re.findall(r'@((?:eq|fig)-[\w-]*\w)', task))
            mine = not (named & absent) and not ('(second reading)' in ask and self.untaught)
            found.append((id, self.plain(ask), id in self.chapter.graded, mine))
        return found


def slides_qmd(lecture: Lecture, folder: str, solutions: bool = True) -> str:
    "The slides for Quarto's revealjs; pictures lie in `folder`."
    title, line = lecture.heading
    reveal = {'slide-number': True, 'embed-resources': True, 'theme': 'simple', 'html-math-method': 'katex'}
    out = [f'---\n{yaml.dump({"title": title, "subtitle": line, "format": {"revealjs": reveal}}, allow_unicode=True)}---']
    for s in lecture.deck(solutions):
        parts = [f'{"#" if s.opens else "##"} {s.title}', s.text if not s.picture else f'![{s.text}]({folder}/{s.picture[0]}.png){{width=90%}}']
        parts += [f'::: {{.fragment}}\n{step}\n:::' for step in s.steps]
        parts += [f'::: {{.notes}}\n{s.notes}\n:::'] if s.notes else []
        out.append('\n\n'.join(p for p in parts if p))
    return '\n\n'.join(out) + '\n'


def to_html(text: str) -> str:
    "Markdown with formulas as HTML and MathML."
    import mistune
    from latex2mathml.converter import convert

    kept: list[str] = []

    def keep(made: str) -> str:
        kept.append(made)
        return f'\0{len(kept) - 1}\0'

    def display(m: re.Match[str]) -> str:
        tag = re.search(r'\\tag\{([\d.]+)\}', m[1])
        number = f'<span class="number">({tag[1]})</span>' if tag else ''
        tex = re.sub(r'\s*\\tag\{[\d.]+\}', '', m[1]).strip()
        return '\n\n' + keep(f'<div class="formula">{convert(tex, display="block")}{number}</div>') + '\n\n'

    text = FENCE.sub(lambda m: keep('<pre>' + html.escape('\n'.join(m[0].splitlines()[1:-1])) + '</pre>'), text)
    text = re.sub(r'`([^`\n]+)`', lambda m: keep(f'<code>{html.escape(m[1])}</code>'), text)
    text = INLINE.sub(lambda m: keep(convert(m[1])), DISPLAY.sub(display, text))
    made = mistune.create_markdown(escape=True, plugins=['table'])(text.replace('\0', '\ue000'))
    made = re.sub('<p>\ue000(\\d+)\ue000</p>', lambda m: kept[int(m[1])], made)
    while '\ue000' in made:
        made = re.sub('\ue000(\\d+)\ue000', lambda m: kept[int(m[1])].replace('\0', '\ue000'), made)
    return made


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>
body {{ margin: 0; font: 3.9vmin/1.4 Georgia, serif; color: #1a1a1a; background: #fff }}
section {{ box-sizing: border-box; min-height: 100vh; padding: 5vmin 8vmin; border-bottom: 1px solid #ccc }}
h1 {{ font-size: 2em }} h2 {{ font-size: 1.15em; color: #555; margin: 0 0 1em }} pre {{ font-size: .75em; overflow-x: auto }}
.formula {{ display: flex; align-items: center; gap: 1em; margin: 1em 0; overflow: auto hidden }} .formula math {{ flex: 1 }}
math {{ font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", math }}
img {{ display: block; margin: 0 auto 1em; width: 100%; max-height: 66vh; object-fit: contain }} figcaption {{ font-size: .65em }}
table {{ border-collapse: collapse }} td, th {{ border-bottom: 1px solid #ccc; padding: .2em .8em; text-align: left }}
aside {{ display: none; font-size: .65em; border-left: .3em solid #888; padding-left: 1em; margin-top: 2em; color: #444 }} .notes aside {{ display: block }}
footer {{ position: fixed; right: 1em; bottom: .5em; font-size: .5em; color: #777 }}
.talk section {{ display: none; border: 0; height: 100vh; overflow-y: auto }} .talk section.now {{ display: block }} .talk .step {{ visibility: hidden }} .talk .step.seen {{ visibility: visible }}
@media print {{ section {{ break-after: page }} footer {{ display: none }} }}
</style></head><body>
{slides}
<footer></footer>
<script>
const slides = [...document.querySelectorAll('section')], body = document.body, foot = document.querySelector('footer');
let at = Math.min(Math.max(0, (parseInt(location.hash.slice(1)) || 1) - 1), slides.length - 1);
function show() {{ slides.forEach((s, k) => s.classList.toggle('now', k == at)); foot.textContent = `${{at + 1}} / ${{slides.length}}`; history.replaceState(null, '', `#${{at + 1}}`); }}
function go(by) {{
  const steps = [...slides[at].querySelectorAll('.step')], seen = steps.filter(s => s.classList.contains('seen'));
  if (by > 0 && seen.length < steps.length) {{ steps[seen.length].classList.add('seen'); steps[seen.length].scrollIntoView({{block: 'nearest'}}); return; }}
  if (by < 0 && seen.length) {{ seen.at(-1).classList.remove('seen'); return; }}
  at = Math.min(Math.max(0, at + by), slides.length - 1); show();
}}
addEventListener('keydown', e => {{
  if (['ArrowRight', 'PageDown', ' '].includes(e.key)) {{ e.preventDefault(); go(1); }}
  else if (['ArrowLeft', 'PageUp'].includes(e.key)) {{ e.preventDefault(); go(-1); }}
  else if (e.key == 'n') body.classList.toggle('notes');
  else if (e.key == 'a') body.classList.toggle('talk');
}});
addEventListener('click', e => body.classList.contains('talk') && !getSelection().toString() && go(1));
body.classList.add('talk'); show();
</script></body></html>
"""


def slides_html(lecture: Lecture, solutions: bool = True) -> str:
    "The slides as one page; without its script it is a page to scroll through."
    title, line = lecture.heading
    keys = 'Arrows or a click go on and back, N shows the notes, A shows all slides on one page.'
    out = [f'<section><h1>{html.escape(title)}</h1>{to_html(line)}<aside>{keys}</aside></section>']
    for s in lecture.deck(solutions):
        head = f'<h1>{to_html(s.title).strip()[3:-4]}</h1>' if s.opens else f'<h2>{to_html(s.title).strip()[3:-4]}</h2>'
        body = to_html(s.text) if s.text else ''
        if s.picture:
            body = f'<figure><img alt="" src="data:image/png;base64,{base64.b64encode(s.picture[1]).decode()}"><figcaption>{body}</figcaption></figure>'
        steps = ''.join(f'<div class="step">{to_html(step)}</div>' for step in s.steps)
        notes = f'<aside>{to_html(s.notes)}</aside>' if s.notes else ''
        out.append(f'<section>{head}{body}{steps}{notes}</section>')
    return PAGE.format(title=html.escape(title), slides='\n'.join(out))


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


def fit(parts: list[Section], total: float) -> tuple[list[Section], list[str], list[Section]]:
    "What fits into so many minutes: sections, the derivations to leave to the notes (longest first), the sections to leave out (last first)."
    taught, quiet, out = list(parts), [], []
    folds = sorted(((m, s, title) for s in parts for title, m in s.derivations.items()), key=lambda f: -f[0])
    need = sum(s.needs for s in taught)
    while need > total and folds:
        length, part, title = folds.pop(0)
        quiet.append(f'{title} ({part.title})')
        need -= length
    while need > 1.25 * total and len(taught) > 1:  # up to a quarter may go by talking faster
        out.insert(0, taught.pop())
        need = sum(2 * s.minutes + QUESTION * len(s.questions) for s in taught)
    return taught, quiet, out


def blocks_of(parts: list[Section], lengths: list[int]) -> list[list[Section]]:
    "The sections in blocks, none across a break, each block as near to its length as sections allow."
    needs, made, at = [max(s.needs, 0.5) for s in parts], [], 0
    for k in range(len(lengths) - 1):
        left = len(lengths) - 1 - k
        want = sum(lengths[: k + 1]) / sum(lengths) * sum(needs)
        ends = range(at + 1, max(at + 2, len(parts) - left + 1))
        end = min(ends, key=lambda e: abs(sum(needs[:e]) - want))
        made.append(parts[at:end])
        at = end
    return [*made, parts[at:]]


def clock(minute: int) -> str:
    return f'{minute // 60}:{minute % 60:02d}'


def plan(lecture: Lecture, blocks: tuple[int, ...] = (45, 45), pause: int = 10) -> str:
    "When which section, what to show and to run, what to ask; exercises at the end, homework, and what was left out."
    chapter, tasks = lecture.chapter, lecture.exercises()
    mine = [t for t in tasks if t[3]]
    work = min(WORK, blocks[-1] // 3) if mine else 0
    lengths = [*blocks[:-1], blocks[-1] - work]
    taught, quiet, out = fit(lecture.sections, sum(lengths))
    now, rows = 0, []
    for k, (parts, length) in enumerate(zip(blocks_of(taught, lengths), lengths)):
        if k:
            rows.append(f'| {clock(now)} | {pause} | **break** | | | |')
            now += pause
        for part, took in zip(parts, share(length, [max(p.needs, 0.5) for p in parts]) if parts else []):
            asked = '; '.join(f'{id}: {cell_safe(q)}' for id, q in part.questions)
            run = ', '.join(f'`{id}`' for id in part.run)
            rows.append(f'| {clock(now)} | {took} | {cell_safe(part.title)} | {", ".join(part.numbers)} | {run} | {asked} |')
            now += took
    if work:
        rows.append(f'| {clock(now)} | {work} | exercises, in pairs | | | {", ".join(t[0] for t in mine[:2])} |')
    box = re.findall(r'\*\*(You need)\*\*(.*)', chapter.box.source) if chapter.box else []
    seconds = re.search(r'runs in (\d+) seconds', chapter.box.source) if chapter.box else None
    lines = [f'# {" + ".join(map(str, blocks))} minutes: {lecture.heading[0]}', '']
    lines += [f'Before it, students need {plain(text, lecture.known, "plan").rstrip(".")}.' for _, text in box]
    lines += [
        f'Run the chapter before the lecture ({seconds[1]} seconds) and leave it open; the column "run" names cells to run once more in the hall.'
        if seconds
        else ''
    ]
    lines += ['', '| at | minutes | what | show | run | ask |', '|---|---|---|---|---|---|', *rows, '']
    lines += [f'More than fits at the pace of pen and paper. Left to the notes, as results only: {"; ".join(quiet)}.', ''] if quiet else []
    lines += [f'Left out of these minutes, though first reading: {"; ".join(s.title for s in out)}.', ''] if out else []
    if lecture.untaught:
        later = '; '.join(title.replace(' (second reading)', '') for title, _ in lecture.untaught)
        lines += [f'For another lecture (`--add WORDS` brings one in): {later}.', '']
    lines += ['## Homework', ''] if tasks else []
    said = lambda t: f'- **{t[0]}** ({"graded by the tool" if t[2] else "marked by hand"}) {t[1]}'  # noqa: E731
    lines += [said(t) for t in mine[2:]] or ['- none is left of what was taught.']
    lines += ['', 'In pairs, at the end of the lecture:', '', *map(said, mine[:2])] if mine else []
    lines += ['', 'Needs what was not taught:', '', *(said(t) for t in tasks if not t[3])] if len(mine) < len(tasks) else []
    graded = [t[0] for t in mine if t[2]] + [id for s in taught for id, _ in s.questions]
    if graded:
        lines += [
            '',
            f'Hand out `python -m tools.lecture {chapter.number} --handout`; mark with `diffbook grade HANDED_IN.ipynb --exercises {",".join(graded)} --seed 7`.',
        ]
    return '\n'.join([*lines, ''])


def handout(chapter: Chapter) -> dict:
    "The notebook without its solutions; each question and each exercise gets a code cell for the answer. Links lead to the site."
    nb = json.loads(chapter.path.read_text(encoding='utf-8'))
    cells: list[dict] = []
    links = lambda text: re.sub(r'\]\((\d\d_)(\w+)\.(?:ipynb|qmd)', rf']({SITE}\2.html', text)  # noqa: E731
    for cell in nb['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'code':
            cells.append(cell)
            continue
        text = SOLUTION.sub('', source)
        if text == source:
            cells.append({**cell, 'source': links(source)})
            continue
        for k, piece in enumerate(p for p in re.split(r'^(?=\*\*(?:Your turn \()?\d\d-\w+)', text, flags=re.M) if p.strip()):
            fence = re.search(r'^```python\n(.*?)^```\s*', piece, re.M | re.S) if piece.startswith('**Your turn') else None
            id = re.match(r'\*\*(?:Your turn \()?(\d\d-\w+)', piece)
            said = piece.replace(fence[0], '') if fence else piece
            cells.append({'cell_type': 'markdown', 'id': f'{cell["id"]}-{k}', 'metadata': {}, 'source': links(said.strip())})
            if id:
                start = (
                    f'from diffbook.exercise import grade\n# your answer to {id[1]}; when it is there, take away the mark before grade\n# grade("{id[1]}", ...)'
                )
                cells.append({'cell_type': 'code', 'id': f'answer-{id[1]}', 'metadata': {}, 'execution_count': None, 'outputs': [], 'source': start})
    return {**nb, 'cells': cells}


def write(
    chapter: Chapter, out: Path, lecture: Lecture, *, form: str = 'html', solutions: bool = True, blocks: tuple[int, ...] = (45, 45), pause: int = 10
) -> list[Path]:
    "Write slides and plan of a chapter; the files."
    from diffbook.store.files import write_whole

    stem = chapter.path.stem
    out.mkdir(parents=True, exist_ok=True)
    files = {out / f'{stem}_slides.{form}': '', out / f'{stem}_plan.md': plan(lecture, blocks, pause)}
    if form == 'qmd':
        folder = out / f'{stem}_pictures'
        folder.mkdir(exist_ok=True)
        for s in lecture.deck():
            if s.picture:
                write_whole(folder / f'{s.picture[0]}.png', s.picture[1])
    files[out / f'{stem}_slides.{form}'] = slides_qmd(lecture, f'{stem}_pictures', solutions) if form == 'qmd' else slides_html(lecture, solutions)
    for path, text in files.items():
        write_whole(path, text.encode())
    return list(files)


def known_labels() -> dict[str, tuple[str, str]]:
    "Label -> (notebook, 'Equation 14.2') of the whole book."
    books = {p.name: json.loads(p.read_text(encoding='utf-8'))['cells'] for p in sorted((ROOT / 'nbs').glob('[0-9][0-9]_*.ipynb'))}
    return labels({name: [(c['cell_type'], ''.join(c['source'])) for c in cells] for name, cells in books.items()})


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('chapters', type=int, nargs='+', metavar='NN', help='numbers of chapters')
    parser.add_argument('--out', type=Path, default=Path('_lectures'))
    parser.add_argument(
        '--blocks', type=int, nargs='+', default=[45, 45], metavar='MINUTES', help='lengths of the blocks, with a break between them (default 45 45)'
    )
    parser.add_argument('--break', dest='pause', type=int, default=10, metavar='MINUTES', help='length of a break')
    parser.add_argument('--add', nargs='+', default=[], metavar='WORDS', help='sections of the second reading with these words in the heading')
    parser.add_argument('--leave', nargs='+', default=[], metavar='WORDS', help='leave out sections with these words in the heading')
    parser.add_argument('--second', action='store_true', help='all of the second reading as well')
    parser.add_argument('--no-solutions', action='store_true', help='questions without their answers')
    parser.add_argument('--to', choices=['html', 'qmd'], default='html', help='qmd is for Quarto, which makes slides of it: quarto render FILE')
    parser.add_argument('--handout', action='store_true', help='only the notebook without its solutions')
    a = parser.parse_args(words)
    book = {ch.number: ch for ch in Book(ROOT / 'nbs').chapters}
    if unknown := [n for n in a.chapters if n not in book]:
        parser.error(f'there is no chapter {unknown[0]}, expected some of {", ".join(f"{n:02d}" for n in sorted(book))}')
    if min(a.blocks) < 15:
        parser.error(f'--blocks is {" ".join(map(str, a.blocks))}, expected blocks of 15 minutes or more')
    known = known_labels()
    for n in a.chapters:
        if a.handout:
            from tools.references import write_notebook

            a.out.mkdir(parents=True, exist_ok=True)
            path = a.out / f'{book[n].path.stem}_handout.ipynb'
            write_notebook(path, handout(book[n]))
            print(path)
            continue
        try:
            lecture = Lecture(book[n], known, a.second, tuple(a.add), tuple(a.leave))
        except ValueError as error:
            parser.error(str(error))
        print(*write(book[n], a.out, lecture, form=a.to, solutions=not a.no_solutions, blocks=tuple(a.blocks), pause=a.pause), sep='\n')


if __name__ == '__main__':
    main()
