"""The book keeps its rules (tools/book.py), and each rule is shown to fail on a page that breaks it. No Quarto needed."""
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import book as rules

ROOT = Path(__file__).parent.parent
BOOK = rules.Book(ROOT / 'nbs')
PACKAGE = sorted(p for p in (ROOT / 'diffbook').rglob('*.py') if p.name != '_modidx.py')
SOLUTIONS = [(ch, id, code) for ch in BOOK.chapters for _, id, blocks in ch.solutions for code in blocks]


def report(problems):
    problems = list(problems)
    assert not problems, '\n' + '\n'.join(problems)


@pytest.mark.parametrize('rule', rules.CHAPTER_RULES, ids=lambda r: r.__name__)
@pytest.mark.parametrize('chapter', BOOK.chapters, ids=lambda c: c.name)
def test_chapter(chapter, rule):
    report(rule(chapter, BOOK))


@pytest.mark.parametrize('rule', rules.BOOK_RULES, ids=lambda r: r.__name__)
def test_book(rule):
    report(rule(BOOK))


def test_the_book_is_there():
    "Guards the tests above against an empty list."
    assert len(BOOK.chapters) >= 16
    assert len(BOOK.keys) > 50
    assert sum(len(ch.equations) for ch in BOOK.chapters) >= 50


@pytest.mark.parametrize('chapter, id, code', SOLUTIONS, ids=[f'{id}-{i}' for i, (_, id, _) in enumerate(SOLUTIONS)])
def test_solution(chapter, id, code):
    "A printed solution runs by itself and its own asserts hold."
    exec(compile(code, f'{chapter.name}, solution {id}', 'exec'), {'__name__': f'solution_{id}'})


@pytest.mark.parametrize('path', PACKAGE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module(path):
    "The library reads no code from data, draws from no global random state, and imports in the direction of the design."
    where, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding='utf-8')
    module = '.'.join(path.relative_to(ROOT / 'diffbook').with_suffix('').parts)
    report([*rules.unsafe(source, where), *rules.hidden_randomness(source, where), *rules.wrong_direction(module, source),
            *rules.looks_ahead(module, source, BOOK)])


def test_pages_outside_the_chapters_link_somewhere():
    for path in [*ROOT.glob('*.md'), *(ROOT / 'nbs').glob('*.qmd')]:
        text = rules.INLINE_CODE.sub(' ', rules.FENCE.sub('\n', path.read_text(encoding='utf-8')))
        for target in rules.LINK.findall(text) + rules.HTML_LINK.findall(text):
            if not re.match(r'[a-z]+:|#', target):
                assert (path.parent / target.partition('#')[0]).exists(), f'{path.name}: {target} does not exist'


