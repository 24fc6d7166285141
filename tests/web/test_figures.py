"What holds for every living figure: it starts, is reached by keyboard, reads as a still, fits a phone, and nothing is said on the console."

import pytest
from axe_core_python.sync_playwright import Axe

from tools.live import NBS, shown

ALL = pytest.mark.parametrize('name', shown())


@ALL
@pytest.mark.parametrize('dark', [False, True])
@pytest.mark.parametrize('width', [1400, 360])
def test_figure_starts_fits_and_can_be_read_by_all(living, name, width, dark):
    page, frame = living(name, width=width, dark=dark)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert frame.evaluate('f => f.host.querySelectorAll("canvas, svg").length') >= 1
    found = Axe().run(page, options={'runOnly': ['wcag2a', 'wcag2aa']})['violations']
    assert [(v['id'], n['html']) for v in found for n in v['nodes'] if v['impact'] in ('serious', 'critical')] == []


@ALL
def test_keys_reach_every_control_and_each_changes_the_figure(living, name):
    page, frame = living(name)
    count = frame.evaluate('f => Object.keys(f.controls).length')
    reached = set()
    for _ in range(4 * count + 12):
        page.keyboard.press('Tab')
        reached.add(page.evaluate('[...document.querySelectorAll("*")].indexOf(document.activeElement)'))
    wanted = frame.evaluate('f => Object.values(f.controls).map((c) => [...document.querySelectorAll("*")].indexOf(c.control))')
    assert count > 0 and set(wanted) <= reached


@ALL
def test_a_link_brings_the_state_back(living, name):
    _, frame = living(name)
    words = frame.evaluate(
        """f => { for (const [word, {control}] of Object.entries(f.controls)) {
        const other = control.type === 'checkbox' ? !control.checked : control.tagName === 'SELECT' ? control.options[control.options.length - 1].value : null;
        if (other !== null) f.set(word, other); else { control.value = control.max; control.dispatchEvent(new Event('input')); } }
        return f.state; }"""
    )
    controls = frame.evaluate('f => Object.keys(f.controls)')
    query = '?' + '&'.join(f'{name}.{word}={str(words[word]).lower() if isinstance(words[word], bool) else words[word]}' for word in controls)
    _, again = living(name, query.replace('+', '%2B').replace(' ', '%20'))
    assert again.evaluate('f => f.state') == words


@ALL
def test_still_is_there(name):
    assert (NBS / 'images' / 'live' / f'{name}.png').stat().st_size < 150_000
