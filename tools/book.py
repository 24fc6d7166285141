"""The rules of the book, each a function that returns what is wrong. tests/test_book.py runs them; none needs Quarto."""

import ast
import json
import re
import statistics
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tools.references import short

FENCE = re.compile(r'^(`{3,}|~{3,}).*?^\1[ \t]*$', re.M | re.S)
COMMENT = re.compile(r'<!--.*?-->', re.S)
INLINE_CODE = re.compile(r'(`+)(?!`).+?(?<!`)\1(?!`)', re.S)
DISPLAY = re.compile(r'\$\$(.+?)\$\$([ \t]*\{#([\w-]+)\})?', re.S)
INLINE = re.compile(r'(?<![\\$])\$(?![\s$])((?:[^$\\]|\\.)+?)(?<!\s)\$(?![\d$])', re.S)
REFERENCE = re.compile(r'(?<![\w.@/])@((?:eq|fig|sec|tbl|lst)-[\w-]*\w)')
CITATION = re.compile(r'(?<![\w.@/])-?@(?!(?:eq|fig|sec|tbl|lst)-)([A-Za-z]\w*)')
LINK = re.compile(r'!?\[(?:[^\]\\]|\\.)*\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)')
HTML_LINK = re.compile(r'<(?:a|img)\b[^>]*?\b(?:href|src)="([^"]+)"')
SOLUTION = re.compile(r'<summary>\s*Solution\s+(\d\d-(?:\d+|[a-z])\b).*?</summary>(.*?)</details>', re.S)
FOLD = re.compile(r'<details>.*?</details>', re.S)
TURN = re.compile(r'^\*\*Your turn \((\d\d-[a-z])\)\.\*\*', re.M)
DERIVED = re.compile(r'<!-- (?:derived|defined)((?: eq-[\w-]+)+) -->')
BOX = ('You will be able to', 'Time:', 'You need', 'You may skip')
MINUTES = re.compile(r'\*\*Time:\*\* (\d+) minutes for the first reading(?:, (\d+) for the second)?')
GRADE = re.compile(r'(?:\bimport[^\n#]*|\bdef )\bgrade\b|\bgrade\(')  # its import or definition, or a call
PYTHON = re.compile(r'^```python\n(.*?)^```', re.M | re.S)
CLAIM = re.compile(r'<!-- (claim-[a-z0-9-]+) -->')
COMPARES = re.compile(
    r'\bthan\b|\btimes (?:as|more|fewer|the)\b|\b(?:beats?|costs?|fades?|wins?|loses?|outdoes|overpays)\b|\b(?:better|worse|best|worst|faster|slower|cheaper|dearer|twice|half as|more|less|fewer|nearer|smaller|larger|higher|lower|longer|shorter|sharper|harder|easier)\b'
)
MIXES = re.compile(r'\\\[|\\begin\{(equation|align|gather)\*?\}')

PRIMER = 7  # the chapter with which reading begins; those before it are tools


@dataclass
class Cell:
    "One cell of a chapter, with what the rules ask of it."

    chapter: str
    index: int
    id: str
    kind: str
    source: str
    outputs: list = field(default_factory=list)

    @property
    def where(self):
        return f'{self.chapter}, cell {self.id or self.index}'

    @cached_property
    def directives(self):
        lines = []
        for line in self.source.splitlines():
            if not line.startswith('#|'):
                break
            lines.append(line[2:].strip())
        return lines

    def has(self, *names):
        return any(re.split(r'[\s:]', d)[0] in names for d in self.directives)

    def option(self, name):
        for d in self.directives:
            if re.match(rf'{name}\s*:', d):
                return d.split(':', 1)[1].strip().strip('"\'')

    @property
    def target(self):
        "The module that the cell is exported to: '' is the chapter's own, None is no export."
        for d in self.directives:
            if m := re.match(r'exports?i?\b\s*(\S*)$', d):
                return m[1]

    @property
    def executed(self):
        return self.kind == 'code' and not self.has('slow', 'notest') and self.option('eval') != 'false'

    @property
    def grader(self):
        return bool(self.target) and self.target.startswith('exercises.')

    @property
    def shown(self):
        "Is the source on the page?"
        return not (self.has('hide', 'default_exp') or self.grader or self.option('echo') == 'false' or self.option('include') == 'false')

    @cached_property
    def tree(self):
        return ast.parse(self.source)

    @cached_property
    def plain(self):
        "Markdown without code and comments."
        return INLINE_CODE.sub(' ', COMMENT.sub(' ', FENCE.sub('\n', self.source)))

    @cached_property
    def text(self):
        "Everything the outputs say."
        said = []
        for o in self.outputs:
            for value in (o.get('text'), o.get('traceback'), *(o.get('data') or {}).values()):
                said.append(''.join(value) if isinstance(value, list) else value if isinstance(value, str) else '')
        return '\n'.join(said)

    @property
    def printed(self):
        "What a reader can read in the outputs: not the bytes of a picture."
        said = []
        for o in self.outputs:
            parts = {k: v for k, v in (o.get('data') or {}).items() if not k.startswith('image/')}
            for value in (o.get('text'), *parts.values()):
                said.append(''.join(value) if isinstance(value, list) else value if isinstance(value, str) else '')
        return '\n'.join(said)

    @property
    def picture(self):
        return any(k.startswith('image/') for o in self.outputs for k in (o.get('data') or {}))

    @property
    def lines(self):
        return len([x for x in self.source.splitlines() if x.strip() and not x.startswith('#|')])


