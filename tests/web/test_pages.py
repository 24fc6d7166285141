"""Every page of the built site, wide and narrow, light and dark: what `make site` leaves in _docs is opened in a browser.

Without it these tests say so and do nothing; the publishing workflow builds it first.
"""

import gzip
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_core_python.sync_playwright import Axe

from tools.live import served

SITE = Path(__file__).parents[2] / '_docs'
PAGES = sorted(p.name for p in SITE.glob('*.html') if p.name != '404.html')
pytestmark = pytest.mark.skipif(not PAGES, reason='no site in _docs: make site builds it')

CUT = """() => [...document.querySelectorAll('main .equation > .formula, main table, main pre, main p:has(> math[display]), main .long-inline, main .wide-figure')]
  .filter((box) => box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0 && getComputedStyle(box).overflowX !== 'visible')
  .filter((box) => !(box.classList.contains('scrolls') && box.tabIndex === 0)).map((box) => box.outerHTML.slice(0, 160))"""
NO_ALT = '() => [...document.querySelectorAll("img")].filter((i) => !i.hasAttribute("alt")).map((i) => i.src)'
TWICE = '() => { const ids = [...document.querySelectorAll("[id]")].map((e) => e.id); return ids.filter((id, k) => ids.indexOf(id) !== k && !id.startsWith("quarto-")); }'
WIDE = '() => document.documentElement.scrollWidth - innerWidth'


@pytest.fixture(scope='module')
def address():
    with served(SITE) as there:
        yield there


@pytest.fixture
def opened(chromium, address):
    "Open a page in a window and hand over what it did wrong on the way."
    pages = []

    def opens(name, width=1400, dark=False):
        page = chromium.new_page(viewport={'width': width, 'height': 900}, color_scheme='dark' if dark else 'light', reduced_motion='reduce')
        pages.append(page)
        page.wrong, page.got = [], set()
        page.on('console', lambda m: page.wrong.append(m.text) if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: page.wrong.append(str(e)))
        page.on('request', lambda r: page.wrong.append(f'asks for {r.url}') if not r.url.startswith((address, 'data:', 'blob:')) else None)
        page.on('response', lambda r: page.wrong.append(f'{r.status} {r.url}') if r.status >= 400 else page.got.add(r.url))
        page.goto(f'{address}/{name}', wait_until='load')
        page.evaluate('document.fonts.ready')
        page.wait_for_timeout(150)
        return page

    yield opens
    for page in pages:
        page.close()


@pytest.mark.parametrize('name', PAGES)
@pytest.mark.parametrize('width, dark', [(1400, False), (1400, True), (390, False)], ids=['wide', 'dark', 'phone'])
def test_page(opened, name, width, dark):
    page = opened(name, width, dark)
    assert page.evaluate(WIDE) <= 0, 'the page scrolls sideways'
    page.evaluate('document.querySelectorAll("button.unfold[aria-expanded=false]").forEach((b) => b.click())')
    page.evaluate('document.querySelectorAll("main details").forEach((d) => { d.open = true; })')
    page.wait_for_timeout(200)
    assert page.evaluate(CUT) == [] and page.evaluate(NO_ALT) == [] and page.evaluate(TWICE) == []
    assert page.evaluate(WIDE) <= 0, 'the page scrolls sideways once everything is open'
    found = Axe().run(page, options={'runOnly': ['wcag2a', 'wcag2aa']})['violations']
    bad = {v['id']: (len(v['nodes']), v['nodes'][0]['html'][:200]) for v in found if v['impact'] in ('serious', 'critical')}
    assert bad == {}
    assert page.wrong == []


@pytest.mark.parametrize('name', PAGES)
def test_weight(opened, name):
    "At most 1 MB as a host sends it: text compressed, pictures and fonts as they are."
    page = opened(name)
    files = [SITE / urlsplit(url).path.lstrip('/') for url in page.got]
    size = sum(len(gzip.compress(f.read_bytes())) if f.suffix in ('.html', '.css', '.js', '.json', '.svg') else f.stat().st_size for f in files if f.is_file())
    assert size <= 1_000_000, f'{size:,} bytes'


@pytest.mark.parametrize(
    'said, wanted',
    [
        ('alpha bar', 'words.html'),
        ('classifier-free guidance', 'guidance.html'),
        ('FID', 'words.html#frechet'),
        ('CFG', 'words.html'),
        ('score matching', 'score.html'),
        ('ELBO', 'elbo.html'),
        ('Karras', ''),
        ('DDIM', ''),
        ('rectified flow', 'rectified_flow.html'),
        ('U-Net', 'unet.html'),
    ],
)
def test_search_finds(opened, said, wanted):
    page = opened('index.html')
    page.locator('#quarto-search').click()
    page.wait_for_selector('.aa-Input:focus')
    page.keyboard.type(said, delay=40)
    page.wait_for_selector('.aa-Item a[href], .aa-List a[href]', timeout=10_000)
    page.wait_for_timeout(500)
    links = page.evaluate('[...document.querySelectorAll(".aa-List a[href]")].map((a) => a.getAttribute("href")).slice(0, 12)')
    assert any(wanted in re.sub(r'\?q=[^#]*', '', link) for link in links), links


def test_a_theme_that_was_chosen_is_kept_and_the_systems_is_respected(opened):
    paper = 'getComputedStyle(document.body).backgroundColor'
    light, dark = opened('gaussian.html'), opened('gaussian.html', dark=True)
    assert light.evaluate(paper) != dark.evaluate(paper)
    light.click('.quarto-color-scheme-toggle')
    light.wait_for_timeout(300)
    assert light.evaluate(paper) == dark.evaluate(paper)
    light.reload()
    assert light.evaluate(paper) == dark.evaluate(paper)


def test_second_readings_fold_and_open_for_links_and_for_good(opened):
    page = opened('samplers.html')
    buttons = page.locator('button.unfold')
    assert buttons.count() >= 4 and buttons.first.get_attribute('aria-expanded') == 'false'
    inside = page.evaluate('document.querySelector(".second-reading [id^=eq-], .second-reading [id^=fig-]").id')
    page.evaluate('(id) => { location.hash = id; }', inside)
    page.wait_for_timeout(200)
    assert page.locator(f'#{inside}').is_visible()
    buttons.last.click()
    page.reload()
    assert page.locator('button.unfold').first.get_attribute('aria-expanded') == 'true'


def test_a_letter_lights_up_in_formulas_and_code(opened):
    page = opened('gaussian.html')
    page.locator('.equation mi').first.hover()
    assert page.evaluate('document.querySelectorAll("mi.lit").length') >= 1


def test_a_chapter_that_was_read_is_marked(opened):
    page = opened('gaussian.html')
    page.evaluate('window.scrollTo(0, document.documentElement.scrollHeight)')
    page.wait_for_selector('a.was-read', state='attached')
    assert {link.rpartition('/')[2] for link in page.evaluate('[...document.querySelectorAll("a.was-read")].map((a) => a.href)')} == {'gaussian.html'}


def test_the_notebook_of_a_chapter_is_a_file(opened):
    page = opened('gaussian.html')
    with page.expect_download() as download:
        page.get_by_role('link', name='Download').click()
    assert download.value.suggested_filename == '10_gaussian.ipynb'
