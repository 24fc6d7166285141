"""Slides, plans, handouts: all of the first reading is there once, the minutes add up, answers can be kept back, what is printed works."""

import json
import re

import pytest

from tools import lecture
from tools.book import DISPLAY, FENCE, Book

BOOK = {ch.number: ch for ch in Book(lecture.ROOT / 'nbs').chapters}
KNOWN = lecture.known_labels()
CHAPTERS = [n for n in (10, 11, 13, 14, 30, 41, 43) if BOOK[n].box is not None]
BOXED = [n for n, ch in BOOK.items() if ch.box is not None]


def deck(number, **more):
    return lecture.Lecture(BOOK[number], KNOWN, **more)


@pytest.mark.parametrize('number', CHAPTERS)
def test_slides_hold_the_first_reading_once(number, tmp_path):
    ch = BOOK[number]
    qmd, _ = lecture.write(ch, tmp_path, deck(number), form='qmd')
    text = qmd.read_text(encoding='utf-8')
    prose = '\n'.join(c.source for _, cells in ch.readings[0] for c in cells if c.kind == 'markdown')
    want = [(' '.join(m[1].split()), KNOWN[m[3]][1].split()[1]) for m in DISPLAY.finditer(FENCE.sub('', lecture.SOLUTION.sub('', prose))) if m[3]]
    shown = re.sub(r':::+ \{.notes\}.*?\n:::', '', text, flags=re.S)
    got = [re.fullmatch(r'(.*) \\tag\{([\d.]+)\}', ' '.join(m[1].split())) for m in DISPLAY.finditer(shown)]
    assert [m.groups() for m in got if m] == want and want
    pictures = re.findall(r'\]\(([^)]+\.png)\)', text)
    figures = [c.option('label') for _, cells in ch.readings[0] for c in cells if c.kind == 'code' and any('image/png' in o.get('data', {}) for o in c.outputs)]
    assert [path.rpartition('/')[2] for path in pictures] == [f'{f}.png' for f in figures]
    assert all((tmp_path / path).read_bytes().startswith(b'\x89PNG') for path in pictures)
    assert re.findall(r'^## Your turn \((.*?)\)', text, re.M) == re.findall(r'^\*\*Your turn \((\d\d-[a-z])\)', prose, re.M)
    assert '@eq-' not in text and '<!--' not in text and '<details' not in text
    folds = [title for title in re.findall(r'<summary>(.*?)</summary>', prose) if not title.startswith('Solution')]
    assert re.findall(r'^## (.*)$', text, re.M).count('') == 0 and all(f'## {title}' in text for title in folds)


@pytest.mark.parametrize('number', BOXED)
def test_every_chapter_makes_a_page_without_tex_and_a_plan(number):
    page = lecture.slides_html(deck(number, second=True))
    body = page.split('<script>')[0]
    assert '$$' not in body and '\ue000' not in body and '\0' not in body and '[[' not in re.sub('<pre>.*?</pre>|<code>.*?</code>', '', body, flags=re.S)
    assert body.count('<section>') == body.count('</section>') > 3
    assert lecture.plan(deck(number)).count('**break**') == 1


@pytest.mark.parametrize('number', CHAPTERS)
@pytest.mark.parametrize('blocks', [(45, 45), (90,), (30, 30, 30)])
def test_the_minutes_add_up(number, blocks):
    text = lecture.plan(deck(number), blocks, 15)
    rows = re.findall(r'^\| (\d):(\d\d) \| (\d+) \| (.*?) \|', text, re.M)
    starts, lengths = [60 * int(h) + int(m) for h, m, *_ in rows], [int(n) for _, _, n, _ in rows]
    assert starts[0] == 0 and sum(lengths) == sum(blocks) + 15 * (len(blocks) - 1)
    assert all(a + n == b for a, n, b in zip(starts, lengths, starts[1:]))
    assert [a for a, (*_, what) in zip(starts, rows) if what == '**break**'] == [sum(blocks[: k + 1]) + 15 * k for k in range(len(blocks) - 1)]
    for id in BOOK[number].asked:
        assert text.count(f'- **{id}** ') == 1
    told = re.search(r'--exercises (\S+) --seed', text)[1].split(',')
    assert set(told) <= {*BOOK[number].graded, *BOOK[number].questions}
    assert all(line.count('|') - line.count(r'\|') == 7 for line in text.splitlines() if line.startswith('| '))


def test_a_plan_that_is_too_short_says_what_is_left_out():
    text = lecture.plan(deck(43), (20, 20))
    assert 'Left to the notes, as results only: ' in text and 'Left out of these minutes, though first reading: ' in text


def test_sections_are_chosen_by_name():
    sections = lambda **more: [s.title for s in deck(14, **more).sections]  # noqa: E731
    assert set(sections(add=('which variance',))) - set(sections()) == {'Which variance?'}
    assert set(sections()) - set(sections(leave=('jensen',))) == {"Jensen's inequality, drawn"}
    with pytest.raises(ValueError, match="no section of 14_elbo.ipynb has 'nothing like it'"):
        sections(add=('nothing like it',))


def test_sentences_stay_whole():
    text = 'By $a. b$ it is so. Ho et al. drop it. **One. Two.** Three? "Yes." Four'
    assert lecture.sentences(text) == ['By $a. b$ it is so.', 'Ho et al. drop it.', '**One. Two.**', 'Three?', '"Yes."', 'Four']
    assert (
        lecture.plain('stand at @eq-elbo-terms, and in [@ho2020denoising]. See [x](12_schedules.ipynb).', KNOWN)
        == f'stand at {KNOWN["eq-elbo-terms"][1]}, and in. See x.'
    )
    assert lecture.cell_safe(r'a | b $p(x|y) \| q$') == r'a \| b $p(x\mid y) \Vert  q$'


def test_answers_can_be_kept_back():
    made = deck(CHAPTERS[0])
    answers = [s.steps[0] for s in made.deck() if s.title.startswith('Your turn')]
    assert answers and all(a in lecture.slides_qmd(made, 'x') for a in answers)
    assert not any(f'\n{a}\n' in lecture.slides_qmd(made, 'x', solutions=False) for a in answers)


@pytest.mark.parametrize('number', BOXED)
def test_a_handout_has_cells_for_answers_and_no_solutions(number):
    nb = lecture.handout(BOOK[number])
    text = '\n'.join(''.join(c['source']) for c in nb['cells'])
    assert '<summary>Solution' not in text and text.count('<summary>') == sum(c.source.count('<summary>') for c in BOOK[number].cells) - len(
        BOOK[number].solutions
    )
    ids = [c['id'] for c in nb['cells']]
    assert len(set(ids)) == len(ids) and {f'answer-{id}' for id in BOOK[number].questions} <= set(ids)
    json.dumps(nb)


@pytest.mark.parametrize(('total', 'weights'), [(90, [1, 1, 1]), (90, [0.01, 50]), (7, [1, 2, 3, 4]), (5, [1e-9] * 4 + [1])])
def test_shares_add_up(total, weights):
    got = lecture.share(total, weights)
    assert sum(got) == total and min(got) >= 1
    assert all(abs(g - total * w / sum(weights)) < len(weights) for g, w in zip(got, weights))


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['99'], 'there is no chapter 99, expected some of 00, 01'),
        (['14', '--blocks', '5'], '--blocks is 5, expected'),
        (['14', '--add', 'nought'], "has 'nought' in its heading"),
    ],
)
def test_bad_input_is_named(words, said, capsys):
    with pytest.raises(SystemExit):
        lecture.main(words)
    assert said in capsys.readouterr().err