@dataclass(frozen=True)
class Term:
    "One entry of the glossary, nbs/words.json."

    word: str
    chapter: int  # the chapter that explains it
    meaning: str
    papers: str = ''  # what papers call it, cut by semicolons
    symbol: str = ''
    pattern: str | None = None  # how it looks in a sentence; '' if the word has everyday senses too and is not looked for

    @cached_property
    def slug(self):
        "Its anchor on the page."
        plain = unicodedata.normalize('NFKD', self.word).encode('ascii', 'ignore').decode().lower()
        return re.sub(r'[^a-z0-9]+', '-', plain).strip('-')

    @cached_property
    def form(self):
        "What finds the word in a text, or None."
        if self.pattern == '':
            return None
        return re.compile(self.pattern or rf'\b{re.escape(self.word)}s?\b'.replace(r'\ ', r'[\s-]+'), 0 if self.pattern else re.I)


class Chapter:
    "One notebook."

    def __init__(self, path):
        self.path, self.name = Path(path), Path(path).name
        raw = json.loads(self.path.read_text(encoding='utf-8'))
        self.cells = [
            Cell(self.name, i, c.get('id', ''), c['cell_type'], short(c['cell_type'], ''.join(c['source'])), c.get('outputs', []))
            for i, c in enumerate(raw['cells'])
        ]

    @property
    def number(self):
        return int(self.name[:2])

    @property
    def word(self):
        return self.path.stem[3:]

    @property
    def taught(self):
        "Chapters before 08 are tools and the primer, those from 90 on appendices."
        return 8 <= self.number < 90

    @property
    def code(self):
        return [c for c in self.cells if c.kind == 'code']

    @property
    def markdown(self):
        return [c for c in self.cells if c.kind == 'markdown']

    @property
    def read(self):
        "Chapters with a box and questions: the taught ones and those of the part Start here."
        return PRIMER <= self.number < 90

    @property
    def modules(self):
        "Modules that this chapter writes, under diffbook."
        names = {d.split()[1] for c in self.code for d in c.directives if d.startswith('default_exp ')}
        return names | {c.target for c in self.code if c.target}

    def section(self, title):
        "The markdown from the heading `title` to the next heading of the same level."
        text = '\n\n'.join(c.source for c in self.markdown)
        m = re.search(rf'^## {title}\b.*?$(.*?)(?=^## |\Z)', text, re.M | re.S)
        return m[1] if m else None

    @cached_property
    def equations(self):
        return [(c, m[1], m[3]) for c in self.markdown for m in DISPLAY.finditer(c.plain)]

    @cached_property
    def checks(self):
        "(cell, id) of every call `check('eq-...')` or `below('eq-...')`."
        return [(c, id) for c in self.code for id in calls_of(('check', 'below'), 'eq-', c.source)]

    @cached_property
    def claims(self):
        "(cell, id) of every call `claim('claim-...')`."
        return [(c, id) for c in self.code for id in calls_of(('claim',), 'claim-', c.source)]

    @cached_property
    def claimed(self):
        "(cell, id) of every sentence that names a claim."
        return [(c, id) for c in self.markdown for id in CLAIM.findall(INLINE_CODE.sub(' ', FENCE.sub('\n', c.source)))]

    @cached_property
    def graders(self):
        "The file of the chapter's graders, beside the notebooks in the package."
        return self.path.parent.parent / 'diffbook' / 'exercises' / f'c{self.number:02d}.py'

    @cached_property
    def graded(self):
        "Ids of the graded exercises with the number of this chapter."
        sources = [c.source for c in self.code if c.grader]
        sources += [self.graders.read_text(encoding='utf-8')] if self.graders.exists() else []
        nodes = [n for source in sources for n in ast.walk(ast.parse(source))]
        return sorted(
            {n.args[0].value for n in nodes if isinstance(n, ast.Call) and called(n).split('.')[-1] == 'add' and n.args and isinstance(n.args[0], ast.Constant)}
        )

    @cached_property
    def questions(self):
        "Ids of the questions that stand at the ends of sections, as the graders know them."
        tree = ast.parse(self.graders.read_text(encoding='utf-8')) if self.graders.exists() else ast.Module([], [])
        return sorted(n.args[0].value for n in ast.walk(tree) if isinstance(n, ast.Call) and called(n).split('.')[-1] == 'question' and n.args)

    @cached_property
    def asked(self):
        "Ids of the exercises of this chapter."
        text = re.sub(r'<details>.*?</details>', ' ', self.section('Exercises') or '', flags=re.S)
        return sorted(set(re.findall(rf'\b{self.number:02d}-\d+\b', text)))

    @cached_property
    def solutions(self):
        "(cell, id, list of code blocks)."
        return [(c, m[1], PYTHON.findall(m[2])) for c in self.markdown for m in SOLUTION.finditer(c.source)]

    @cached_property
    def box(self):
        "The markdown cell that opens a chapter: what it teaches, minutes, needs, what to skip; or None."
        return next((c for c in self.markdown if c.id == 'box'), None)

    @cached_property
    def readings(self):
        """The sections as (heading, cells), in two lists: the first reading and the second.

        A section of the second reading says so in its heading. What stands before the first heading belongs to the
        first reading; Summary, Exercises and Sources belong to neither.
        """
        parts = [('', [])]
        for c in self.cells:
            if c.kind != 'markdown':
                parts[-1][1].append(c)
                continue
            for text in re.split(r'^(?=## )', c.source, flags=re.M):
                if m := re.match(r'## (.*)', text):
                    parts.append((m[1].strip(), []))
                if text.strip():
                    parts[-1][1].append(Cell(c.chapter, c.index, c.id, c.kind, text))
        parts = [p for p in parts if not re.match(r'(Summary|Exercises|Sources)\b', p[0])]
        second = [p for p in parts if '(second reading)' in p[0]]
        return [p for p in parts if p not in second], second

    @property
    def paragraphs(self):
        "(cell, paragraph) of what is read up to the sources: no box, heading, code, formula or solution."
        for c in self.markdown:
            if c.id == 'box' or c.index == 0:
                continue
            text = re.sub(r'^#+ (?!Sources).*$', ' ', SOLUTION.sub(' ', c.plain), flags=re.M)
            text = re.sub(r'@(?:eq|fig|tbl)-[\w-]*\w', ' ', INLINE.sub(' x ', DISPLAY.sub(' ', text)))
            text, _, sources = text.partition('## Sources')
            yield from ((c, part) for part in re.split(r'\n[ \t]*\n|\n(?=[-*|] ?|\d\. )', text) if part.strip())
            if sources:
                return

    @cached_property
    def anchors(self):
        found = set()
        for c in self.markdown:
            for line in c.plain.splitlines():
                if m := re.match(r'#+\s+(.*)', line):
                    found |= {slug(m[1])}
            found |= set(re.findall(r'\{[^}]*#([\w-]+)', c.source)) | set(re.findall(r'\bid="([\w-]+)"', c.source))
        return found

    @property
    def words(self):
        "Words of prose: no code, formulas, tables, folded solutions or sources."
        return words_of('\n\n'.join(c.source for c in self.markdown))


