"""Slides and plans: all of the first reading is there once, two hours are two hours, answers can be kept back."""

import re

import pytest

from tools import lecture
from tools.book import DISPLAY, FENCE, FOLD, Book

BOOK = {ch.number: ch for ch in Book(lecture.ROOT / 'nbs').chapters}
CHAPTERS = [n for n in (10, 11, 13, 14, 30, 41, 43) if BOOK[n].box is not None]


@pytest.mark.parametrize('number', CHAPTERS)
def test_slides_hold_the_first_reading_once(number, tmp_path):
    ch = BOOK[number]
    qmd, _ = lecture.write(ch, tmp_path)
    text = qmd.read_text(encoding='utf-8')
    prose = FENCE.sub('', FOLD.sub('', '\n'.join(c.source for _, cells in ch.readings[0] for c in cells if c.kind == 'markdown')))
    want = [' '.join(m[1].split()) for m in DISPLAY.finditer(prose) if m[3]]
    assert [' '.join(m[1].split()) for m in DISPLAY.finditer(text)] == want and want
    shown = re.findall(r'\]\(([^)]+\.png)\)', text)
    figures = [c.option('label') for _, cells in ch.readings[0] for c in cells if c.kind == 'code' and any('image/png' in o.get('data', {}) for o in c.outputs)]
    assert [path.rpartition('/')[2] for path in shown] == [f'{f}.png' for f in figures]
    assert all((tmp_path / path).read_bytes().startswith(b'\x89PNG') for path in shown)
    assert re.findall(r'^## Your turn \((.*?)\)', text, re.M) == ch.questions
    assert '@eq-' not in text and '<!--' not in text and '<details' not in text


@pytest.mark.parametrize('number', CHAPTERS)
def test_two_hours_are_two_hours(number):
    text = lecture.plan(BOOK[number], lecture.sections(BOOK[number]))
    rows = re.findall(r'^\| (\d):(\d\d) \| (\d+) \|', text, re.M)
    starts, lengths = [60 * int(h) + int(m) for h, m, _ in rows], [int(n) for _, _, n in rows]
    assert starts[0] == 0 and sum(lengths) == 120 and all(a + n == b for a, n, b in zip(starts, lengths, starts[1:]))
    assert text.count('**break**') == 1
    for id in BOOK[number].asked:
        assert f'- **{id}** ' in text


def test_answers_can_be_kept_back(tmp_path):
    ch = BOOK[CHAPTERS[0]]
    parts = lecture.sections(ch)
    answers = [a for p in parts for _, _, a in p.questions if a]
    assert answers and all(a in lecture.slides(ch, parts, 'x') for a in answers)
    kept = lecture.slides(ch, parts, 'x', solutions=False)
    assert '.fragment' not in kept and not any(f'\n{a}\n' in kept for a in answers)


@pytest.mark.parametrize(('total', 'weights'), [(90, [1, 1, 1]), (90, [0.01, 50]), (7, [1, 2, 3, 4]), (5, [1e-9] * 4 + [1])])
def test_shares_add_up(total, weights):
    got = lecture.share(total, weights)
    assert sum(got) == total and min(got) >= 1
    assert all(abs(g - total * w / sum(weights)) < len(weights) for g, w in zip(got, weights))


def test_an_unknown_chapter_is_named(capsys):
    with pytest.raises(SystemExit):
        lecture.main(['99'])
    assert 'there is no chapter 99, expected some of 00, 01' in capsys.readouterr().err
