"What a finished page gets beside its text: tools/web.py, without a browser."

import json
import re

from tools import web

PAGE = """<html><head><meta name="description" content="of the book"><title>12&nbsp; Schedules – diffbook</title><script src="site_libs/a.js"></script></head>
<body class="docked"><a href="./">diffbook</a><nav>menu words</nav><a download="12_schedules.ipynb" href="#notebook">Download</a>
<main id="quarto-document-content"><h1><span>12</span> Schedules</h1><div class="chapter-line">
<p>How much <math><mi>x</mi><annotation>x^2</annotation></math> &amp; how little</p></div>
<section id="angle" class="level2"><h2>An angle</h2><p>It turns by <em>a quarter</em>.</p><pre>code = 1</pre><script>no()</script></section>
<section id="angle-2" class="level3"><p>More of it.</p></section></main><footer>footer</footer></body></html>"""


def test_a_page_has_an_address_a_card_an_icon_and_a_way_past_the_sidebar():
    page = web.with_head('schedules.html', PAGE, 'https://there.example/book')
    assert '<link rel="canonical" href="https://there.example/book/schedules.html">' in page and 'images/icon.svg' in page
    assert '<meta property="og:title" content="12  Schedules – diffbook">' in page
    assert page.count('content="How much x &amp; how little"') == 2 and 'of the book' not in page
    assert re.search(r'<body class="docked">\n<a class="skip-link" href="#quarto-document-content">', page)
    assert page.index(web.THEME) < page.index('</head>') and 'href="./"' not in page
    assert 'href="notebooks/12_schedules.ipynb">Download' in page
    assert '<script src="site_libs/a.js" defer></script>' in page  # the text does not wait for it
    assert (web.ROOT / 'nbs' / 'images' / 'card.png').stat().st_size < 100_000 and (web.ROOT / 'nbs' / 'images' / 'icon.svg').exists()


def test_the_search_knows_each_section_without_code_and_the_tex_behind_formulas():
    first, second = web.entries('schedules.html', PAGE, ['Noise'])
    assert first == {
        'objectID': 'schedules.html',
        'href': 'schedules.html',
        'title': '12 Schedules',
        'section': '',
        'text': 'How much x & how little',
        'crumbs': ['Noise'],
    }
    assert (second['href'], second['section'], second['text']) == ('schedules.html#angle', 'An angle', 'It turns by a quarter . More of it.'.replace(' .', '.'))


def test_the_search_knows_every_word_by_all_its_names():
    found = web.word_entries()
    words = json.loads((web.ROOT / 'nbs' / 'words.json').read_text(encoding='utf-8'))
    assert len(found) == len(words['words']) + len(words['notation']) == len({e['objectID'] for e in found})
    for said in ('FID', 'CFG', 'alpha bar', 'classifier-free guidance', 'ELBO'):
        assert any(said in e['text'] for e in found), said
    page = (web.ROOT / 'nbs' / '91_words.qmd').read_text(encoding='utf-8')
    for entry in found:
        assert '{#' + entry['href'].partition('#')[2] in page or f'#{entry["href"].partition("#")[2]}}}' in page, entry['href']


def test_notebooks_are_files_of_the_site(tmp_path):
    web.notebooks(tmp_path)
    copied = sorted(p.name for p in (tmp_path / 'notebooks').iterdir())
    assert copied == sorted(p.name for p in (web.ROOT / 'nbs').glob('[0-9][0-9]_*.ipynb'))