class Book:
    "All notebooks of a folder and its bibliography."

    def __init__(self, nbs):
        self.nbs = Path(nbs)
        self.chapters = [Chapter(p) for p in sorted(self.nbs.glob('[0-9][0-9]_*.ipynb'))]
        bib = self.nbs / 'references.bib'
        self.keys = re.findall(r'^@\w+\{([^,\s]+)', bib.read_text(encoding='utf-8'), re.M) if bib.exists() else []

    @cached_property
    def owner(self):
        "Which chapter a module belongs to; graders belong to the chapter of their number."
        graders = {f'exercises.c{c.number:02d}': c for c in reversed(self.chapters) if c.graders.exists()}
        return {**graders, **{m: c for c in reversed(self.chapters) for m in c.modules}}

    @cached_property
    def terms(self):
        "The entries of the glossary."
        path = self.nbs / 'words.json'
        return [Term(**entry) for entry in json.loads(path.read_text(encoding='utf-8'))['words']] if path.exists() else []

    @cached_property
    def labels(self):
        found = Counter()
        for ch in self.chapters:
            found.update(id for _, _, id in ch.equations if id)
            found.update(label for c in ch.code if (label := c.option('label')) and re.match('(fig|tbl|lst)-', label))
            found.update(a for c in ch.markdown for a in re.findall(r'\{[^}]*#((?:fig|tbl|sec)-[\w-]+)', c.plain))
            found[f'sec-{ch.word}'] += 1  # the site gives each chapter this label
        return found


def words_of(text):
    "Words of prose: no code, formulas, tables, folds, captions, addresses or sources."
    text = re.sub(r'<details>.*?</details>|<div class="live".*?</div>|^## Sources\b.*?(?=^## |\Z)|^\|.*?$', ' ', FENCE.sub(' ', text), flags=re.S | re.M)
    text = re.sub(r'\]\([^)\s]*\)', ']', INLINE.sub(' x ', DISPLAY.sub(' ', COMMENT.sub(' ', text))))
    return len(re.findall(r"[A-Za-z][\w'-]*", text))


def slug(title):
    "The anchor that Pandoc gives to a heading."
    title = re.sub(r'\s*\{[^}]*\}\s*$', '', title)
    title = re.sub(r'[`*$]|\[|\]\([^)]*\)', '', title).lower()
    title = re.sub(r'[^\w\s.-]', '', title).strip()
    return re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', title)) or 'section'


def called(node):
    "The dotted name of a call's function, or ''."
    f, parts = node.func, []
    while isinstance(f, ast.Attribute):
        parts.append(f.attr)
        f = f.value
    return '.'.join([f.id, *reversed(parts)]) if isinstance(f, ast.Name) else '.'.join(['', *reversed(parts)])


def calls_of(names, prefix, source):
    "First arguments that start with `prefix`, of every call of one of `names`."
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and called(node).split('.')[-1] in names and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.startswith(prefix):
                yield first.value


# Rules of a chapter: chapter, book -> what is wrong


def cells_have_ids(ch, book):
    "Every cell has an id of its own: modules and links lean on it."
    count = Counter(c.id for c in ch.cells)
    yield from (f'{c.where}: no id' for c in ch.cells if not c.id)
    yield from (f'{ch.name}: {n} cells have the id {id}' for id, n in count.items() if id and n > 1)


def code_parses(ch, book):
    "Every code cell is plain Python: no magics, no shell."
    for c in ch.code:
        try:
            ast.parse(c.source)
        except SyntaxError as error:
            yield f'{c.where}: {error.msg}, line {error.lineno}'


def title_cell(ch, book):
    "The first cell is `# Title`, a blank line and `> one line`; the next code cell says default_exp."
    first = ch.cells[0]
    if first.kind != 'markdown' or not re.fullmatch(r'# [^\n]+\n\n?> [^\n]+(\n\n?(- [\w-]+: [^\n]+\n?)+)?\s*', first.source):
        yield f'{first.where}: expected only "# Title" and "> one line", got {first.source[:80]!r}'
    later = [c.where for c in ch.cells[1:] if c.kind == 'markdown' and re.search(r'^# ', c.plain, re.M)]
    yield from (f'{where}: a second title (one # heading a chapter)' for where in later)


def equations_have_ids(ch, book):
    "Every displayed equation is `$$ ... $$ {#eq-word-...}` with an id that starts with the chapter's word."
    for c, tex, id in ch.equations:
        if not id:
            yield f'{c.where}: the equation {shorten(tex)} has no id'
        elif not id.startswith('eq-'):
            yield f'{c.where}: the id {id} does not start with eq-'
    for c in ch.markdown:
        if m := MIXES.search(c.plain):  # aligned inside $$ is fine
            yield f'{c.where}: {m[0]} is not allowed; a displayed equation stands between $$ and $$'


