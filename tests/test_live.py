"Living figures without a browser: every one that a chapter shows is there, has a still, and says what it needs. `make test-web` runs them."

import json
import re
from html import unescape
from pathlib import Path

import pytest

from tools import live

SHOWN = re.compile(r'<div class="live" id="live-([\w-]+)" data-live="([\w-]+)">\s*<img src="([^"]+)"[^>]*? alt="([^"]+)">\n\n\*Try first:\*.+?</div>', re.S)


def chapters():
    for path in sorted(live.NBS.glob('*.ipynb')):
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            yield path.name, cell['id'], ''.join(cell['source'])


def test_each_figure_of_a_chapter_is_whole():
    shown = []
    for name, cell, source in chapters():
        assert source.count('data-live=') == len(SHOWN.findall(source)), f'{name}, cell {cell}: a living figure not in the form of tools/live.py'
        for id, figure, still, alt in SHOWN.findall(source):
            shown.append(figure)
            assert id == figure and figure in live.figures() and still == f'images/live/{figure}.png' and (live.NBS / still).exists(), f'{name}: {figure}'
            assert len(unescape(alt).split()) > 12 and 'grade("' in source, f'{name}: {figure} wants an alt text and a question'
    assert len(shown) == len(set(shown)) and 'playground' in shown


@pytest.mark.parametrize('name', live.figures())
def test_each_figure_names_what_it_needs_and_has_a_test_of_its_own(name):
    text = (live.LIVE / f'{name}.js').read_text(encoding='utf-8')
    assert live.needs(name)[-1] == name and f"live.figure('{name}'" in text and 'use strict' in text
    assert re.findall(r'https?://', text) == [] and 'import(' not in text and 'eval(' not in text
    assert (Path(__file__).parent / 'web' / f'test_{name.replace("-", "_")}.py').exists()


def test_a_page_loads_the_frame_first_each_file_once_and_only_where_a_figure_is():
    page = '<head><title>x</title></head><body><div data-live="playground"></div><div data-live="playground"></div></body>'
    found = re.findall(r'src="live/([\w/-]+)\.js" defer', live.with_scripts(page))
    assert found == ['live', 'mixture', 'playground'] and live.with_scripts('<head></head>') == '<head></head>'
