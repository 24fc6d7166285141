"""Metrics against closed forms, scipy and torchmetrics."""

import hashlib
import importlib.resources
import itertools
import json
from fractions import Fraction

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
from diffbook.data import load_data, to_model
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
from diffbook.shapes import draw_shapes

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


def test_kernel_is_exact_far_from_zero():
    "In rational arithmetic, at offsets where cubes would swallow the digits: the estimate does depend on the offset, so it is computed there."
    x, y = (torch.randint(-8, 9, (n, 3), generator=generator(n, 'kernel')).double() / 16 for n in (5, 4))
    for offset in (0, 1000, 2**20):
        a, b = ([[Fraction(float(v)) + offset for v in row] for row in cloud] for cloud in (x, y))
        k = lambda u, v: (sum(p * q for p, q in zip(u, v)) / 3 + 1) ** 3  # noqa: E731
        mean = lambda v, w, skip: Fraction(sum(k(p, q) for i, p in enumerate(v) for j, q in enumerate(w) if not (skip and i == j))) / (len(v) * (len(w) - skip))  # noqa: E731
        want = mean(a, a, 1) + mean(b, b, 1) - 2 * mean(a, b, 0)
        assert kernel_distance(x + offset, y + offset) == pytest.approx(float(want), rel=1e-12)
    assert kernel_distance(x, y, rows=2) == pytest.approx(kernel_distance(x, y), rel=1e-12)


@pytest.mark.parametrize('n, d', [(2, 1), (2, 5), (3, 64), (5, 5)])
def test_every_number_of_points_from_two_on(n, d):
    "Two points have a covariance of rank one, and a distance by hand; fewer points than dimensions are as good as more."
    x, y = normal(n, d, seed=1), normal(n + 1, d, seed=2)
    if n == 2:
        y = y[:2]
        a, b = (v[0] - v[1] for v in (x, y))
        want = (x.mean(0) - y.mean(0)).square().sum() + (a.square().sum() + b.square().sum()) / 2 - (a @ b).abs()
        assert frechet_distance(x, y) == pytest.approx(want.item(), rel=1e-6)
    for offset in (0.0, 2.0**40):
        left = (x + offset) - offset, (y + offset) - offset  # what is left of the clouds out there
        assert frechet_distance(x + offset, y + offset) == pytest.approx(frechet_distance(*left), rel=1e-9)
        assert np.isfinite(kernel_distance(x + offset, y + offset))
    assert all(0 <= v <= 1 for v in precision_recall(x, y, k=1))


def test_extrapolation_counts_every_part():
    "Every number of points gives as many parts as asked for: where all parts lie 2 apart, so does the limit."
    for n in (16, 17, 19, 25, 40):
        for m in (16, 31):
            assert frechet_at_infinity(torch.zeros(n, 1), torch.full((m, 1), 2.0)) == pytest.approx(4, rel=1e-9)
    x, y = skewed(64, 3), skewed(64, 3, seed=2)
    runs = [frechet_at_infinity(x, y), frechet_at_infinity(x, y, seed=1), frechet_at_infinity(x, y, (2, 4))]
    assert min(abs(a - b) for a, b in itertools.combinations(runs, 2)) > 1e-3 and frechet_at_infinity(x, y) == pytest.approx(
        runs[0], rel=1e-9
    )  # the matrix library rounds as it likes


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


PLACES = {'at zero': (0.0, 1.0), 'far': (1e8, 1.0), 'fine': (50.0, 1e-9), 'small': (0.0, 1e-30), 'large': (0.0, 1e30), 'bytes': (128.0, 30.0)}


@pytest.mark.parametrize('kind', [torch.float64, torch.float32, torch.uint8])
@pytest.mark.parametrize('place', PLACES)
def test_neighbours_are_exact_at_any_offset_and_scale(place, kind):
    "Against all differences in double precision; a copy is at distance 0, and the first of equals is named."
    offset, scale = PLACES[place]
    if kind == torch.uint8 and place != 'bytes':
        return
    x, among = ((offset + scale * normal(n, 40, seed=n)).to(kind) for n in (25, 60))
    among = torch.cat([among, among[:5], x[:3]])
    full = (x.double()[:, None] - among.double()).square().sum(2)
    distance, index = nearest(x, among)
    assert torch.equal(index, full.argmin(1)) and (distance[:3] == 0).all()
    torch.testing.assert_close(distance, full.amin(1).sqrt(), rtol=1e-14, atol=0)
    for rows in (1, 7):
        assert all(torch.equal(a, b) for a, b in zip(nearest(x, among, rows), (distance, index)))
    x, among = x.double(), among.double()
    few = metrics._nearest(x, among, x - among.mean(0), among - among.mean(0), at_once=100)
    assert torch.equal(few[0], distance) and torch.equal(few[1], index)