def equations_are_checked(ch, book):
    "Every equation has an executed check('eq-...') in its chapter whose result is printed, and no check names an unknown one."
    executed = {id for c, id in ch.checks if c.executed}
    printed = set(re.findall(r'^(eq-[\w-]+): (?:largest error|holds in)', '\n'.join(c.text for c in ch.code), re.M))
    ids = {id for _, _, id in ch.equations}
    for c, _, id in ch.equations:
        if id and id not in executed:
            yield f"{c.where}: no executed cell of the chapter calls check('{id}', ...)"
        elif id and id not in printed:
            yield f"{c.where}: no stored output shows the result of check('{id}', ...); run the chapter"
    yield from (f"{c.where}: check('{id}') names no equation of this chapter" for c, id in ch.checks if id not in ids)


def claims_are_measured(ch, book):
    "Every sentence that names a claim has an executed claim('claim-...') whose result is printed, and every claim has its sentence."
    executed = {id for c, id in ch.claims if c.executed}
    printed = set(re.findall(r'^(claim-[\w-]+): ', '\n'.join(c.text for c in ch.code), re.M))
    named = {id for _, id in ch.claimed}
    for c, id in ch.claimed:
        if id not in executed:
            yield f"{c.where}: no executed cell of the chapter calls claim('{id}', ...)"
        elif id not in printed:
            yield f"{c.where}: no stored output shows the result of claim('{id}', ...); run the chapter"
    yield from (f"{c.where}: no sentence names claim('{id}'); put <!-- {id} --> behind it" for c, id in ch.claims if id not in named)
    yield from (
        f'{c.where}: {id} does not start with claim-{ch.word.replace("_", "-")}-'
        for c, id in ch.claimed
        if not id.startswith(f'claim-{ch.word.replace("_", "-")}-')
    )


def bare_comparisons(ch):
    "Sentences of the summary that compare and name neither a claim nor an equation."
    text = INLINE_CODE.sub(' x ', FENCE.sub('\n', ch.section('Summary') or ''))
    for sentence in re.split(r'(?<=[.!?;])\s+(?!<!--)|\n\n|\n- ', text):
        if COMPARES.search(sentence) and not CLAIM.search(sentence) and '@eq-' not in sentence:
            yield ' '.join(sentence.split())


def summaries_are_measured(ch, book):
    "A summary compares only what a claim or an equation of the book backs."
    yield from (f'{ch.name}, Summary: nothing backs {s!r}' for s in bare_comparisons(ch) if ch.taught)


def references_resolve(ch, book):
    "Every @eq-, @fig-, @sec-, @tbl- and every citation names something that exists."
    for c in ch.markdown:
        text = DISPLAY.sub(' ', c.plain)
        text = INLINE.sub(' ', text)
        yield from (f'{c.where}: @{r} is not defined in the book' for r in REFERENCE.findall(text) if r not in book.labels)
        yield from (f'{c.where}: @{k} is not in references.bib' for k in CITATION.findall(text) if k not in book.keys)


def links_resolve(ch, book):
    "Every relative link, image and anchor leads somewhere."
    for c in ch.markdown:
        for target in LINK.findall(c.plain) + HTML_LINK.findall(c.plain):
            if problem := broken(target, ch, book):
                yield f'{c.where}: {problem}'


def broken(target, ch, book):
    if re.match(r'[a-z][\w+.-]*:', target):
        return None if target.startswith(('https://', 'mailto:')) else f'{target}: only https links'
    name, _, anchor = target.partition('#')
    path = (book.nbs / name) if name else ch.path
    if not path.exists():
        return f'{target}: there is no {name} in {book.nbs.name}/'
    other = ch if not name else next((o for o in book.chapters if o.name == name), None)
    if anchor and other and anchor not in other.anchors:
        return f'{target}: {other.name} has no anchor #{anchor}'
    if anchor and path.suffix == '.qmd' and f'{{#{anchor}}}' not in path.read_text(encoding='utf-8'):
        return f'{target}: {name} has no anchor #{anchor}'


def formulas_parse(ch, book):
    "Every TeX formula, inline ones too, is read by a converter to MathML that knows all its commands."
    for c in ch.markdown:
        text = c.plain
        formulas = [m[1] for m in DISPLAY.finditer(text)] + [m[1] for m in INLINE.finditer(DISPLAY.sub(' ', text))]
        yield from (f'{c.where}: {shorten(tex)}: {problem}' for tex in formulas if (problem := bad_tex(tex)))
        rest = INLINE.sub(' ', DISPLAY.sub(' ', text))
        if '$$' in rest:
            yield f'{c.where}: a $$ without its partner'


def bad_tex(tex):
    from latex2mathml.converter import convert

    if re.search(r'\\(newcommand|def|require|label|tag|nonumber)\b', tex):
        return 'a command that does not render everywhere'
    depth = 0
    for token in re.findall(r'\\.|[{}]', tex):
        depth += {'{': 1, '}': -1}.get(token, 0)
        if depth < 0:
            break
    if depth:
        return 'braces do not balance'
    if len(re.findall(r'\\left\b', tex)) != len(re.findall(r'\\right\b', tex)):
        return '\\left and \\right do not balance'
    if sorted(re.findall(r'\\begin\{(\w+)', tex)) != sorted(re.findall(r'\\end\{(\w+)', tex)):
        return '\\begin and \\end do not balance'
    try:
        out = convert(tex)
    except Exception as error:  # the converter has a dozen kinds of errors
        return f'{type(error).__name__} {error}'.strip()
    if m := re.search(r'\\[A-Za-z]+', out):
        return f'unknown command {m[0]}'


BAD_OUTPUT = {
    'a path of a machine': re.compile(
        r'(?<![\w:/.])/(?:home|root|tmp|work|usr|opt|var|mnt|Users|content|private)/[\w.-]+|site-packages|ipykernel_\d|[A-Z]:\\\\?\w'
    ),
    'a warning': re.compile(r'\b\w*Warning\b:|\bwarn\('),
    'a traceback': re.compile(r'Traceback \(most recent call last\)'),
    'a timing': re.compile(r'Wall time|CPU times|\b\d+(?:\.\d+)?(?:e-?\d+)?[ ]?(?:ms|µs|us|ns|s|sec|secs|seconds|minutes)\b|\b(?:it|images|img)/s\b'),
    'a progress bar': re.compile(r'\d+%\||\bs/it\b|\bit/s\b|\r(?!\n)'),
    'an address': re.compile(r'\b(?:at )?0x[0-9a-f]{6,}'),
}


