"""What nbdev does to each notebook on its way to the site. settings.ini names these processors; the package does not need them."""

import ast
import json
import re
from pathlib import Path

import yaml
from execnb.nbio import mk_cell

from tools.references import short

ROOT = Path(__file__).parent.parent
DISPLAY = re.compile(r'\$\$\n?[^$]+?\$\$[ \t]*\{#(eq-[\w-]+)\}')
RESULT = re.compile(r'^(eq-[\w-]+): largest error (.+)$', re.M)
TRIED = re.compile(r'^(eq-[\w-]+): (holds in .+)$', re.M)
CLAIM = re.compile(r'<!-- (claim-[a-z0-9-]+) -->')
CLAIMED = re.compile(r'^(claim-[\w-]+): (.+)$', re.M)


def site_form(cell):
    "Take the form that the site resolves: labels and references in place of the numbers and links of the notebook."
    if cell.get('source'):
        cell.source = short(cell.cell_type, cell.source)
    cell.metadata = {}  # what closes a cell in Jupyter; here `code-fold` does
    if 'fold' in marks_of(cell) and not only_imports(cell):  # those are folded below
        cell.source = f'#| code-fold: true\n{cell.source}'


PICTURES = re.compile(r'\b(images|imshow|montage|film|strip|pcolormesh|contourf|gallery)\(')


def curves_apart(cell):
    "Mark figures that are curves on white paper: the dark page turns their paper over, and leaves pictures as they are."
    drawn = any('image/png' in output.get('data', {}) for output in cell.get('outputs') or ())
    if cell.cell_type == 'code' and drawn and not PICTURES.search(cell.source):
        cell.source = f'#| classes: curves\n{cell.source}'


def sounds_as_text(cell):
    "Give sounds as text that holds HTML: an output that *is* HTML makes Quarto load scripts from other hosts."
    for output in cell.get('outputs') or ():
        said = output.get('data', {}).get('text/html', '')
        if (html := said if isinstance(said, str) else ''.join(said)).lstrip().startswith('<audio'):
            output['data'] = {'text/markdown': f'```{{=html}}\n{html}\n```\n'}


def text_of(output):
    value = output.get('text', '')
    return value if isinstance(value, str) else ''.join(value)


def marks_of(cell):
    return getattr(cell, 'directives_', None) or {}


def hide_cells(cell):
    "Drop cells that are hidden or only name the module. Exported ones stay: in a textbook the code is the text."
    marks = marks_of(cell)
    grader = any(str(target).startswith('exercises.') for target in marks.get('export', []))
    if marks.keys() & {'hide', 'default_exp'} or grader:
        del cell['source']


class ledger_lines:
    "Put what was measured, read from the stored outputs of `check`, `below` and `claim`, beside each equation and each claim."

    def __init__(self, nb):
        self.nb = nb

    def begin(self):
        stored = json.loads(Path(self.nb.path_).read_text(encoding='utf-8'))
        outputs = [o for c in stored['cells'] for o in c.get('outputs', [])]  # those of hidden cells too
        self.errors, self.tried = (dict(pair for o in outputs for pair in form.findall(text_of(o))) for form in (RESULT, TRIED))
        shown = [o for c in stored['cells'] for o in c.get('outputs', []) if not re.search(r'^#\| hide$', ''.join(c['source']), re.M)]
        self.shown = {id for o in shown for form in (RESULT, TRIED) for id, _ in form.findall(text_of(o))}
        self.claimed, self.placed = {}, set()
        for word, said in (pair for o in outputs for pair in CLAIMED.findall(text_of(o))):
            self.claimed.setdefault(word, {})[said] = True  # all that was measured for it, each once

    def __call__(self, cell):
        if cell.cell_type == 'markdown':
            cell.source = CLAIM.sub(self.interval, DISPLAY.sub(self.line, cell.source))
        elif cell.get('outputs'):
            cell.outputs = [o for o in map(without_ledger, cell.outputs) if o is not None]

    def line(self, m):
        return beside(m[0], self.errors.get(m[1]), self.tried.get(m[1]), m[1] if m[1] in self.shown else None)

    def interval(self, m):
        if m[1] not in self.claimed:
            return m[0]
        said = '; '.join(self.claimed[m[1]])
        id = '' if m[1] in self.placed else f' #{m[1]}'  # the summary may say it again
        self.placed.add(m[1])
        title = 'Measured when this page was made, or read from a committed result; the interval holds 95 %'
        return f'[✓ {said}]{{.claim{id} title="{title}"}}'


def without_ledger(output):
    "An output without the lines that stand beside the equations; None if nothing else was said."
    text = text_of(output)
    if not (RESULT.search(text) or TRIED.search(text)):
        return output
    rest = [line for line in text.splitlines(keepends=True) if not (RESULT.match(line) or TRIED.match(line))]
    return {**output, 'text': rest} if ''.join(rest).strip() else None


