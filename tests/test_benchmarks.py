"""The benchmarks: who takes turns with whom, what counts as reached, and what the file keeps."""

import argparse
import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import __main__ as command
from benchmarks import gpu, host, measure, mutants, peers, rows, speed


def test_runs_take_turns_and_the_first_call_stands_apart(monkeypatch):
    "ABBA: whoever comes first in one round comes last in the next; seconds are those of the run itself."
    now, order = [0.0], []
    monkeypatch.setattr(measure, 'clock', lambda: now[0])

    def work(name, seconds):
        order.append(name)
        now[0] += 100 if len(order) <= 3 else seconds  # the first call of each is slow

    runs = {'a': lambda: work('a', 1), 'b': lambda: work('b', 2), 'c': lambda: work('c', 4)}
    seconds, first = measure.alternate(runs, 4)
    assert ''.join(order) == 'cba' + 'abc' + 'cba' + 'abc' + 'cba'
    assert seconds == {'a': [1.0] * 4, 'b': [2.0] * 4, 'c': [4.0] * 4} and first == {'a': 100, 'b': 100, 'c': 100}


def test_median_and_quartiles_of_one_to_nine():
    assert measure.summary([float(v) for v in range(9, 0, -1)]) == {'median': 5.0, 'quartiles': [2.5, 7.5]}
    assert measure.summary([3.0]) == {'median': 3.0, 'quartiles': [3.0, 3.0]}


@pytest.mark.parametrize(('kind', 'figure', 'met', 'multiple'), [
    ('at_least', 2.0, True, 1.0), ('at_least', 1.5, False, 0.75), ('at_most', 2.0, True, 1.0), ('at_most', 4.0, False, 0.5),
])  # fmt: skip
def test_a_goal_knows_whether_it_is_reached(kind, figure, met, multiple):
    found = measure.goal('peer', figure, **{kind: 2.0})
    assert found['met'] is met and rows.reached(found) == multiple


def test_what_is_not_measured_never_replaces_what_was(tmp_path):
    path, absent = tmp_path / 'rows.json', {'row': 'G1', 'status': 'not measured', 'goals': []}
    there = {'row': 'G1', 'status': 'measured', 'goals': []}
    for found, kept in ((absent, absent), (there, there), (absent, there)):
        assert rows.merge(path, {'G1': found})['rows']['G1'] == kept
    assert json.loads(path.read_text())['rows'] == {'G1': there}


@pytest.mark.skipif(torch.cuda.is_available(), reason='the rows are measured here')
@pytest.mark.parametrize('id', ['G1', 'G2', 'G3', 'G4', 'G5'])
def test_without_a_gpu_its_rows_say_so(id):
    found = rows.run(id, argparse.Namespace(), {})
    assert found['status'] == 'not measured' and 'CUDA' in found['why'] and gpu is not None


def test_convolutions_count_their_work_as_the_profiler_does():
    runs, work = speed.ceiling_runs(2, shapes=((4, 8, 6),))
    ((name, run),) = runs.items()
    assert work[name] == pytest.approx(measure.flops(run) / 1e9)


def test_attention_counts_the_same_whichever_kernel_is_preferred():
    "Two products forward, of 2 x 5 heads and 7 x 11 places by 3 numbers; five backward, the scores once more and four gradients."
    q, k, v = (torch.zeros(2, 5, n, 3, requires_grad=True) for n in (7, 11, 11))
    product = 2 * (2 * 5) * (7 * 11) * 3
    attention = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)
    for preferred in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(preferred):
            assert measure.flops(attention) == 2 * product
            assert measure.flops(lambda: attention().sum().backward()) == (2 + 5) * product


def test_our_net_has_the_size_that_the_others_have():
    "Within 2.2 % of 2.572 million; diffusers' has 2.536 million, that of denoising-diffusion-pytorch 2.608 million."
    assert peers.size(peers.make(peers.OURS))['parameters'] == pytest.approx(2_572_000, rel=0.022)


def test_reads_are_counted_once_each():
    x = torch.ones(3)
    with host.Reads() as reads:
        float(x[0])
        bool(x.sum() > 2)
        x + 1
    assert (reads.any_device, reads.cpu_only) == (2, 0)


def test_lines_of_code_leave_out_comments_blanks_and_docstrings():
    source = '"module"\n\n# comment\nX = 1\n\n@patch\ndef f(self: A):\n    "doc"\n    # why\n    return (\n        1\n    )\n\ndef g():\n    return 2\n'
    assert host.code_lines(source) == 1 + 5 + 2
    assert host.code_lines(host.without(source, 'g')) == 6 and host.code_lines(host.without(source, None, ('A',))) == 3


def test_the_command_names_what_there_is_and_hides_paths(capsys):
    assert (
        command.shown(['C1', '--peers', '/somewhere', '--rounds', '5', '--out', 'x.json'])
        == 'python -m benchmarks C1 --rounds 5'
    )
    with pytest.raises(SystemExit):
        command.parse(['C9'])
    assert "no row is called 'C9'" in capsys.readouterr().err
    assert command.main([]) == 0
    text = capsys.readouterr().out
    assert all(id in text for id in rows.ROWS)


def test_the_page_shows_the_table_of_the_results():
    "What README.md says is what `python -m benchmarks table` prints."
    report = json.loads((measure.RESULTS / 'rows.json').read_text(encoding='utf-8'))
    page = (measure.RESULTS.parent / 'README.md').read_text(encoding='utf-8')
    assert rows.table(report) in page
    assert all(id in page for id in rows.ROWS)


def test_a_change_of_words_is_no_mutant():
    "Of two sources that differ in annotations and messages alone there is one mutant less to kill."
    source = 'def f(x: int = 3) -> int:\n    if x < 0:\n        raise ValueError(f"x is {x + 1}")\n    return x'
    words = source.replace(': int', ': float').replace('-> int', '-> str').replace('x + 1', 'x - 1')
    assert mutants.bare(words) == mutants.bare(source)
    for old, new in (('x < 0', 'x <= 0'), ('= 3', '= 4'), ('return x', 'return -x'), ('ValueError', 'TypeError')):
        assert mutants.bare(source.replace(old, new)) != mutants.bare(source)