def outputs_are_clean(ch, book):
    "No output holds a path, a warning, a traceback, a timing or a progress bar."
    for c in ch.code:
        for o in c.outputs:
            if o.get('output_type') == 'error':
                yield f'{c.where}: ends in the error {o.get("ename")}: {o.get("evalue")}'
            if o.get('name') == 'stderr':
                yield f'{c.where}: writes to stderr: {"".join(o.get("text", ""))[:80]!r}'
        measured = re.search(r"\.json|'(reliability|speed|seeds|floors)'", c.source)  # numbers read from a committed result file do not change from run to run
        printed = re.sub(r'base64,[\w+/=]+', '', c.printed)  # a sound in a page is no text
        for what, pattern in BAD_OUTPUT.items():
            if (m := pattern.search(printed)) and not (what == 'a timing' and measured):
                yield f'{c.where}: output holds {what}: {m[0]!r}'
        if c.executed and not c.outputs and re.search(r"^check\('eq-", c.source, re.M):
            yield f'{c.where}: has no stored output; run the chapter'


def notebook_is_small(ch, book):
    "A notebook is under 500 kB, outputs and all."
    if (size := ch.path.stat().st_size) >= 500_000:
        yield f'{ch.name}: {size:,} bytes, expected under 500,000'


def figures_are_labelled(ch, book):
    "A cell that shows a picture has `#| label: fig-...` and `#| fig-cap: ...`, and the caption can be read aloud."
    for c in ch.code:
        label, caption = c.option('label'), c.option('fig-cap')
        if c.picture and not c.has('hide') and not (label or '').startswith('fig-'):
            yield f'{c.where}: shows a picture and has no "#| label: fig-..."'
        if (label or '').startswith('fig-') and len(caption or '') < 15:
            yield f'{c.where}: {label} has no caption that says what is seen'
        if (label or '').startswith('fig-') and ch.read and len(c.option('fig-alt') or '') < 15:
            yield f'{c.where}: {label} has no fig-alt, which tells a listener what is to be seen'
        if (label or '').startswith('fig-') and not c.picture and not c.has('slow'):
            yield f'{c.where}: {label} has no stored picture; run the chapter'


DOORS = {  # written by hand -> the modules that may enter
    'bags': ('core',), 'checks': ('core',), '_modidx': ('core',), 'devices': ('training',), 'diagnosis': ('training',), 'published': ('pretrained',), 'exercises': ('museum',),
    'store': ('plots', 'data', 'text', 'training', 'scale', 'metrics', 'pretrained', 'stable_diffusion', 'cascades'),
}  # fmt: skip


PROGRAMS = {'own': 47}  # written by hand -> the chapter that shows it
START = (8, 9)  # they show the finished book before it is explained, and may import all of it


def imports_look_back(ch, book):
    "A notebook imports only modules of notebooks that come before it, but for the two that start the book; none imports nbdev; no star imports; matplotlib only in plots."
    for c in ch.code:
        for node in ast.walk(c.tree):
            if isinstance(node, ast.ImportFrom) and any(a.name == '*' for a in node.names):
                yield f'{c.where}: star import from {node.module}'
            for name in imported(node):
                top, _, module = name.partition('.')
                if top == 'nbdev':
                    yield f'{c.where}: imports nbdev'
                if top in ('matplotlib', 'mpl_toolkits', 'seaborn', 'plotly') and 'plots' not in ch.modules:
                    yield f'{c.where}: imports {top}; figures are drawn by diffbook.plots'
                if ch.number in START:
                    continue
                if top == 'diffbook' and module and (owner := owner_of(module, book)) is None:
                    if module == 'moved' or ch.number == PROGRAMS.get(module) or set(ch.modules) & set(DOORS.get(module.partition('.')[0], ())):
                        continue
                    if any(m.startswith(f'{module}.') for m in book.owner):
                        continue
                    yield f'{c.where}: imports diffbook.{module}, which no notebook exports'
                elif top == 'diffbook' and module and owner.name > ch.name:
                    yield f'{c.where}: imports diffbook.{module} of the later chapter {owner.name}'