def test_modules_are_in_step_with_notebooks(tmp_path):
    "What nbdev exports is what is committed."
    for name in ('settings.ini', 'README.md', 'pyproject.toml'):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ('nbs', 'diffbook'):
        ignore = shutil.ignore_patterns('__pycache__', 'zoo', '.ipynb_checkpoints')
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    call = 'from nbdev.doclinks import nbdev_export; nbdev_export()'
    subprocess.run([sys.executable, '-c', call], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    for path in sorted((tmp_path / 'diffbook').rglob('*.py')):
        name = path.relative_to(tmp_path).as_posix()
        if '__pycache__' not in name:
            committed = ROOT / name
            assert committed.exists(), f'{name} is exported and not committed: run make export'
            assert committed.read_text(encoding='utf-8') == path.read_text(encoding='utf-8'), f'{name} is out of step: run make export'


# Each rule against a page that breaks it. A rule that cannot fail is no rule.

WORDS = ' '.join(['word'] * 1300)
GOOD = f'''
=== markdown title
# Good

> A page that keeps every rule
=== code default-exp
#| default_exp good
=== code imports
#| export
import math
=== markdown text
## One

{WORDS} $\\sqrt{{x}}$ [@known2020paper]. See @eq-good-one, @fig-one and @sec-good, and [there](12_good.ipynb#one).

$$
x = \\frac{{1}}{{2}}
$$ {{#eq-good-one}}
=== code checked
check('eq-good-one', 0.5, 1 / 2)
>>> eq-good-one: largest error 0
=== code figure
#| label: fig-one
#| fig-cap: "A caption that says what is seen"
show(1)
>>> PNG
=== markdown end
## Summary

It ends.

## Exercises

**12-1.** a **12-2.** b **12-3.** c **12-4.** d

<details><summary>Solution 12-1</summary>

```python
assert check("12-1", f)
```

</details>
<details><summary>Solution 12-2</summary>

```python
assert check("12-2", f)
```

</details>
<details><summary>Solution 12-3</summary> c </details>
<details><summary>Solution 12-4</summary> d </details>

## Sources

[@known2020paper]
'''


GRADERS = "add('12-1', 'a', 0, 0)\nadd('12-2', 'b', 0, 0)\n"


def make_book(folder, *pages, graders=GRADERS, bib='@article{known2020paper,\n}\n'):
    "Write notebooks from text: cells are cut by `=== kind id`, what is printed follows `>>>`."
    folder.mkdir(exist_ok=True)
    (folder / 'references.bib').write_text(bib)
    (folder.parent / 'diffbook' / 'exercises').mkdir(parents=True, exist_ok=True)
    (folder.parent / 'diffbook' / 'exercises' / 'c12.py').write_text(graders)
    for name, text in pages:
        cells = []
        parts = re.split(r'^=== (markdown|code) ?(\S*)\n', text, flags=re.M)
        for kind, id, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            source, _, said = body.strip('\n').partition('\n>>> ')
            cell = {'cell_type': kind, 'id': id, 'source': source, 'metadata': {}}
            if kind == 'code':
                cell['outputs'] = [output(said)] if said else []
            cells.append(cell)
        (folder / name).write_text(json.dumps({'cells': cells, 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}))
    return rules.Book(folder)


def output(said):
    if said == 'PNG':
        return {'output_type': 'display_data', 'data': {'image/png': 'iVBORw0KGgo='}, 'metadata': {}}
    if said.startswith('ERROR '):
        return {'output_type': 'error', 'ename': 'ValueError', 'evalue': said[6:], 'traceback': []}
    name = 'stderr' if said.startswith('STDERR ') else 'stdout'
    return {'output_type': 'stream', 'name': name, 'text': said.removeprefix('STDERR ')}


@pytest.mark.parametrize('rule', rules.CHAPTER_RULES, ids=lambda r: r.__name__)
def test_a_good_page_passes(tmp_path, rule):
    book = make_book(tmp_path / 'nbs', ('12_good.ipynb', GOOD))
    report(rule(book.chapters[0], book))


BREAKS = [  # rule, what is replaced on the good page, by what, words of the message
    ('cells_have_ids', '=== code checked', '=== code', 'cell 4: no id'),
    ('cells_have_ids', '=== code checked', '=== code imports', '2 cells have the id imports'),
    ('code_parses', 'show(1)', '%timeit f()', 'cell figure: invalid syntax'),
    ('title_cell', '> A page', 'Some text.\n\n> A page', 'cell title: expected only'),
    ('title_cell', '## Summary', '# Summary', 'cell end: a second title'),
    ('equations_have_ids', ' {#eq-good-one}', '', 'cell text: the equation'),
    ('equations_have_ids', '## Summary', '\\[ x \\]\n\n## Summary', 'cell end: \\[ is not allowed'),
    ('equations_have_ids', '## Summary', '\\begin{align} x \\end{align}\n\n## Summary', '\\begin{align} is not allowed'),
    ('equations_have_ids', '{#eq-good-one}', '{#good-one}', 'does not start with eq-'),
    ('equations_are_checked', "check('eq-good-one', 0.5, 1 / 2)", 'pass', "cell text: no executed cell of the chapter calls check('eq-good-one'"),
    ('equations_are_checked', "check('eq-good-one'", "#| slow\ncheck('eq-good-one'", 'no executed cell'),
    ('equations_are_checked', '\n>>> eq-good-one: largest error 0', '', 'no stored output shows'),
    ('equations_are_checked', "1 / 2)", "1 / 2)\ncheck('eq-good-two', 0, 0)", "cell checked: check('eq-good-two') names no equation"),
    ('references_resolve', '@eq-good-one,', '@eq-good-two,', 'cell text: @eq-good-two is not defined'),
    ('references_resolve', '@fig-one', '@fig-two', '@fig-two is not defined'),
    ('references_resolve', '@sec-good', '@sec-bad', '@sec-bad is not defined'),
    ('references_resolve', '[@known2020paper]. See', '[@unknown2020paper]. See', '@unknown2020paper is not in references.bib'),
    ('references_resolve', '[@known2020paper]. See', '[@known2020paper; @other2020x]. See', '@other2020x'),
    ('links_resolve', '12_good.ipynb#one', '13_gone.ipynb', 'there is no 13_gone.ipynb'),
    ('links_resolve', '12_good.ipynb#one', '12_good.ipynb#two', 'no anchor #two'),
    ('links_resolve', '[there](12_good.ipynb#one)', '![a picture](images/gone.png)', 'there is no images/gone.png'),
    ('links_resolve', '[there](12_good.ipynb#one)', '<img src="images/gone.png">', 'there is no images/gone.png'),
    ('links_resolve', '[there](12_good.ipynb#one)', '[there](http://example.org)', 'only https'),
    ('formulas_parse', '$\\sqrt{x}$', '$\\sqrt{x$', 'braces do not balance'),
    ('formulas_parse', '$\\sqrt{x}$', '$\\sqroot{x}$', 'unknown command \\sqroot'),
    ('formulas_parse', '$\\sqrt{x}$', '$\\left( x$', 'do not balance'),
    ('formulas_parse', '\\frac{1}{2}', '\\newcommand{\\a}{b} 1', 'does not render everywhere'),
    ('formulas_parse', '## Summary', '$$ x\n\n## Summary', 'without its partner'),
    ('outputs_are_clean', 'largest error 0', 'largest error 0\nsaved /home/me/x.png', 'cell checked: output holds a path'),
    ('outputs_are_clean', 'largest error 0', 'largest error 0\nx.py:3: UserWarning: old', 'a warning'),
    ('outputs_are_clean', 'largest error 0', 'largest error 0\ntook 3.2 s', 'a timing'),
    ('outputs_are_clean', 'largest error 0', 'largest error 0\n100%|###| 3/3', 'a progress bar'),
    ('outputs_are_clean', 'largest error 0', 'largest error 0\n<f at 0x7f00aa1122>', 'an address'),
    ('outputs_are_clean', '>>> PNG', '>>> ERROR no such thing', 'cell figure: ends in the error ValueError: no such thing'),
    ('outputs_are_clean', '>>> PNG', '>>> STDERR something', 'writes to stderr'),
    ('notebook_is_small', 'It ends.', 'It ends.' + ' ' * 500_000, 'expected under 500,000'),
    ('figures_are_labelled', '#| label: fig-one\n', '', 'cell figure: shows a picture and has no'),
    ('figures_are_labelled', '#| fig-cap: "A caption that says what is seen"\n', '', 'has no caption'),
    ('figures_are_labelled', '\n>>> PNG', '', 'no stored picture'),
    ('imports_look_back', 'import math', 'from diffbook.later import f', 'of the later chapter 13_later.ipynb'),
    ('imports_look_back', 'import math', 'import diffbook.later', 'of the later chapter 13_later.ipynb'),
    ('imports_look_back', 'import math', 'from diffbook import later', 'of the later chapter 13_later.ipynb'),
    ('imports_look_back', 'import math', 'from diffbook.nowhere import f', 'which no notebook exports'),
    ('imports_look_back', 'import math', 'from nbdev.showdoc import show_doc', 'cell imports: imports nbdev'),
    ('imports_look_back', 'import math', 'from math import *', 'star import'),
    ('imports_look_back', 'import math', 'import matplotlib.pyplot as plt', 'imports matplotlib'),
    ('cells_are_short', 'show(1)', 'x = 1\n' * 31, 'cell figure: 31 lines'),
    ('cells_are_short', 'import math', 'import math\n' * 16, 'at most one in ten: imports (16)'),
    ('cells_are_short', 'import math', '=== code a\n'.join(['x = 1\n' * 7] * 9), 'median'),
    ('chapter_is_whole', '## Sources', '## Other', 'no section "## Sources"'),
    ('chapter_is_whole', WORDS, 'few words', 'words of prose'),
    ('exercises_answer', '**12-4.** d', '', 'expected four or more'),
    ('exercises_answer', "add('12-2', 'b', 0, 0)", '', "graded exercises ['12-1']"),
    ('exercises_answer', "add('12-2'", "add('12-9'", 'exercise 12-9 is graded and not listed'),
    ('exercises_answer', 'Solution 12-2', 'Nothing', 'exercise 12-2 has no solution'),
    ('exercises_answer', 'check("12-2", f)', 'f(1) == 2', 'solution of 12-2 does not call'),
    ('cells_are_safe', 'import math', 'import pickle', 'imports pickle'),
    ('cells_are_safe', 'show(1)', 'torch.load(path)', 'calls torch.load'),
    ('cells_are_safe', 'assert check("12-1", f)', 'eval("1")', 'solution 12-1, line 1: calls eval'),
]


@pytest.mark.parametrize('rule, old, new, words', BREAKS, ids=[f'{b[0]}-{i}' for i, b in enumerate(BREAKS)])
def test_a_broken_page_fails(tmp_path, rule, old, new, words):
    assert old in GOOD + GRADERS
    later = '=== markdown title\n# Later\n\n> Later\n=== code default-exp\n#| default_exp later\n'
    book = make_book(tmp_path / 'nbs', ('12_good.ipynb', GOOD.replace(old, new, 1)), ('13_later.ipynb', later),
                     graders=GRADERS.replace(old, new, 1))
    problems = '\n'.join(getattr(rules, rule)(book.chapters[0], book))
    assert words in problems, problems
    assert '12_good.ipynb' in problems


def test_every_chapter_rule_is_shown_to_fail():
    assert {b[0] for b in BREAKS} == {r.__name__ for r in rules.CHAPTER_RULES}


@pytest.mark.parametrize('rule, pages, words', [
    ('labels_are_unique', [('12_good.ipynb', GOOD), ('13_copy.ipynb', GOOD)], 'eq-good-one is defined 2 times (12_good.ipynb, 13_copy.ipynb)'),
    ('words_are_unique', [('12_good.ipynb', GOOD), ('13_good.ipynb', '=== markdown title\n# Good\n')], '2 chapters are called good'),
    ('modules_have_one_owner', [('12_good.ipynb', GOOD), ('13_copy.ipynb', GOOD)], '2 notebooks say default_exp good'),
])
def test_a_broken_book_fails(tmp_path, rule, pages, words):
    good = make_book(tmp_path / 'one', ('12_good.ipynb', GOOD))
    report(getattr(rules, rule)(good))
    assert words in '\n'.join(getattr(rules, rule)(make_book(tmp_path / 'nbs', *pages)))


@pytest.mark.parametrize('source, words', [
    ('import pickle', 'imports pickle'),
    ('from marshal import loads', 'imports marshal'),
    ('import torch\nw = torch.load("x")', 'line 2: calls torch.load'),
    ('np.load("x.npy")', 'without allow_pickle=False'),
    ('np.load("x.npy", allow_pickle=True)', 'without allow_pickle=False'),
    ('eval("1")', 'calls eval'),
    ('exec(code)', 'calls exec'),
    ('yaml.load(text)', 'calls yaml.load'),
])
def test_unsafe_code_is_seen(source, words):
    assert words in '\n'.join(rules.unsafe(source, 'x.py'))
    assert not list(rules.unsafe('import json\nnp.load("x", allow_pickle=False)\nmodel.eval()\njson.loads("1")', 'x.py'))


@pytest.mark.parametrize('source', [
    'torch.randn(3)', 'torch.rand(2, 2, dtype=d)', 'torch.randint(0, 9, (3,))', 'torch.randperm(4)', 'torch.randn_like(x)',
    'torch.manual_seed(0)', 'np.random.randn(3)', 'random.random()', 'x.normal_()',
])
def test_hidden_randomness_is_seen(source):
    assert 'global random state' in '\n'.join(rules.hidden_randomness(source, 'x.py'))
    assert not list(rules.hidden_randomness('torch.randn(3, generator=g)\nx.normal_(generator=g)\nnn.init.normal_(w)', 'x.py'))


@pytest.mark.parametrize('module, source', [
    ('nets.unet', 'from ..schedules import Schedule'),
    ('nets.unet', 'from diffbook.losses import Denoiser'),
    ('samplers', 'from .nets.unet import UNet'),
    ('samplers', 'from diffbook import nets'),
    ('training', 'from diffbook.losses import diffusion_loss'),
    ('core', 'from .schedules import Schedule'),
])
def test_wrong_direction_is_seen(module, source):
    assert list(rules.wrong_direction(module, source))
    assert not list(rules.wrong_direction('losses', source))


def test_looking_ahead_is_seen(tmp_path):
    later = '=== markdown title\n# Later\n\n> Later\n=== code default-exp\n#| default_exp later\n'
    book = make_book(tmp_path / 'nbs', ('12_good.ipynb', GOOD), ('13_later.ipynb', later))
    assert 'of 13_later.ipynb' in '\n'.join(rules.looks_ahead('good', 'from .later import f', book))
    assert 'of 13_later.ipynb' in '\n'.join(rules.looks_ahead('exercises.c12', 'from diffbook.later import f', book))
    assert not list(rules.looks_ahead('later', 'from diffbook.good import f', book))
    assert not list(rules.looks_ahead('exercises.c12', 'from diffbook.good import f', book))
