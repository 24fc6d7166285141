"""The promises in short form, and the runner that writes the report. `python -m benchmarks.reliability` is the long form.

Rows that stand elsewhere in full are not repeated here: G9 in test_truth.py, R13 in test_training.py, R6 and R8 in test_scale.py.
"""

import json
import multiprocessing
import sys

import pytest

from benchmarks import reliability
from benchmarks.reliability import ROWS, at_most, count, load_parts, main, merge, read_report, row, run_row

SHORT = ('R1', 'R2', 'R3', 'R4', 'R5', 'R10', 'R11', 'R12', 'R17', 'G3', 'G4', 'G5', 'G7', 'G10')


@pytest.mark.parametrize('id', [*SHORT, *(pytest.param(id, marks=pytest.mark.slow) for id in ('R9', 'R15', 'R16'))])
def test_row(id):
    got = run_row(id, short=True)
    assert got['met'] is True, got


@pytest.fixture
def rows(monkeypatch):
    "A list of promises of our own."
    monkeypatch.setattr(reliability, 'ROWS', {})
    monkeypatch.setattr(reliability, 'PARTS', ())
    return reliability.ROWS


def test_a_row_and_its_report(rows, tmp_path, capsys):
    @row('R2', 'two is two', goal='2 of 2')
    def good(short, seed):
        "Count to two."
        return count(2, 2, seen=seed)

    @row('R10', 'ten is small', goal='<= 1')
    def bad(short):
        "Look at ten."
        return at_most(10.0, 1.0, 1)

    @row('G1', 'it runs')
    def broken(short):
        "Divide."
        return 1 / 0

    path = tmp_path / 'report.json'
    assert main(['--out', str(path), '--seed', '3']) == 1
    report = read_report(path)
    assert list(report) == ['G1', 'R2', 'R10'], 'sorted by letter and number'
    assert [r['met'] for r in report.values()] == [False, True, False]
    assert report['G1']['figure'] == 'ZeroDivisionError: division by zero'
    assert report['R2']['figure'] == '2 of 2' and report['R2']['details'] == {'seen': 3}
    assert report['R2']['procedure'] == 'Count to two.' and report['R2']['command'].endswith('reliability R2 --seed 3')
    assert 'two is two' in capsys.readouterr().out
    assert main(['R2', '--short', '--out', str(path)]) == 0 and read_report(path)['R2']['seed'] == 0
    assert set(read_report(path)) == {'G1', 'R2', 'R10'}, 'other rows stay'
    assert [p.name for p in tmp_path.iterdir()] == ['report.json']
    with pytest.raises(ZeroDivisionError):
        run_row('G1', short=True)
    with pytest.raises(SystemExit):
        main(['R3'])


def test_rows_are_named_once_and_say_what_they_do(rows):
    def silent(short): ...

    with pytest.raises(ValueError, match='no docstring'):
        row('R1', 'nothing')(silent)
    silent.__doc__ = 'Nothing.'
    row('R1', 'nothing')(silent)
    with pytest.raises(ValueError, match='two rows are called R1'):
        row('R1', 'nothing')(silent)


def test_figures():
    assert count(3, 3)['met'] and not count(2, 3)['met'] and not count(0, 0)['met']
    assert at_most(1.0, 1.0, 1)['met'] and not at_most(float('nan'), 1.0, 1)['met']


def put(path, i):
    merge({'id': f'R{i}', 'figure': 'x' * 1000}, path)


@pytest.mark.skipif(sys.platform != 'linux', reason='locks of folders')
def test_two_runners_lose_no_row(tmp_path):
    path = tmp_path / 'report.json'
    workers = [multiprocessing.get_context('fork').Process(target=put, args=(path, i)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(read_report(path)) == {f'R{i}' for i in range(8)}


def test_the_report_is_of_these_rows():
    "What is published was measured by a row that still exists, says the same promise, and holds no path of a machine."
    known, report = load_parts(), read_report()
    assert set(report) <= set(known)
    for id, r in report.items():
        assert (r['promise'], r['goal']) == (known[id].promise, known[id].goal)
        assert r['met'] in (True, False, None) and r['n'] >= 0 and r['command'].startswith('python -m benchmarks.reliability')
        assert not any(f'/{folder}/' in json.dumps(r) for folder in ('home', 'root', 'tmp', 'work'))


PROMISED = {'R': range(1, 18), 'G': (3, 4, 5, 7, 9, 10, 13), 'S': (*range(1, 10), 11, 12)}


def test_every_promise_has_a_row():
    there = set(load_parts())
    assert ROWS and there >= {f'{part}{i}' for part, ids in PROMISED.items() for i in ids}