def imported(node):
    "The modules an import names; `from diffbook import a` names diffbook.a."
    if isinstance(node, ast.Import):
        return [a.name for a in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        if node.module == 'diffbook' or node.module in ('diffbook.nets', 'diffbook.exercises'):
            return [f'{node.module}.{a.name}' for a in node.names if not a.name.startswith('__')]
        return [node.module]
    return []


def owner_of(module, book):
    return book.owner.get(module)


def cells_are_short(ch, book):
    "Shown code cells: none above 30 lines; in a taught chapter the median is at most 6 and nine in ten have at most 15."
    shown = [c for c in ch.code if c.shown]
    if not shown:
        return
    lines = sorted(c.lines for c in shown)
    yield from (f'{c.where}: {c.lines} lines, at most 30' for c in shown if c.lines > 30)
    if not ch.taught:
        return
    if (middle := statistics.median(lines)) > 6:
        yield f'{ch.name}: the median code cell has {middle:g} lines, at most 6'
    long = [c for c in shown if c.lines > 15]
    if len(long) > len(shown) / 10:
        names = ', '.join(f'{c.id} ({c.lines})' for c in long)
        yield f'{ch.name}: {len(long)} of {len(shown)} code cells have more than 15 lines, at most one in ten: {names}'


def chapter_is_whole(ch, book):
    "A taught chapter has Summary, Exercises, Sources, and 1,200 to 2,800 words, questions and exercises among them."
    if not ch.taught:
        return
    yield from (f'{ch.name}: no section "## {t}"' for t in ('Summary', 'Exercises', 'Sources') if ch.section(t) is None)
    if not 1200 <= ch.words <= 2800:
        yield f'{ch.name}: {ch.words:,} words of prose, expected 1,200 to 2,800'


def exercises_answer(ch, book):
    "A taught chapter has four exercises or more, two or more are graded, and each graded one has a solution that is run."
    if not ch.taught:
        return
    if len(ch.asked) < 4:
        yield f'{ch.name}: exercises {ch.asked}, expected four or more, named {ch.number:02d}-1, {ch.number:02d}-2, ...'
    graded = [id for id in ch.graded if id in ch.asked]
    if len(graded) < 2:
        yield f'{ch.name}: graded exercises {graded}, expected two or more'
    anywhere = {id for other in book.chapters for id in other.asked}
    yield from (f'{ch.name}: exercise {id} is graded and not listed' for id in ch.graded if id not in anywhere)
    solved = {id: code for _, id, code in ch.solutions}
    yield from (f'{ch.name}: exercise {id} has no solution' for id in ch.asked if id not in solved)
    for id in graded:
        if id in solved and not any(re.search(rf'grade\(\s*["\']{id}["\']', code) for code in solved[id]):
            yield f'{ch.name}: the solution of {id} does not call grade("{id}", ...)'


def opens_with_a_box(ch, book):
    "A chapter that is read opens with a box whose four lines say what, how long, what is needed and what may be skipped; the minutes are those that are counted."
    if not ch.read:
        return
    if ch.box is None:
        yield f'{ch.name}: no markdown cell with the id "box"'
        return
    yield from (f'{ch.box.where}: no "**{line}**"' for line in BOX if f'**{line}' not in ch.box.source)
    if ch.box.index > 8 or (found := MINUTES.search(ch.box.source)) is None:
        yield f'{ch.box.where}: expected among the first cells, with "**Time:** N minutes for the first reading, M for the second; ..."'
        return
    for said, counted, which in zip(found.groups(), map(minutes, ch.readings), ('first', 'second')):
        if abs(int(said or 0) - counted) > max(2, 0.1 * counted):
            yield f'{ch.box.where}: says {said or 0} minutes for the {which} reading, and {counted:.0f} are counted'


A_MINUTE, AN_EQUATION, A_LINE = 180, 4 / 3, 5.6 / 60  # words; minutes of an equation and of a line of code, as tools/reading.py fits them


def minutes(sections):
    "Minutes to follow some sections, (heading, cells) each: their words, their equations, and the code in sight. Folds and the box are left out."
    cells = [c for _, cells in sections for c in cells]
    text = '\n\n'.join(c.source for c in cells if c.kind == 'markdown' and c.id != 'box')
    seen = [c for c in cells if c.kind == 'code' and not c.has('hide', 'fold') and c.option('code-fold') != 'true']
    return words_of(text) / A_MINUTE + AN_EQUATION * len(DISPLAY.findall(FOLD.sub(' ', text))) + A_LINE * sum(c.lines for c in seen)


def second_readings_come_last(ch, book):
    "Once a heading says (second reading), all do until the Summary: the first reading stands first and is whole."
    headings = [m[1] for c in ch.markdown for m in re.finditer(r'^## (.*)', c.source, re.M)]
    seen = None
    for h in headings:
        if re.match(r'(Summary|Exercises|Sources)\b', h):
            break
        if '(second reading)' in h:
            seen = h
        elif seen:
            yield f'{ch.name}: "{h}" stands after "{seen}" and does not say (second reading)'


def first_readings_are_derived(ch, book):
    "Each numbered equation of a first reading is named by a mark `<!-- derived eq-... -->` where its derivation ends, or `<!-- defined eq-... -->`."
    if not ch.read:
        return
    first = '\n'.join(c.source for _, cells in ch.readings[0] for c in cells if c.kind == 'markdown')
    shown = [m[3] for m in DISPLAY.finditer(FENCE.sub('', first)) if m[3]]
    named = {id for m in DERIVED.finditer('\n'.join(c.source for c in ch.markdown)) for id in m[1].split()}
    yield from (f'{ch.name}: {id} stands in the first reading without a derivation (<!-- derived {id} -->)' for id in shown if id not in named)
    known = {id for _, _, id in ch.equations}
    yield from (f'{ch.name}: {id} is marked as derived and stands nowhere' for id in sorted(named - known))


def sections_ask(ch, book):
    "Each section of a first reading ends with a graded question; a chapter has five or more graded ones; solutions stand right below, in appendices too."
    if ch.number < PRIMER:
        return
    text = '\n\n'.join(c.source for c in ch.markdown)
    turns = TURN.findall(text)
    for heading, cells in ch.readings[0] if ch.read else ():
        if heading and not any(TURN.search(c.source) for c in cells if c.kind == 'markdown'):
            yield f'{ch.name}: section "{heading}" asks nothing (**Your turn ({ch.number:02d}-a).**)'
    for id in sorted(set(turns) ^ set(ch.questions)):
        yield f'{ch.name}: question {id} ' + ('has no grader: question(...)' if id in turns else 'is graded and not asked')
    for id in turns:
        below = text.split(f'**Your turn ({id}).**', 1)[1][:1500]
        if f'<summary>Solution {id}' not in below or f'grade("{id}"' not in below:
            yield f'{ch.name}: below question {id} stand no grade("{id}", ...) and no Solution {id}'
    if ch.read and (n := len(turns) + len([id for id in ch.graded if id in ch.asked])) < 5:
        yield f'{ch.name}: {n} graded questions, expected five or more'


def grades_are_imported(ch, book):
    "The first printed call of `grade` comes with its import, or a cell above it has one: a reader's notebook knows no other."
    for cell in ch.cells:
        for code in [cell.source] if cell.kind == 'code' else PYTHON.findall(FOLD.sub('', cell.source)):
            if first := GRADE.search(code):
                if first[0] == 'grade(':
                    yield f'{cell.where}: the first `grade(...)` of the chapter stands without `from diffbook.exercise import grade`'
                return


def solutions_stand_below(ch, book):
    "The solution of an exercise stands between it and the next one."
    text = ch.section('Exercises') or ''
    order = re.findall(rf'^\*\*({ch.number:02d}-\d+)|<summary>\s*Solution\s+(\d\d-\d+)', text, re.M)
    for (asked, _), (_, solved) in zip(order, order[1:] + [('', '')]):
        if asked and solved != asked:
            yield f'{ch.name}: the solution of {asked} does not stand right below it'


def unexplained(ch, book):
    "(cell, paragraph, term) of the first use of each glossary term that stands there unexplained; none for tools and appendices."
    if not ch.read:
        return
    unseen = [term for term in book.terms if term.form and term.chapter >= ch.number]
    home = {other.number: other for other in book.chapters}
    for c, text in ch.paragraphs:
        for term in [term for term in unseen if term.form.search(text)]:
            unseen.remove(term)
            bold = [m[1] for m in re.finditer(r'\*\*(.+?)\*\*', text, re.S) if len(m[1].split()) <= len(term.word.split()) + 2]
            links = [m for m in re.finditer(r'\[((?:[^\]\\]|\\.)*)\]\(([^)\s]+)\)', text)]
            shown = any(term.form.search(words) for words in [*bold, *(m[1] for m in links)])  # a link with its name leads to what explains it
            if (owner := home.get(term.chapter)) and owner is not ch:  # and so does a pointer to its chapter
                shown = shown or f'@sec-{owner.word}' in text or any(m[2].startswith(owner.name) for m in links)
            if not shown:
                yield c, text, term


def words_are_introduced(ch, book):
    """Up to the chapter that explains it, the first use of a glossary term explains it or leads there.

    That is: it is bold, or a link to what explains it, or its paragraph names the chapter that does.
    """
    for c, text, term in unexplained(ch, book):
        used = term.form.search(text)[0].replace('\n', ' ')
        yield f'{c.where}: "{used}" is used before it is introduced: **bold** where chapter {term.chapter:02d} explains it, or [{used}](91_words.qmd#{term.slug}), which python -m tools.words --link {ch.number} writes'


FORBIDDEN_MODULES = {'pickle', 'cPickle', 'marshal', 'shelve', 'dill', 'cloudpickle', 'joblib'}
FORBIDDEN_CALLS = {
    'eval',
    'exec',
    'torch.load',
    'yaml.load',
    'yaml.unsafe_load',
    'yaml.full_load',
    'os.system',
    '__import__',
}
RANDOM = re.compile(r'torch\.(rand|randn|randint|randperm|normal|bernoulli|multinomial|poisson|rand_like|randn_like|randint_like)$')
GLOBAL_RANDOM = re.compile(
    r'(np|numpy)\.random\.(?!default_rng|Generator|Philox|SeedSequence)\w+$|random\.(random|seed|shuffle|choice|choices|sample|gauss|uniform|randint|randrange)$|torch\.(manual_seed|seed)$'
)


def unsafe(source, where):
    "Calls and imports that read code from data."
    for node in ast.walk(ast.parse(source)):
        for name in imported(node):
            if name.split('.')[0] in FORBIDDEN_MODULES:
                yield f'{where}, line {node.lineno}: imports {name}'
        if isinstance(node, ast.Call):
            name = called(node)
            if name in FORBIDDEN_CALLS:
                yield f'{where}, line {node.lineno}: calls {name}'
            given = {k.arg: k.value for k in node.keywords}
            if name in ('np.load', 'numpy.load') and not is_false(given.get('allow_pickle')):
                yield f'{where}, line {node.lineno}: {name} without allow_pickle=False'
            if 'weights_only' in given and name.endswith('load'):
                yield f'{where}, line {node.lineno}: {name} reads pickles'


def is_false(node):
    return isinstance(node, ast.Constant) and node.value is False


def hidden_randomness(source, where):
    "Calls that draw from a global random state."
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = called(node)
            bare = RANDOM.match(name) and not any(k.arg in ('generator', None) for k in node.keywords)
            if bare or GLOBAL_RANDOM.match(name):
                yield f'{where}, line {node.lineno}: {name} draws from the global random state; pass generator='
            method = name.split('.')[-1]
            if method in ('normal_', 'uniform_', 'bernoulli_', 'exponential_') and 'init' not in name and not any(k.arg == 'generator' for k in node.keywords):
                yield f'{where}, line {node.lineno}: .{method} draws from the global random state; pass generator='


def cells_are_safe(ch, book):
    "No pickle, no eval, no torch.load: not in cells and not in solutions."
    for c in ch.code:
        yield from unsafe(c.source, c.where)
    for c, id, blocks in ch.solutions:
        for code in blocks:
            yield from unsafe(code, f'{c.where}, solution {id}')


FORBIDDEN_IMPORTS = [  # who never imports whom; what may stand above what is drawn in CONTRIBUTING.md
    ('samplers', 'nets'),
    ('training', 'losses'),
    ('training', 'schedules'),
    ('schedules', 'nets'),
    ('editing', 'nets'),
    ('inverse', 'nets'),
    ('guidance', 'nets'),
    ('', 'cli'),
]
ALLOWED_IMPORTS = {  # rooms that may import these alone, and themselves
    'core': ('checks', 'bags', '_modidx'),
    'checks': (),
    'bags': (),
    'nets': ('core', 'gaussian'),
    'store': ('core',),
}
ENTRANCES = {  # rooms behind the book, and who may enter them
    'published': ('pretrained',),
    'store': (
        'cascades',
        'cli',
        'convert',
        'data',
        'demo',
        'diagnosis',
        'export',
        'hub',
        'metrics',
        'own',
        'plots',
        'published',
        'runs',
        'scale',
        'stable_diffusion',
        'text',
        'training',
    ),
}


def imports_of(source, module='', typing=True):
    "Names of diffbook modules that a module imports, relative imports (written by nbdev) included; not those for type checkers alone, if `typing` is false."
    tree = ast.parse(source)
    if not typing:
        tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test))]
    package = module.split('.')[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: max(0, len(package) - node.level + 1)]
            yield from ['.'.join([*base, node.module])] if node.module else ['.'.join([*base, a.name]) for a in node.names]
        for name in imported(node):
            if name.startswith('diffbook.'):
                yield name.removeprefix('diffbook.')


