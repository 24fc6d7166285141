"Tests in a real browser: `make test-web`. They open each living figure alone, and the pages of the built site where it is there."

import pytest

from tools.live import alone, browser


@pytest.fixture(scope='session')
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def living(chromium, tmp_path):
    """A living figure alone on a page: `living('playground')` gives the page and the handle of its frame.

    Whatever the page says on its console, throws or asks of another host fails the test."""
    said, pages = [], []

    def opened(name, query='', width=900, dark=False, calm=True):
        (tmp_path / f'{name}.html').write_text(alone(name, dark), encoding='utf-8')
        page = chromium.new_page(viewport={'width': width, 'height': 900}, reduced_motion='reduce' if calm else 'no-preference')
        page.on('console', lambda m: said.append(m.text))
        page.on('pageerror', lambda e: said.append(str(e)))
        page.on('request', lambda r: said.append(f'asks for {r.url}') if not r.url.startswith(('file:', 'data:', 'blob:')) else None)
        page.on('requestfailed', lambda r: said.append(f'did not get {r.url}'))
        page.goto((tmp_path / f'{name}.html').as_uri() + query)
        page.wait_for_function('document.querySelector("[data-live]").frame')
        page.evaluate('document.querySelector("[data-live]").frame.ready?.()')  # what comes later than the page
        pages.append(page)
        return page, page.evaluate_handle('document.querySelector("[data-live]").frame')

    yield opened
    for page in pages:
        page.close()
    assert not said
