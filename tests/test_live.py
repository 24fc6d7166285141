"Living figures without a browser: every one that a chapter shows is there, has a still, and says what it needs. `make test-web` runs them."

import json
import re
from html import unescape
from pathlib import Path

import pytest

from tools import live

SHOWN = re.compile(
    r'<div class="live" id="live-([\w-]+)" data-live="([\w-]+)"(?: data-\2="([\w-]+)")?>\s*<img src="([^"]+)"[^>]*? alt="([^"]+)">\n\n\*Try first:?\*.+?</div>',
    re.S,
)


def chapters():
    for path in sorted(live.NBS.glob('*.ipynb')):
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            yield path.name, cell['id'], ''.join(cell['source'])


def test_each_figure_of_a_chapter_is_whole():
    shown = []
    for name, cell, source in chapters():
        assert source.count('data-live=') == len(SHOWN.findall(source)), f'{name}, cell {cell}: a living figure not in the form of tools/live.py'
        for id, figure, which, still, alt in SHOWN.findall(source):
            shown.append(id)
            assert id == '-'.join(filter(None, [figure, which])) and figure in live.figures() and id in live.shown(), f'{name}: {id}'
            assert still == f'images/live/{id}.png' and (live.NBS / still).exists(), f'{name}: {id}'
            assert len(unescape(alt).split()) > 12 and 'grade("' in source, f'{name}: {id} wants an alt text and a question'
    assert len(shown) == len(set(shown)) and 'playground' in shown


def test_the_first_page_shows_the_film_then_one_sentence_then_three_ways():
    page = (live.NBS / 'index.qmd').read_text(encoding='utf-8')
    film = re.search(
        r'<div class="live" id="live-film-home" data-live="film" data-film="home">\s*<img src="images/live/film-home.png"[^>]* alt="([^"]+)">(.+?)</div>',
        page,
        re.S,
    )
    assert len(film[1].split()) > 12 and re.findall(r'\*\*(\w+)', film[2]) == ['Start', 'Map', 'Run'] and film[2].count('. ') == 0 and '.gif' not in page
    for target in re.findall(r'\((#?[^)]+)\)\{', film[2]):
        assert (live.NBS / target).exists() or re.search(rf'^## {target[1:].replace("-", " ")}$', page, re.M | re.I), target
    assert live.with_scripts(f'<head></head>{film[0]}').count('defer') == len(live.needs('film')) + 1  # and its strips come after the page


@pytest.mark.parametrize('name', live.figures())
def test_each_figure_names_what_it_needs_and_has_a_test_of_its_own(name):
    text = (live.LIVE / f'{name}.js').read_text(encoding='utf-8')
    assert live.needs(name)[-1] == name and f"live.figure('{name}'" in text and 'use strict' in text
    assert re.findall(r'https?://', text) == [] and 'import(' not in text and 'eval(' not in text
    assert (Path(__file__).parent / 'web' / f'test_{name.replace("-", "_")}.py').exists()


def test_a_figure_with_several_data_is_shown_by_the_name_of_each():
    assert {'film-32', 'film-44', 'film-52', 'film-home', 'playground'} <= set(live.shown()) and 'film' not in live.shown()
    assert 'id="live-film-32" data-live="film" data-film="32"' in live.alone('film-32') and 'live/film.js' in live.alone('film-32')


def test_a_page_loads_the_frame_first_each_file_once_and_only_where_a_figure_is():
    page = '<head><title>x</title></head><body><div data-live="playground"></div><div data-live="playground"></div></body>'
    found = re.findall(r'src="live/([\w/-]+)\.js" defer', live.with_scripts(page))
    assert found == ['live', 'mixture', 'playground'] and live.with_scripts('<head></head>') == '<head></head>'
