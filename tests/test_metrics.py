"""Metrics against closed forms, scipy and torchmetrics."""

import hashlib
import importlib.resources
import json

import helpers
import numpy as np
import pytest
import scipy.linalg
import torch
from helpers import needs_data
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from diffbook import metrics
from diffbook.core import build, describe, generator
from diffbook.data import draw_shapes, load_data, to_model
from diffbook.metrics import (
    Classifier,
    compare,
    copy_rate,
    features,
    fit_classifier,
    frechet_at_infinity,
    frechet_bias,
    frechet_distance,
    frechet_gaussian,
    kernel_distance,
    load_classifier,
    nearest,
    precision_recall,
    zoo_entry,
)

ZOO = importlib.resources.files('diffbook') / 'zoo'


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed, f'test metrics {shape}'), dtype=torch.float64)


def skewed(n, d, seed=0):
    "Features as networks make them: not negative, correlated, skewed."
    return (normal(n, d, seed=seed) @ normal(d, d, seed=9) / d**0.5 + 0.3).relu() + 0.05 * normal(n, d, seed=seed + 100) ** 2


# --- Frechet distance


@pytest.mark.parametrize('d', [1, 2, 7, 64])
def test_frechet_of_commuting_gaussians_is_known(d):
    basis, _ = torch.linalg.qr(normal(d, d, seed=d))
    s1, s2, m1, m2 = normal(d, seed=1).abs(), normal(d, seed=2).abs(), normal(d, seed=3), normal(d, seed=4)
    got = frechet_gaussian(m1, basis * s1**2 @ basis.T, m2, basis * s2**2 @ basis.T)
    assert got == pytest.approx(((m1 - m2) ** 2).sum().item() + ((s1 - s2) ** 2).sum().item(), rel=1e-8)


def test_frechet_agrees_with_scipy_and_torchmetrics():
    x, y = skewed(300, 24), skewed(400, 24, seed=5) + 0.1
    m1, m2, c1, c2 = x.mean(0), y.mean(0), x.T.cov(), y.T.cov()
    root = scipy.linalg.sqrtm((c1 @ c2).numpy())
    want = ((m1 - m2) ** 2).sum().item() + (c1 + c2).trace().item() - 2 * np.trace(root).real
    assert frechet_distance(x, y) == pytest.approx(want, rel=1e-9)
    assert frechet_distance(x, y) == pytest.approx(_compute_fid(m1, c1, m2, c2).item(), rel=1e-9)


def test_frechet_is_a_distance():
    x, y = skewed(200, 16), skewed(150, 16, seed=3) * 1.2
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)
    assert 0 <= frechet_distance(x, x) < 1e-6 * x.T.cov().trace()
    turn, _ = torch.linalg.qr(normal(16, 16))
    assert frechet_distance(x @ turn + 3, y @ turn + 3) == pytest.approx(frechet_distance(x, y), rel=1e-8)
    assert frechet_distance(5 * x, 5 * y) == pytest.approx(25 * frechet_distance(x, y), rel=1e-9)


def test_frechet_of_rank_deficient_clouds():
    "Fewer images than features: compare with the same clouds inside the space they span."
    flat_x, flat_y = normal(20, 5, seed=1), 1.5 * normal(30, 5, seed=2) + 1
    into, _ = torch.linalg.qr(normal(64, 5, seed=3))
    assert frechet_distance(flat_x @ into.T, flat_y @ into.T) == pytest.approx(frechet_distance(flat_x, flat_y), rel=1e-6)
    constant = torch.ones(4, 3, dtype=torch.float64)
    assert frechet_distance(constant, constant + 2) == pytest.approx(12)


def test_frechet_survives_a_large_mean_in_float32():
    x, y = normal(500, 8, seed=1), 1.1 * normal(500, 8, seed=2)
    got = frechet_distance((x + 1000).float(), (y + 1000).float())
    assert got == pytest.approx(frechet_distance((x + 1000).float().double() - 1000, (y + 1000).float().double() - 1000), rel=1e-7)


def test_bias_in_one_dimension():
    "In one dimension the leading term is (2 + 1/2 + 1/2) var / n; 4,000 repeats leave an error of 2.6 %, seven of them are allowed."
    n, repeats = 100, 4000
    x, y = normal(repeats, n, seed=7), normal(repeats, n, seed=8)
    d = (x.mean(1) - y.mean(1)) ** 2 + (x.std(1) - y.std(1)) ** 2
    assert frechet_bias(torch.eye(1), n) == pytest.approx(3 / n)
    assert d.mean().item() == pytest.approx(3 / n, rel=0.18)


