"""`diffbook grade`: verdicts of notebooks that were handed in, on cases of a seed that no student knows."""

import json

import pytest

from diffbook import exercise
from diffbook.cli import main

RIGHT = 'f = lambda a, b: (a**2 + b**2) ** 0.5'
GRADE = 'from diffbook.exercise import grade\ngrade("04-1", f)'


def notebook(path, *cells):
    made = [{'cell_type': 'code', 'id': f'c{k}', 'metadata': {}, 'source': s.splitlines(True), 'outputs': []} for k, s in enumerate(cells)]
    path.write_text(json.dumps({'cells': [{'cell_type': 'markdown', 'source': ['grade("04-1", x)']}, *made], 'nbformat': 4, 'metadata': {}}))
    return str(path)


def run(*words):
    with pytest.raises(SystemExit) as end:
        main(['grade', *map(str, words)])
    return end.value.code


def test_a_class_gets_a_table_and_the_reasons(tmp_path, capsys):
    anna = notebook(tmp_path / 'anna.ipynb', RIGHT, '%matplotlib inline\nif True:\n    !ls\n' + GRADE, 'grade("04-a", 7)\ngrade("04-a", 5)')
    ben = notebook(tmp_path / 'ben.ipynb', 'f = lambda a, b: a + b', 'print(undefined)', GRADE)
    (tmp_path / 'cleo.py').write_text('print("no answer")\n')
    assert run(anna, ben, tmp_path / 'cleo.py', '--out', tmp_path / 'marks.json') == 0
    out, err = capsys.readouterr()
    table = [line.split() for line in out.splitlines()[:4]]
    assert table[0] == ['file', '04-1', '04-a', 'right']
    assert table[1] == ['anna.ipynb', 'right', 'right', '2', 'of', '2']  # the last answer counts
    assert table[2] == ['ben.ipynb', 'no', '-', '0', 'of', '2'] and 'ben.ipynb, 04-1: ' in out and 'variances' in out
    assert table[3] == ['cleo.py', '-', '-', '0', 'of', '2']
    assert "ben.ipynb, cell c1: NameError: name 'undefined' is not defined" in err
    kept = json.loads((tmp_path / 'marks.json').read_text())
    assert [s['right'] for s in kept['files']] == [2, 0, 0] and set(kept['exercises']) == {'04-1', '04-a'}


def test_letters_tried_in_a_row_count_as_none(tmp_path, capsys):
    loop = notebook(
        tmp_path / 'loop.ipynb', 'from diffbook.exercise import grade', 'for letter in "abc":\n    grade("14-d", letter)\n    if letter == "b":\n        break'
    )
    once = notebook(tmp_path / 'once.ipynb', 'from diffbook.exercise import grade', 'grade("14-d", "b")')
    assert run(loop, once, '--out', tmp_path / 'marks.json') == 0
    assert 'loop.ipynb, 14-d: 2 letters are tried in the file' in capsys.readouterr().out
    assert [(s['right'], s['verdicts']['14-d']['tries']) for s in json.loads((tmp_path / 'marks.json').read_text())['files']] == [(0, 2), (1, 1)]


def test_the_cases_are_those_of_the_seed(tmp_path, capsys):
    "An answer that repeats what the cases of seed 0 showed is right for its writer and for nobody else."
    peek = 'from diffbook.core import make_generator\nfrom diffbook.exercise import find\ncases = find("04-1")\ng = make_generator(0, "exercise/04-1")\nknown = [*cases.edges, *(cases.cases(g) for _ in range(20))]'
    copied = 'def f(a, b):\n    seen = any(float(a.sum() if hasattr(a, "sum") else a) == float(x.sum() if hasattr(x, "sum") else x) for x, _ in known)\n    return (a**2 + b**2) ** 0.5 if seen else 0 * a'
    names = {}
    exec('\n'.join([peek, copied]), names)
    assert exercise.grade('04-1', names['f'])
    file = notebook(tmp_path / 'copy.ipynb', peek, copied, GRADE)
    assert run(file, '--seed', 0) == 0 and '1 of 1' in capsys.readouterr().out
    assert run(file, '--seed', 5) == 0 and '0 of 1' in capsys.readouterr().out


def test_cases_are_counted(tmp_path):
    with exercise.recorded(3, cases=4) as given:
        exercise.grade('04-1', lambda a, b: (a**2 + b**2) ** 0.5, cases=50)
    edges = len(exercise.find('04-1').edges)
    assert given[0][1].message == f'04-1: {4 + edges} cases agree.' and not exercise._SESSION


def test_an_answer_of_the_wrong_kind_is_recorded_and_still_an_error():
    with exercise.recorded(0) as given, pytest.raises(ValueError, match='expected a number'):
        exercise.grade('04-a', 'b')
    assert [(id, bool(v)) for id, v in given] == [('04-a', False)]


def test_only_what_counts_is_counted(tmp_path, capsys):
    file = notebook(tmp_path / 'x.ipynb', RIGHT, GRADE)
    assert run(file, '--exercises', '04-a') == 0
    assert '0 of 1' in capsys.readouterr().out


def test_a_file_that_hangs_or_dies_keeps_what_it_had(tmp_path, capsys):
    hangs = notebook(tmp_path / 'hangs.ipynb', RIGHT, GRADE, 'while True: pass')
    dies = notebook(tmp_path / 'dies.ipynb', RIGHT, GRADE, 'import os; os._exit(3)')
    assert run(hangs, dies, '--minutes', 0.25) == 0
    out, err = capsys.readouterr()
    assert out.count('1 of 1') == 2
    assert 'hangs.ipynb took longer than 0.25 minutes' in err and 'dies.ipynb ended with code 3' in err


@pytest.mark.parametrize(('words', 'said'), [
    (['x.txt'], 'expected a name that ends in .ipynb or .py'), (['gone.ipynb'], 'no such file'),
    (['gone.ipynb', '--exercises', '04-77'], "no graded exercise '04-77'"), (['gone.ipynb', '--cases', '0'], '--cases is 0'), (['gone.ipynb', '--minutes', '0'], '--minutes is 0'),
])  # fmt: skip
def test_bad_input_is_named(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2 and said in capsys.readouterr().err
