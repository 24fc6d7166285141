"""The index of formulas: in step with notebooks and docstrings, and every name in it leads somewhere."""

import json
import re
from types import SimpleNamespace

import pytest

from tools import book, formulas, pages

BOOK = book.Book(formulas.ROOT / 'nbs')
FOUND = formulas.functions()
HOME = {id: ch for ch in BOOK.chapters for _, _, id in ch.equations}  # the chapter of each equation
CLAIMED = [id for id, ch in HOME.items() if ch.number in formulas.CLAIMED]


def wrong(f: formulas.Function) -> list[str]:
    "What is wrong with the equations that a docstring names."
    where, said = f'diffbook.{f.module}.{f.name}', []
    if f.mentioned != f.named:
        said.append(f'{where}: {", ".join(f.mentioned)}: expected at the end, as `(eq-a-b, eq-c-d).`')
    if not f.public:
        said.append(f'{where}: names an equation and is not exported')
    for id in f.named:
        if id not in HOME:
            said.append(f'{where}: no equation is called {id}')
        elif not f.chapter or int(f.chapter[:2]) > HOME[id].number:
            said.append(f'{where}: {id} stands in {HOME[id].name}, which may not import it')
    return said


def test_the_page_is_in_step():
    assert formulas.PAGE.read_text(encoding='utf-8') == formulas.page(BOOK, FOUND), 'run: make export'


def test_names_in_docstrings_are_equations_that_may_use_the_function():
    problems = [line for f in FOUND for line in wrong(f)]
    assert not problems, '\n'.join(problems)


def test_an_equation_that_code_computes_is_named_by_it():
    named = {id for f in FOUND for id in f.named}
    forgotten = [id for id in CLAIMED if id not in named and id not in formulas.WITHOUT]
    assert not forgotten, f'no docstring ends with {", ".join(forgotten)}, and WITHOUT in tools/formulas.py gives no reason'
    assert len(named & set(CLAIMED)) > len(CLAIMED) / 2, 'more excuses than functions'


def test_every_excuse_is_needed():
    named = {id for f in FOUND for id in f.named}
    assert not [id for id in formulas.WITHOUT if id in named or id not in CLAIMED]
    assert sum(len(words.split()) for words in formulas.REASONS.values()) == len(formulas.WITHOUT), 'two reasons for one equation'


def test_every_equation_is_listed_once_with_what_the_ledger_said():
    text = formulas.PAGE.read_text(encoding='utf-8')
    listed = re.findall(r'^@(eq-[\w-]+) · `(eq-[\w-]+)` · .*(?:largest error|no difference|holds in)', text, re.M)
    assert [a for a, b in listed if a == b] == list(HOME)


def test_every_claim_is_listed_once_with_its_sentence_and_what_was_measured():
    text = formulas.PAGE.read_text(encoding='utf-8').partition('## Every claim')[2]
    wanted = {id for ch in book.Book(formulas.ROOT / 'nbs').chapters for _, id in ch.claims}
    listed = re.findall(r'\[`(claim-[\w-]+)`\]\(\d\d_\w+\.ipynb#\1\)', text)
    assert len(wanted) > 150 and sorted(listed) == sorted(wanted) and '<!--' not in text
    assert len(re.findall(r'^\S.{20,} \[`claim-.*\n\n::: \{\.ledger\}\n.*\d.*\n:::$', text, re.M)) == len(re.findall(r'^:::$', text, re.M)) >= 0.8 * len(wanted)


def test_links_lead_to_anchors_of_the_site():
    text = formulas.PAGE.read_text(encoding='utf-8')
    links = set(re.findall(r'\((\d\d_\w+\.ipynb)#([\w.]+)\)', text))
    assert len(links) > 50
    for name, anchor in links:
        (chapter,) = (ch for ch in BOOK.chapters if ch.name == name)
        cells = [
            SimpleNamespace(
                cell_type='code',
                source=c.source,
                get={'source': c.source}.get,
                directives_=dict.fromkeys(d.split()[0] for d in c.directives),
            )
            for c in chapter.code
        ]
        assert anchor in {made.lower() for cell in cells for made in pages.defined(cell)}, f'{name}#{anchor}'


