"""Numbers and links of the notebooks: the two forms are one, and the numbers are those of the order on the page."""

import json

import pytest
from fastcore.basics import AttrDict

from tools import pages
from tools.references import full, labels, main, rewrite, short

TEXT = """As @eq-good-one and @fig-good-b say (@sec-other), and `@eq-good-one` in code does not; a@eq-good.one neither, nor @eq-gone.

$$
x = \\begin{aligned} 1 \\end{aligned}
$$ {#eq-good-one}

Then $x$ and $$y < 1$$ {#eq-good-two} and an unnamed $$z$$ and @eq-other-one.

```python
x @eq  # @eq-good-one
```
"""
FIGURE = '#| label: fig-good-b\n#| fig-cap: "x"\nshow()'
CELLS = {
    '12_good.ipynb': [('markdown', TEXT), ('code', '#| label: fig-good-a\nshow()'), ('code', FIGURE)],
    '30_other.ipynb': [('markdown', '$$ a $$ {#eq-other-one}')],
}
KNOWN = labels(CELLS)


def test_numbers_are_those_of_the_order_on_the_page():
    assert {id: said for id, (_, said) in KNOWN.items()} == {
        'sec-good': 'Chapter 12', 'eq-good-one': 'Equation 12.1', 'eq-good-two': 'Equation 12.2', 'fig-good-a': 'Figure 12.1', 'fig-good-b': 'Figure 12.2',
        'sec-other': 'Chapter 30', 'eq-other-one': 'Equation 30.1',
    }  # fmt: skip


def test_a_notebook_shows_numbers_and_links_and_no_marks():
    got = full('markdown', TEXT, '12_good.ipynb', KNOWN)
    assert got.startswith('As [Equation 12.1](#eq-good-one) and [Figure 12.2](#fig-good-b) say ([Chapter 30](30_other.ipynb)), and `@eq-good-one` in code')
    assert 'x = \\begin{aligned} 1 \\end{aligned} \\tag{12.1}\n$$ <a id="eq-good-one"></a>' in got
    assert '$$y < 1 \\tag{12.2}$$ <a id="eq-good-two"></a> and an unnamed $$z$$ and [Equation 30.1](30_other.ipynb#eq-other-one).' in got
    assert 'a@eq-good.one neither, nor @eq-gone.' in got and 'x @eq  # @eq-good-one' in got
    assert full('code', FIGURE, '12_good.ipynb', KNOWN) == '#| label: fig-good-b\n#| fig-number: Figure 12.2\n#| fig-cap: "x"\nshow()'


@pytest.mark.parametrize(('kind', 'source'), [(kind, source) for cells in CELLS.values() for kind, source in cells])
def test_both_forms_lead_to_each_other_and_stay(kind, source):
    long = full(kind, source, '12_good.ipynb', KNOWN)
    assert short(kind, long) == source and short(kind, source) == source
    assert full(kind, long, '12_good.ipynb', KNOWN) == long
    assert labels({'12_good.ipynb': [(kind, long)]}).keys() == labels({'12_good.ipynb': [(kind, source)]}).keys()


def test_an_equation_before_the_others_moves_their_numbers(tmp_path):
    def write(*sources):
        cells = [{'cell_type': 'markdown', 'id': f'c{k}', 'metadata': {}, 'source': s.splitlines(keepends=True)} for k, s in enumerate(sources)]
        (tmp_path / '12_good.ipynb').write_text(json.dumps({'cells': cells}))

    def read():
        return [''.join(c['source']) for c in json.loads((tmp_path / '12_good.ipynb').read_text())['cells']]

    write('$$ a $$ {#eq-good-a}', 'See @eq-good-a.')
    assert rewrite(tmp_path) == ['12_good.ipynb'] and rewrite(tmp_path) == []
    assert read()[1] == 'See [Equation 12.1](#eq-good-a).'
    write('$$ b $$ {#eq-good-b}', *read())
    assert rewrite(tmp_path, write=False) == ['12_good.ipynb'] and rewrite(tmp_path) == ['12_good.ipynb']
    assert read()[1:] == ['$$ a \\tag{12.2} $$ <a id="eq-good-a"></a>', 'See [Equation 12.2](#eq-good-a).']


def test_the_notebooks_are_in_step(capsys):
    assert main(['--check']) == 0, capsys.readouterr().out


def test_a_fold_is_marked_for_the_site_and_leaves_no_mark_in_a_module():
    "In the notebook `#| fold`, which the export takes away as it takes `#| export`; on the site Quarto's own mark, but for imports, which are folded together."
    execnb, process = pytest.importorskip('execnb.nbio'), pytest.importorskip('nbdev.process')
    from tools.pages import site_form

    written = full('code', '#| code-fold: true\n#| export\ndef f(): ...', '12_good.ipynb', KNOWN)
    assert written == '#| fold\n#| export\ndef f(): ...'
    for source, folded in ((written, True), ('#| fold\nimport math', False), ('#| label: fig-good-a\n#| fig-number: Figure 12.1\nf()', False)):
        cell = execnb.mk_cell(source)
        cell.directives_ = process.extract_directives(cell, remove=True, lang='python')
        assert 'fold' not in cell.source
        site_form(cell)
        assert cell.source.startswith('#| code-fold: true\n') is folded and 'fig-number' not in cell.source


def test_curves_are_marked_and_pictures_are_not():
    drawn = [{'data': {'image/png': ''}}]
    marked = lambda source, outputs=drawn, kind='code': (
        pages.curves_apart(cell := AttrDict(cell_type=kind, source=source, outputs=outputs)),
        cell.source,
    )[1]
    assert marked('lines(x, y)') == '#| classes: curves\nlines(x, y)'
    assert marked('images(x, 8)') == 'images(x, 8)' and marked('lines(x, y)', []) == 'lines(x, y)'


def test_a_sound_is_text_on_the_site_and_other_outputs_stay():
    sound, table = {'data': {'text/html': ['<audio controls ', 'src="x">']}}, {'data': {'text/html': '<table>'}}
    pages.sounds_as_text({'outputs': [sound, table]})
    assert sound['data'] == {'text/markdown': '```{=html}\n<audio controls src="x">\n```\n'} and table['data'] == {'text/html': '<table>'}
