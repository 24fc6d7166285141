"""The glossary: in step with its file, complete, and every word of it is said where it claims to be explained."""

import json
import re

import pytest

from tools import book, words

BOOK = book.Book(words.ROOT / 'nbs')
TOLD = json.loads(words.SOURCE.read_text(encoding='utf-8'))
HOME = {chapter.number: chapter for chapter in BOOK.chapters}
PROSE = {n: '\n'.join(c.source for c in chapter.markdown) for n, chapter in HOME.items()}
HOUSE = [term for term in BOOK.terms if 'House word' in term.meaning]


def test_the_page_is_in_step():
    assert words.PAGE.read_text(encoding='utf-8') == words.page(), 'run: make export'


def test_there_are_many_words_and_each_has_one_anchor():
    slugs = [term.slug for term in BOOK.terms]
    assert len(slugs) >= 120 and len(set(slugs)) == len(slugs)
    page = words.PAGE.read_text(encoding='utf-8')
    anchors = re.findall(r'\{#([\w-]+)\}', page)
    assert len(set(anchors)) == len(anchors) and set(slugs) <= set(anchors)
    assert set(re.findall(r'\]\(#([\w-]+)\)', page)) <= set(anchors)


@pytest.mark.parametrize('term', BOOK.terms, ids=lambda term: term.slug)
def test_a_word_is_said_in_the_chapter_that_explains_it(term):
    assert term.chapter in HOME
    assert term.meaning[0].isupper() or term.meaning[0] in '$0123456789', term.meaning
    assert term.meaning.endswith('.') and len(term.meaning) > 15
    form = term.form or re.compile(re.escape(re.split('[ ,]', term.word)[0]), re.I)
    assert form.search(PROSE[term.chapter]), f'{term.word} does not stand in {HOME[term.chapter].name}'


def test_words_of_the_house_name_what_papers_say():
    assert len(HOUSE) >= 6
    assert not [term.word for term in HOUSE if not term.papers]


@pytest.mark.parametrize('row', TOLD['notation'], ids=lambda row: row['symbol'])
def test_formulas_of_the_page_can_be_set(row):
    formulas = [row['symbol'], *re.findall(r'\$(.+?)\$', row['meaning'])]
    assert not [said for tex in formulas if (said := book.bad_tex(tex))]
    assert '|' not in ''.join(row[k] for k in ('symbol', 'read', 'meaning', 'code'))
    assert row['chapter'] in HOME


def test_formulas_of_the_words_can_be_set():
    formulas = [tex for term in BOOK.terms for tex in re.findall(r'\$(.+?)\$', term.symbol + term.meaning)]
    assert len(formulas) > 50
    assert not [said for tex in formulas if (said := book.bad_tex(tex))]


def test_half_of_the_words_are_looked_for():
    assert sum(term.form is not None for term in BOOK.terms) > len(BOOK.terms) / 2


PAGE = """
=== markdown title
# Good

> A widget is spoken of here already
=== markdown box
> **You will be able to** make gizmos and widgets.
=== markdown text
## Gizmos

`gizmo` and $gizmo$ are no uses. Then two gizmos stand side
by side, and a **gizmo** is what everybody wants. A **gizmo** stays.

A bare widget.
"""


@pytest.fixture
def small(tmp_path):
    "A book of one page, 12, and a glossary of two words, the second explained in chapter 13."
    cells = [
        {'cell_type': kind, 'id': id, 'source': text.strip('\n').splitlines(keepends=True), 'metadata': {}}
        for kind, id, text in re.findall(r'^=== (\w+) (\w+)\n(.*?)(?=^===|\Z)', PAGE, re.M | re.S)
    ]
    (tmp_path / '12_good.ipynb').write_text(json.dumps({'cells': cells}), encoding='utf-8')
    entries = [
        {'word': 'gizmo', 'chapter': 12, 'meaning': 'A thing.', 'papers': 'gadget; thing', 'symbol': '$g$'},
        {'word': 'widget', 'chapter': 13, 'meaning': 'Another.', 'papers': 'gadget'},
        {'word': 'thing', 'chapter': 12, 'meaning': 'Anything.', 'pattern': ''},
    ]
    (tmp_path / 'words.json').write_text(json.dumps({'words': entries, 'notation': []}), encoding='utf-8')
    return book.Book(tmp_path)


def test_bare_words_become_links(small):
    (chapter,) = small.chapters
    assert [term.word for _, _, term in book.unexplained(chapter, small)] == ['widget']
    assert words.link(chapter, small) == 1
    again = book.Book(small.nbs)
    text = again.chapters[0].markdown[-1].source
    assert 'a [**gizmo**](91_words.qmd#gizmo) is' in text and 'A **gizmo** stays.' in text and 'A bare [widget](91_words.qmd#widget).' in text
    assert '`gizmo` and $gizmo$ are no uses. Then two gizmos' in text
    assert not list(book.unexplained(again.chapters[0], again))
    assert words.link(again.chapters[0], again) == 0


def test_a_page_of_a_small_glossary(small):
    (small.nbs / '13_later.ipynb').write_text('{"cells": []}')
    text = words.page(small.nbs)
    assert '**[gizmo]{#gizmo}** · $g$ · [12](12_good.ipynb)\n\n:   A thing. *In papers:* gadget; thing.\n' in text
    assert '| gadget | [gizmo](#gizmo), [widget](#widget) |' in text
    assert '3 words' in text


@pytest.mark.parametrize(
    ('term', 'found'),
    [
        (book.Term('log SNR', 12, ''), 'the log\nSNR of'),
        (book.Term('gradient descent', 7, ''), 'Gradient descent walks'),
        (book.Term('nat', 7, '', pattern=r'\bnats?\b'), 'two nats'),
    ],
)
def test_words_are_found_over_lines_and_in_the_plural(term, found):
    assert term.form.search(found)
    assert not term.form.search('a natural log of snres')


def test_anchors_are_plain():
    assert [book.Term(w, 7, '').slug for w in ('Fréchet distance', 'CFG++', 'U-Net', 'leading, trailing')] == [
        'frechet-distance',
        'cfg',
        'u-net',
        'leading-trailing',
    ]