def wrong_direction(module, source):
    "Imports that the design forbids: nets know nothing of diffusion, samplers nothing of nets, the book nothing of strangers' files but at its doors."
    within = lambda name, room: room == '' or name == room or name.startswith(f'{room}.')  # noqa: E731
    for name in (
        set(imports_of(source, module)) - {'moved'} - ({'cli'} if module == '__main__' else set())
    ):  # which any module may use, to say where its names went
        forbidden = any(within(module, who) and within(name, whom) and not within(module, whom) for who, whom in FORBIDDEN_IMPORTS)
        beyond = any(within(module, room) and not any(within(name, other) for other in (room, *others)) for room, others in ALLOWED_IMPORTS.items())
        uninvited = any(within(name, room) and not any(within(module, other) for other in (room, *guests)) for room, guests in ENTRANCES.items())
        if forbidden or beyond or uninvited:
            yield f'diffbook/{module.replace(".", "/")}.py imports {name}'


def room_of(module):
    "The room of a module in the drawing of the house: a package is one room, but for the nets."
    top, _, rest = module.partition('.')
    return module if top == 'nets' else top


def drawn(text):
    "The rooms on each floor of the house, from the top: what stands behind the bars of the drawing in CONTRIBUTING.md."
    (block,) = re.findall(r'^```text\n *THE HOUSE\n(.*?)^```', text, re.M | re.S)
    lines = [line.partition('|')[2] for line in block.splitlines() if '|' in line]
    return [re.findall(r'[a-z_]+(?:/[a-z_0-9]+)?', line) for line in lines]


