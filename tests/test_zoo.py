"""The models in the package are the ones that the records describe, and they work."""

import csv
import hashlib
import importlib.resources
import json

import pytest
import torch
from safetensors.torch import load_file

from diffbook.core import noise
from diffbook.data import from_model, to_model
from diffbook.losses import diffusion_loss
from diffbook.metrics import load_classifier, zoo_entry
from diffbook.samplers import sample, uniform_times
from diffbook.training import load, read_model

ZOO = importlib.resources.files('diffbook') / 'zoo'
GARMENTS = ZOO / 'fashion-mnist'


@pytest.fixture(scope='module')
def model():
    return load('fashion-mnist')


@pytest.mark.parametrize('name', ['classifier', 'fashion-mnist'])
def test_files_have_the_digests_on_record(name):
    entry = zoo_entry(name)
    data = (ZOO / entry['file']).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry['bytes'], entry['sha256'])
    assert len(data) < 5_000_000


def test_results_were_measured_with_the_pinned_judge():
    for file in (ZOO / 'floors.json', GARMENTS / 'report.json'):
        assert json.loads(file.read_text())['judge'] == zoo_entry('classifier')['sha256']


def test_log_ends_where_the_record_says():
    about, log = read_model('fashion-mnist')[0]['about'], list(csv.DictReader((GARMENTS / 'log.csv').read_text().splitlines()))
    steps = [int(row['step']) for row in log]
    assert steps == sorted(set(steps)) and steps[-1] == about['steps']
    assert int(log[-1]['images']) == about['images'] == about['steps'] * about['batch']
    assert about['training_flops'] == 3 * about['forward_flops'] * about['images']


def test_parameters_and_arithmetic_are_those_on_record(model):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    about = read_model('fashion-mnist')[0]['about']
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model.raw(torch.zeros(1, 1, 28, 28), torch.tensor([0.5]))
    assert sum(p.numel() for p in model.parameters()) == about['parameters']
    assert counter.get_total_flops() == about['forward_flops']


def test_model_denoises_real_garments(model):
    "Weights that landed in the wrong place would do no better than silence, whose error is near 1."
    real = to_model(load_file(GARMENTS / 'gallery.safetensors')['real'])
    eps = noise(0, 'test zoo', 0, range(len(real)), (1, 28, 28)).float()
    with torch.no_grad():
        for t, most in ((0.3, 0.2), (0.5, 0.2), (0.7, 0.25)):
            assert diffusion_loss(model, real, torch.full((len(real),), t), eps).mean() < most


def test_judge_is_sure_of_samples(model):
    x = noise(3, 'start', 0, range(24), (1, 28, 28)).float()
    *_, x0 = sample(model, model.schedule, x, uniform_times(model.schedule, 12))
    with torch.no_grad():
        surety, kinds = load_classifier()(to_model(from_model(x0))).softmax(1).max(1)
    assert surety.mean() > 0.7 and len(kinds.unique()) >= 4
