"""The graders of the chapter on speed against PyTorch's own counts, and the file of measurements that it reads."""

import importlib.resources
import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import diffbook.exercises.c25  # noqa: F401  registers the exercises
from diffbook.core import generator
from diffbook.exercise import EXERCISES
from diffbook.nets.layers import ResBlock


def cases(id, n=20):
    draw = generator(1, f'test {id}')
    return [EXERCISES[id].cases(draw) for _ in range(n)]


def test_convolution_as_torch_counts_it():
    for b, c_in, c_out, h, w, k, stride, groups in cases('25-1'):
        conv = nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, device='meta')
        with FlopCounterMode(display=False) as counter:
            conv(torch.zeros(b, c_in, h, w, device='meta'))
        assert EXERCISES['25-1'].truth(b, c_in, c_out, h, w, k, stride, groups) == counter.get_total_flops()


def test_makespan_as_a_queue_plays_it_out():
    "Small steps of time instead of a formula: the host issues, the device runs, whoever is not ready waits."
    for n, k, h, d, r in cases('25-3', 5):
        host = device = 0.0
        issued, finished = [], []
        for i in range(n):
            host += h
            issued.append(host)
            device = max(device, host) + d
            finished.append(device)
            if (i + 1) % k == 0:
                host = device + r
        assert all(f >= i + d - 1e-9 for i, f in zip(issued, finished))
        assert EXERCISES['25-3'].truth(n, k, h, d, r) == pytest.approx(host, rel=1e-12)


def test_kept_bytes_as_torch_packs_them():
    for b, c, h, w, groups, m in cases('25-4', 5):
        net = nn.Sequential(*[ResBlock(c, c, groups=groups) for _ in range(m)])
        x, own, kept = torch.zeros(b, c, h, w, requires_grad=True), {p.data_ptr() for p in net.parameters()}, {}
        with torch.autograd.graph.saved_tensors_hooks(lambda v: kept.setdefault(v.data_ptr(), v), lambda v: v):
            out = net(x)
        size = sum(v.untyped_storage().nbytes() for address, v in kept.items() if address not in own)
        assert out.shape == x.shape and EXERCISES['25-4'].truth(b, c, h, w, groups, m) == size


def test_what_was_measured_is_whole():
    "Every gain is a ratio of the times beside it, over at least five rounds; a device without a run says so."
    known = json.loads((importlib.resources.files('diffbook') / 'measured' / 'speed.json').read_text())
    for device in ('cpu', 'cuda'):
        if known[device] == 'not measured':
            continue
        for name, row in known[device]['recipes'].items():
            plain, recipe = (s['median'] for s in row['seconds'])
            low, high = row['gain']['quartiles']
            assert row['rounds'] >= 5 and low <= row['gain']['median'] <= high, name
            assert row['gain']['median'] == pytest.approx(plain / recipe, rel=0.25), name
        flops = sum(row[1] for row in known[device]['training'].values())
        assert flops == known[device]['step']['flops'] and known[device]['about']['command']