def test_neighbours_within_clusters_that_lie_far_apart():
    "No origin is near all of them: differences decide."
    at = torch.tensor([-1e9, 1e9]).double().repeat_interleave(40)[:, None]
    among, x = at + 1e-3 * normal(80, 6), at[::8] + 1e-3 * normal(10, 6, seed=1)
    full = (x[:, None] - among).square().sum(2)
    assert torch.equal(nearest(x, among)[1], full.argmin(1))
    torch.testing.assert_close(nearest(x, among)[0], full.amin(1).sqrt(), rtol=1e-14, atol=0)


@pytest.mark.parametrize('offset, scale', [(0.0, 1.0), (1e7, 1e-3), (-50.0, 1e-6)])
def test_precision_and_recall_at_any_offset_and_scale(offset, scale):
    "Balls found by differences: the shares stay those of the clouds at zero, to the digits that the coordinates keep."
    x, y = (normal(60, 30, seed=s) * (1 + 0.1 * s) for s in (0, 1))
    x, y = ((offset + scale * v) - offset for v in (x, y))  # what is left of the clouds out there
    assert precision_recall(offset + x, offset + y) == precision_recall(x, y) != (0, 0)
    assert precision_recall(offset + x, offset + x.flip(0)) == (1, 1)


def test_k_decides_how_far_a_ball_reaches():
    "A wider ball holds no less; with k + 1 points it reaches the last of them, with k it is refused by name."
    x, y = normal(50, 3), 2 * normal(40, 3, seed=2)
    shares = [precision_recall(x, y, k) for k in (1, 3, 8)]
    assert [p for p, _ in shares] == sorted(p for p, _ in shares) and shares[0] < shares[2]
    assert precision_recall(x[:4], x[:4] + 0.01, k=3) == (1, 1)


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
    monkeypatch.setattr('diffbook.store.zoo.importlib.resources.files', lambda _: tmp_path)
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


@pytest.mark.parametrize('mode', ['train', 'eval', 'mixed'])
def test_a_judge_judges_in_evaluation_mode_and_is_left_as_it_came(mode):
    "Its weights, its running averages and the mode of each part stay; what it says depends on no other image."
    torch.manual_seed(0)
    judge, images = Classifier(1, 3, width=8, dim=8), draw_shapes(9, 28).images[:, :1]
    list(fit_classifier(judge, metrics.Dataset(images, torch.arange(9) % 3), epochs=2))
    want = features(images, judge)
    judge.train(mode != 'eval')
    judge.body[1].train(mode == 'train')
    modes, before = [m.training for m in judge.modules()], {k: v.clone() for k, v in judge.state_dict().items()}
    for got in (features(images, judge), features(images, judge, batch_size=1), torch.cat([features(v[None], judge) for v in images])):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError):
        features(images.float(), judge)
    assert [m.training for m in judge.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in judge.state_dict().items())


def test_every_option_of_training_a_judge_changes_what_it_promises():
    "Few images are one batch; epochs count steps; seed, rate and mirroring change the losses after the first step."
    data = metrics.Dataset(draw_shapes(20, 16).images, torch.arange(20) % 2)

    def losses(**options):
        torch.manual_seed(0)
        return list(fit_classifier(Classifier(3, 2, width=8, dim=8), data, **options))

    base = losses(epochs=3)
    assert len(base) == 3 and len(losses(epochs=3, batch_size=5)) == 12 and len(losses()) == 10
    still = losses(epochs=3, rate=1e-12, mirror=False)
    assert max(still) - min(still) < 1e-3 < max(base) - min(base)
    apart = lambda a, b: max(abs(p - q) for p, q in zip(a, b)) > 1e-3  # noqa: E731 (more than rounding)
    for options in ({'mirror': False}, {'seed': 1}, {'rate': 1e-2}):
        assert apart(losses(epochs=3, **options), base), options
    assert not apart(losses(epochs=1, mirror=False, seed=1), losses(epochs=1, mirror=False)), 'one batch of all has no order'
    assert apart(losses(epochs=1, mirror=False, batch_size=5, seed=1), losses(epochs=1, mirror=False, batch_size=5))
    data = metrics.Dataset(data.images[:1].repeat(20, 1, 1, 1), torch.zeros(20, dtype=torch.long))  # one image: what differs is how many are mirrored
    assert apart(losses(epochs=3, seed=1), losses(epochs=3))


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
    (lambda: features(torch.zeros(4, 2, 28, 28, dtype=torch.uint8)), r'expected \(n, 1, h, w\)'),
    (lambda: features(IMAGES[:0]), 'at least 1'),
    (lambda: compare(IMAGES, IMAGES[:3], IMAGES), '4 samples need as many real images twice, got 3 and 4'),
    (lambda: compare(DRAWN[:8], DRAWN[8:], DRAWN[8:]), 'the two real sets hold the same images'),
    (lambda: compare(DRAWN[:8], DRAWN[8:], DRAWN[8:].flip(0)), 'the two real sets hold the same images'),
    (lambda: zoo_entry('resnet'), "model is 'resnet', expected one of captions, classifier"),
]  # fmt: skip
test_bad_input_is_refused = helpers.refuses(BAD)