def beside(equation, error, tried=None, id=None):
    "The equation and, under it, how far apart its two sides were found, or on how many cases an inequality was tried."
    if error is None and tried is None:
        return equation
    said = f'tried: {tried}' if error is None else 'checked: no difference' if error == '0' else f'checked: largest error {error}'
    title = 'Both sides were computed when this page was made; this is how far apart they came out'
    said = f'[{said}](#check-{id})' if id else said  # leads to the cell that did it
    return f'\n\n{equation}\n\n::: {{.ledger title="{title}"}}\n✓ {said}\n:::\n\n'


class anchors:
    "Put an anchor before each exported definition, so that its name can be linked to from other chapters, and before each check."

    def __init__(self, nb):
        self.nb = nb

    def begin(self):
        raw = json.loads(Path(self.nb.path_).read_text(encoding='utf-8'))['cells']
        cells, stored, seen = [], {c.get('id'): c.get('outputs', []) for c in raw}, set()
        taken = {word.lower() for c in self.nb.cells if c.cell_type == 'markdown' for word in re.findall(r'^#+ (\w+)$', c.source, re.M)}  # by headings
        for cell in self.nb.cells:
            words = [w for w in dict.fromkeys(name.lower() for name in defined(cell)) if w not in taken]
            taken.update(words)
            checked = [
                id
                for id in dict.fromkeys(id for o in stored.get(cell.get('id'), ()) for form in (RESULT, TRIED) for id, _ in form.findall(text_of(o)))
                if id not in seen
            ]
            seen.update(checked)
            spans = ''.join(f'[]{{#{word} .api-anchor}}' for word in [*words, *(f'check-{id}' for id in checked)])
            cells += [mk_cell(spans, cell_type='markdown'), cell] if spans else [cell]
            cell.id = f'cell-{cell.id}'  # Quarto makes an anchor of it, which must not be the name of a function
        self.nb.cells[:] = cells

    def __call__(self, cell):
        pass


def defined(cell):
    "Names of the functions, classes, methods and constants that an exported cell defines."
    if cell.cell_type != 'code' or not cell.get('source') or not marks_of(cell).keys() & {'export', 'exports'}:
        return []
    names = []
    for node in ast.parse(cell.source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(patched(node) or node.name)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.append(node.targets[0].id)
        if isinstance(node, ast.ClassDef):
            names += [f'{node.name}.{m.name}' for m in node.body if isinstance(m, ast.FunctionDef)]
    return [name for name in names if not name.split('.')[-1].startswith('_')]


def patched(node):
    "`Class.method` for a function under fastcore's @patch."
    arguments = node.args.args if isinstance(node, ast.FunctionDef) else []
    decorated = any(isinstance(d, ast.Name) and d.id == 'patch' for d in node.decorator_list)
    if decorated and arguments and isinstance(arguments[0].annotation, ast.Name):
        return f'{arguments[0].annotation.id}.{node.name}'


class fold_imports:
    "Fold cells that only import; neighbours become one."

    def __init__(self, nb):
        self.nb = nb

    def begin(self):
        cells = []
        for cell in self.nb.cells:
            if only_imports(cell) and cells and only_imports(cells[-1]):
                cells[-1].source += f'\n{cell.source}'
            else:
                cells.append(cell)
        self.nb.cells[:] = cells

    def __call__(self, cell):
        if only_imports(cell):
            cell.source = f'#| code-fold: true\n#| code-summary: "Imports"\n{cell.source}'


def only_imports(cell):
    if cell.cell_type != 'code' or not cell.get('source') or cell.get('outputs'):
        return False
    body = ast.parse(cell.source).body
    return bool(body) and all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body)


class chapter_head:
    "Open a chapter with its title, a label (`sec-` and its word), its one line, and buttons for Colab and download."

    def __init__(self, nb):
        self.nb = nb

    def __call__(self, cell):
        pass

    def end(self):
        name = Path(self.nb.path_).stem
        front = self.nb.cells[0]
        if not re.match(r'\d\d_', name) or front.cell_type != 'raw':
            return
        head = yaml.safe_load(front.source.strip().strip('-'))
        title, line = head.pop('title'), head.pop('description', '')
        front.source = f'---\n{yaml.dump(head)}---\n\n'
        word = name[3:]
        opening = f'# {title} {{#sec-{word}}}\n\n::: {{.chapter-line}}\n{line}\n:::\n\n{buttons(name)}'
        self.nb.cells.insert(1, mk_cell(opening, cell_type='markdown'))


def buttons(name):
    site = yaml.safe_load((ROOT / '_quarto.yml').read_text(encoding='utf-8'))['book']
    repo = site['repo-url'].removeprefix('https://github.com/')
    page = f'{repo}/blob/{site["repo-branch"]}/nbs/{name}.ipynb'
    issue = f'https://github.com/{repo}/issues/new?title=Chapter+{name[:2]}:+&body=On+the+page+{name[3:]}.html:+'
    links = {
        'Open in Colab': (f'https://colab.research.google.com/github/{page}', 'colab'),
        'Download': ('#notebook', f'download" download="{name}.ipynb'),
        'View source': (f'https://github.com/{page}', 'source'),
        'Report a problem': (issue, 'problem'),
    }
    made = ' '.join(f'`<a class="chapter-button {mark}" href="{address}">{word}</a>`{{=html}}' for word, (address, mark) in links.items())
    return f'::: {{.chapter-buttons}}\n{made}\n:::'