@pytest.mark.parametrize(
    'doc, named',
    [
        ('Mix them (eq-a-b).', ['eq-a-b']),
        ('Mix them (Ho et al. 2020, equation 4; eq-a-b, eq-c-d-e).', ['eq-a-b', 'eq-c-d-e']),
        ('Mix them. Ho et al. 2020.', []),
        ('Mix them (eq-a-b), and more.', []),
        ('Mix them, eq-a-b.', []),
        ('Mix them (eq-a-b eq-c-d).', []),
    ],
)
def test_one_form_is_read(doc, named):
    f = formulas.Function('gaussian', 'f', doc, '10_gaussian.ipynb', True)
    assert f.named == named
    assert any('expected at the end' in line for line in wrong(f)) == ('eq-' in doc and not named)


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(doc='As it is (eq-gaussian-posterior).'), None),
        (dict(doc='As it is (eq-gaussian-nothing).'), 'no equation is called eq-gaussian-nothing'),
        (dict(chapter='12_schedules.ipynb'), 'which may not import it'),
        (dict(chapter=''), 'which may not import it'),
        (dict(public=False), 'is not exported'),
    ],
)
def test_a_wrong_name_is_found(change, words):
    good = dict(module='gaussian', name='f', doc='As it is (eq-gaussian-density).', chapter='10_gaussian.ipynb', public=True)
    said = '\n'.join(wrong(formulas.Function(**{**good, **change})))
    assert words in said if words else not said


MODULE = '''
# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/12_good.ipynb.
__all__ = ['half', 'Walker']

def half(x):
    "Halve it (eq-good-half)."
    return x / 2

def _third(x):
    "In secret (eq-good-half)."

class Walker:
    "One who walks."

    def stop(self):
        "Stop."

@patch
def walk(self: Walker, n):
    """Take steps.

    Each of them is half of the one before (eq-good-half,
    eq-good-tried).
    """
'''
CELLS = [
    ('markdown', '# Good\n\n> A page'),
    ('markdown', '$$\ny =\n\\frac{x}{2}\n$$ {#eq-good-half}\n\nand $$x < 1$$ {#eq-good-tried}'),
    (
        'code',
        '#| export\ndef half(x): return x / 2',
        'eq-good-half: largest error 2e-16\neq-good-half: largest error 3e-12 relative\n',
    ),
    ('code', '1', 'eq-good-half: largest error 0\neq-good-tried: holds in 5 cases, smallest margin 1e-02\n'),
]


def test_a_page_made_of_a_small_book(tmp_path):
    (tmp_path / 'nbs').mkdir(), (tmp_path / 'diffbook').mkdir()
    (tmp_path / 'diffbook' / 'good.py').write_text(MODULE, encoding='utf-8')
    cells = [{'cell_type': kind, 'source': source, 'outputs': [{'output_type': 'stream', 'text': t} for t in said]} for kind, source, *said in CELLS]
    (tmp_path / 'nbs' / '12_good.ipynb').write_text(json.dumps({'cells': cells}), encoding='utf-8')
    found = formulas.functions(tmp_path / 'diffbook')
    assert [(f.name, f.public, f.chapter) for f in found] == [
        ('half', True, '12_good.ipynb'), ('_third', False, '12_good.ipynb'), ('Walker.walk', True, '12_good.ipynb')]  # fmt: skip
    text = formulas.page(book.Book(tmp_path / 'nbs'), [f for f in found if f.public])
    assert '## [Good](12_good.ipynb) {#formulas-good}' in text and '\n$$\ny = \\frac{x}{2}\n$$\n' in text
    assert (
        '@eq-good-half · `eq-good-half` · [`diffbook.good.half`](12_good.ipynb#half), [`diffbook.good.Walker.walk`](12_good.ipynb) · largest error 3e-12 relative\n'
        in text
    )
    assert '@eq-good-tried · `eq-good-tried` · [`diffbook.good.Walker.walk`](12_good.ipynb) · holds in 5 cases, smallest margin 1e-02\n' in text
    assert 'Of 2 equations 2 are computed' in text