def climbs(floors, sources):
    "Imports that run up in the drawing, rooms that are not drawn, and rooms that are drawn and not there; `sources` are modules by name."
    height = {room.replace('/', '.'): k for k, rooms in enumerate(floors) for room in rooms}
    rooms = {room_of(module) for module in sources}
    yield from (f'{room} is not drawn' for room in sorted(rooms - height.keys()))
    yield from (f'{room} is drawn and not there' for room in sorted(height.keys() - rooms))
    for module, source in sources.items():
        for name in sorted(set(imports_of(source, module, typing=False))):
            mine, other = room_of(module), room_of(name if name in sources else name.rpartition('.')[0])
            if other in height and mine in height and mine != other and height[other] <= height[mine]:
                yield f'{module} imports {name}, which is drawn on the same floor or above'


def looks_ahead(module, source, book):
    "Imports of a module from chapters that come later. Graders may use anything up to their own chapter, and `exercise`."
    owner, grader = book.owner.get(module), module.startswith('exercises.')
    for name in imports_of(source, module):
        other = book.owner.get(name)
        ahead = other and owner and not (grader and name == 'exercise') and (other.number > owner.number or (other.name > owner.name and not grader))
        if ahead:
            yield f'diffbook/{module.replace(".", "/")}.py, of {owner.name}, imports {name} of {other.name}'


def shorten(tex):
    tex = ' '.join(tex.split())
    return f'${tex[:60]}{"..." if len(tex) > 60 else ""}$'


# Rules of the book as a whole: book -> what is wrong


def labels_are_unique(book):
    "No two equations, figures, tables or sections share a label."
    for label, n in book.labels.items():
        if n > 1:
            where = [ch.name for ch in book.chapters if label in json.dumps([c.source for c in ch.cells])]
            yield f'{label} is defined {n} times ({", ".join(where)})'
    yield from (f'references.bib: {k} stands {n} times' for k, n in Counter(book.keys).items() if n > 1)


def words_are_unique(book):
    "Pages drop the number of their chapter, so names are unique without it."
    for word, n in Counter(ch.word for ch in book.chapters).items():
        if n > 1:
            yield f'{n} chapters are called {word}'


def modules_have_one_owner(book):
    "Each module is the default_exp of one notebook."
    count = Counter(d.split()[1] for ch in book.chapters for c in ch.code for d in c.directives if d.startswith('default_exp '))
    yield from (f'{n} notebooks say default_exp {m}' for m, n in count.items() if n > 1)


def bibliography_is_cited(book):
    "Every entry of the bibliography is cited in a chapter."
    texts = [c.plain for ch in book.chapters for c in ch.markdown] + [c.source for ch in book.chapters for c in ch.code]
    cited = {key for text in texts for key in CITATION.findall(text)}
    yield from (f'references.bib: {key} is cited nowhere' for key in book.keys if key not in cited)


CHAPTER_RULES = [
    cells_have_ids,
    code_parses,
    title_cell,
    equations_have_ids,
    equations_are_checked,
    claims_are_measured,
    summaries_are_measured,
    references_resolve,
    links_resolve,
    formulas_parse,
    outputs_are_clean,
    notebook_is_small,
    figures_are_labelled,
    imports_look_back,
    cells_are_short,
    chapter_is_whole,
    opens_with_a_box,
    second_readings_come_last,
    first_readings_are_derived,
    sections_ask,
    exercises_answer,
    grades_are_imported,
    solutions_stand_below,
    words_are_introduced,
    cells_are_safe,
]
BOOK_RULES = [labels_are_unique, words_are_unique, modules_have_one_owner, bibliography_is_cited]