def test_extrapolation_removes_the_bias():
    lam = (1 / torch.arange(1, 33, dtype=torch.float64)).sqrt()
    pairs = [(normal(1200, 32, seed=s) * lam, normal(1200, 32, seed=s + 50) * lam) for s in range(6)]
    plain = sum(frechet_distance(x, y) for x, y in pairs) / 6
    better = sum(frechet_at_infinity(x, y) for x, y in pairs) / 6
    assert plain == pytest.approx(frechet_bias((lam**2).diag(), 1200), rel=0.1)
    assert abs(better) < 0.15 * plain


# --- kernel distance


@pytest.mark.parametrize('n', [12, 1700])  # below and above one slab of rows
def test_kernel_agrees_with_torchmetrics(n):
    x, y = skewed(n, 10), skewed(n, 10, seed=4) + 0.05
    assert kernel_distance(x, y) == pytest.approx(poly_mmd(x, y).item(), rel=1e-7, abs=1e-10)


def test_kernel_takes_sets_of_different_sizes():
    x, y = normal(31, 4), normal(17, 4, seed=2)
    k = lambda a, b: (a @ b.T / 4 + 1) ** 3  # noqa: E731
    want = (k(x, x).sum() - k(x, x).trace()) / (31 * 30) + (k(y, y).sum() - k(y, y).trace()) / (17 * 16) - 2 * k(x, y).mean()
    assert kernel_distance(x, y) == pytest.approx(want.item(), rel=1e-11)


def test_kernel_sees_a_skew_that_frechet_cannot():
    "Two clouds with equal means and variances and other third moments; the limits are eight standard errors."
    bits = (torch.rand(4000, 1, generator=generator(0, 'skew'), dtype=torch.float64) < 0.1).double()
    skew, even = (bits - bits.mean()) / bits.std(), normal(4000, 1)
    even = (even - even.mean()) / even.std()
    assert frechet_distance(skew, even) < 1e-9
    assert kernel_distance(skew, even) > 4


# --- precision, recall, copies


def test_precision_and_recall_at_the_ends():
    x = normal(60, 3)
    assert precision_recall(x, x) == (1, 1)
    assert precision_recall(x, x + 100) == (0, 0)
    a, b = precision_recall(x, 2 * normal(50, 3, seed=2))
    assert precision_recall(2 * normal(50, 3, seed=2), x) == (b, a)


def test_precision_and_recall_name_the_failure():
    real = torch.cat([normal(300, 2, seed=1), normal(300, 2, seed=2) + 20])
    missing, poor = normal(600, 2, seed=3), torch.cat([8 * normal(300, 2, seed=4), 8 * normal(300, 2, seed=5) + 20])
    assert precision_recall(real, missing)[0] > 0.9 and precision_recall(real, missing)[1] < 0.55
    assert precision_recall(real, poor)[0] < 0.5


def test_radius_is_that_of_the_kth_other_point():
    line = torch.arange(10.0)[:, None]
    assert metrics._radii(line, 1).tolist() == [1] * 10
    assert metrics._radii(line, 2).tolist() == [2] + [1] * 8 + [2]


def test_nearest_is_the_brute_force_answer():
    x, among = normal(30, 2, 3), normal(40, 2, 3, seed=1)
    distance, index = nearest(x, among, rows=7)
    full = (x[:, None] - among).flatten(2).norm(dim=2)
    assert torch.equal(index, full.argmin(1))
    torch.testing.assert_close(distance, full.amin(1), rtol=1e-5, atol=1e-5)


def test_copy_rate_of_real_images_is_the_share_and_of_copies_is_one():
    train, held = normal(400, 6), normal(1000, 6, seed=1)
    assert copy_rate(held, train, held, share=0.05) == pytest.approx(0.05, abs=0.001)
    assert copy_rate(train[:50] + 1e-4, train, held) == 1
    assert copy_rate(normal(200, 6, seed=2) + 30, train, held) == 0


# --- the judge


def test_judge_is_the_pinned_one():
    entry = zoo_entry('classifier')
    data = (ZOO / entry['file']).read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry['sha256']
    assert len(data) == entry['bytes'] < 1_000_000
    assert sum(p.numel() for p in load_classifier().parameters()) == entry['parameters']
    assert entry['test_accuracy'] >= 0.91


def test_other_weights_are_refused(tmp_path, monkeypatch):
    zoo = tmp_path / 'zoo'
    zoo.mkdir()
    entry = zoo_entry('classifier')
    data = bytearray((ZOO / entry['file']).read_bytes())
    data[-1] ^= 1
    (zoo / entry['file']).write_bytes(bytes(data))
    (zoo / 'zoo.json').write_text(json.dumps({'classifier': entry}))
    monkeypatch.setattr(metrics.importlib.resources, 'files', lambda _: tmp_path)
    with pytest.raises(ValueError, match='sha256'):
        load_classifier()


def test_judge_names_garments():
    needs_data('FashionMNIST', 'raw/t10k-images-idx3-ubyte.gz')
    test, judge = load_data('fashion-mnist', 'test'), load_classifier()
    with torch.no_grad():
        named = judge(to_model(test.images[:2000])).argmax(1)
    assert (named == test.labels[:2000]).double().mean() > 0.9


def test_features_do_not_depend_on_the_batch():
    images = draw_shapes(9, 28).images[:, :1]
    whole = features(images)
    assert whole.dtype == torch.float64 and whole.shape == (9, 128)
    torch.testing.assert_close(features(images, batch_size=2), whole, rtol=1e-4, atol=1e-5)


def test_judge_is_built_from_its_description():
    judge = Classifier(3, 5, width=8, dim=16)
    again = build(describe(judge))
    assert [p.shape for p in again.parameters()] == [p.shape for p in judge.parameters()]


def test_training_repeats_and_learns():
    drawn = draw_shapes(200, 16, objects=(1,))
    one = metrics.Dataset(drawn.images, (drawn.labels[:, 0] == 0).long())
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append(list(fit_classifier(Classifier(3, 2, width=8, dim=8), one, epochs=4, batch_size=40)))
    assert runs[0] == runs[1] and len(runs[0]) == 20
    assert sum(runs[0][-5:]) < 0.8 * sum(runs[0][:5])


def test_compare_puts_a_floor_beside_every_number():
    drawn = draw_shapes(360, 28).images[:, :1]
    fake, real, other = drawn.split(120)
    report = compare(fake, real, other)
    f, r, o = features(fake), features(real), features(other)
    assert report['n'] == 120
    assert report['frechet'] == pytest.approx(frechet_distance(f, r)) and report['frechet_floor'] == pytest.approx(frechet_distance(o, r))
    assert report['kernel_floor'] == pytest.approx(kernel_distance(o, r)) and (report['precision'], report['recall']) == precision_recall(r, f)
    assert report['frechet_ratio'] == report['frechet'] / report['frechet_floor']


# --- errors

CLOUD, IMAGES = torch.randn(5, 3), torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
DRAWN = draw_shapes(16, 28).images[:, :1]


BAD = [
    (lambda: frechet_distance(CLOUD[:1], CLOUD), r'x has shape \(1, 3\), expected'),
    (lambda: frechet_distance(CLOUD, CLOUD[0]), r'y has shape \(3,\), expected'),
    (lambda: kernel_distance(CLOUD / 0, CLOUD), 'finite'),
    (lambda: precision_recall(CLOUD[:3], CLOUD), 'real has shape .* n of at least 4'),
    (lambda: precision_recall(CLOUD, CLOUD, k=0), 'k is 0'),
    (lambda: frechet_at_infinity(CLOUD, CLOUD), 'n of at least 16'),
    (lambda: nearest(CLOUD, torch.randn(4, 2)), 'expected the same'),
    (lambda: nearest(CLOUD, CLOUD[:0]), 'expected the same'),
    (lambda: copy_rate(CLOUD, CLOUD, CLOUD, share=1.0), 'share is 1.0'),
    (lambda: features(IMAGES.float()), 'uint8'),
    (lambda: features(torch.zeros(4, 3, 28, 28, dtype=torch.uint8)), r'expected \(n, 1, h, w\)'),
    (lambda: features(IMAGES[:0]), 'at least 1'),
    (lambda: compare(IMAGES, IMAGES[:3], IMAGES), '4 samples need as many real images twice, got 3 and 4'),
    (lambda: compare(DRAWN[:8], DRAWN[8:], DRAWN[8:]), 'the two real sets hold the same images'),
    (lambda: compare(DRAWN[:8], DRAWN[8:], DRAWN[8:].flip(0)), 'the two real sets hold the same images'),
    (lambda: zoo_entry('resnet'), "model is 'resnet', expected one of classifier"),
]  # fmt: skip
test_bad_input_is_refused = helpers.refuses(BAD)
