"""Data sets: pure order, units and back, toys, and what is opened by name."""

import itertools
import subprocess
import sys

import pytest
import torch

from diffbook.core import generator
from diffbook.data import (
    TOYS,
    Dataset,
    batch_indices,
    batches,
    from_model,
    gaussian_ring,
    load_data,
    subset,
    to_model,
)
from diffbook.shapes import (
    draw_shapes,
)

# --- batches


@pytest.mark.parametrize('n, size, start', [(10, 4, 0), (10, 4, 7), (10, 25, 3), (7, 7, 5), (1, 3, 2), (64, 1, 100)])
def test_batches_are_the_function_of_seed_and_step(n, size, start):
    got = list(itertools.islice(batches(torch.arange(n), size, seed=3, start_step=start), 6))
    assert all(torch.equal(b, batch_indices(n, size, 3, start + k)) for k, b in enumerate(got))


def test_every_epoch_shows_every_example_once_in_another_order():
    line = torch.cat(list(itertools.islice(batches(torch.arange(50), 7), 50)))
    epochs = line[: 50 * (len(line) // 50)].reshape(-1, 50)
    assert torch.equal(epochs.sort(1).values, torch.arange(50).expand_as(epochs))
    assert len({tuple(e.tolist()) for e in epochs}) == len(epochs)  # a repeat has probability below 1e-60


def test_batches_keep_images_and_labels_together():
    drawn = draw_shapes(20, 16)
    x, y = next(batches(drawn, 8, seed=1))
    where = [(drawn.images == image).flatten(1).all(1).nonzero()[0].item() for image in x]
    assert torch.equal(drawn.labels[where], y)


@pytest.mark.parametrize(
    'args',
    [
        (torch.empty(0, 2), 1),
        ((torch.ones(3), torch.ones(4)), 1),
        (torch.ones(3), 0),
        (torch.ones(3), 1, 0, -1),
        ((), 1),
    ],
)
def test_batches_refuse(args):
    with pytest.raises(ValueError, match='expected|number'):
        batches(*args)


# --- units


def test_units_round_to_the_nearest_byte_and_clip():
    x = torch.tensor([-7.0, -1.0, 0.0, 1.0, 2.0, -1 + 0.51 / 127.5, -1 + 0.49 / 127.5])
    assert from_model(x).tolist() == [0, 0, 128, 255, 255, 1, 0]


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_units_refuse_what_is_not_finite(bad):
    with pytest.raises(ValueError, match='finite'):
        from_model(torch.tensor([0.0, bad]))


def test_dataset_refuses_what_does_not_fit():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    for kwargs in (
        {'images': images.float()},
        {'images': images[0]},
        {'images': images[:0]},
        {'images': images, 'labels': torch.zeros(2)},
        {'images': images, 'captions': ('a',)},
    ):
        with pytest.raises(ValueError, match='expected|empty|images and'):
            Dataset(**kwargs)


def test_subset_keeps_what_belongs_together():
    drawn = draw_shapes(9, 16)
    part = subset(drawn, torch.tensor([4, 1]))
    assert part.captions == (drawn.captions[4], drawn.captions[1])
    assert torch.equal(part.labels, drawn.labels[[4, 1]]) and torch.equal(part.images, drawn.images[[4, 1]])


# --- toys


def test_toys_lie_where_they_should():
    points = {name: toy(4000, generator(5, name)) for name, toy in TOYS.items()}
    assert all(p.shape == (4000, 2) and p.dtype == torch.float64 and 0.6 < p.std() < 1.3 for p in points.values())
    x, y = points['checkerboard'].floor().long().unbind(1)
    assert ((x + y) % 2 == 0).all() and set(x.tolist()) == set(y.tolist()) == {-2, -1, 0, 1}
    squares = torch.bincount((x + 2) * 4 + y + 2, minlength=16)
    assert ((squares[squares > 0] - 500).square() / 500).sum() < 45  # chi-square of 7 degrees, false alarm below 2e-7
    upper = (points['two_moons'] / 1.3 + torch.tensor([0.5, 0.25])).norm(dim=1) - 1
    lower = (torch.tensor([0.5, 0.25]) - points['two_moons'] / 1.3).norm(dim=1) - 1
    assert torch.minimum(upper.abs(), lower.abs()).max() < 6.5 * 0.06
    turn = torch.linspace(0, 4 * torch.pi, 4000, dtype=torch.float64)
    curve = torch.stack([turn * turn.cos(), turn * turn.sin()], 1) / (2 * torch.pi)
    assert torch.cdist(points['spiral'], curve).min(1).values.max() < 6.5 * 0.03 + 0.01


def test_gaussian_ring_is_what_eight_gaussians_draws():
    weights, means, covs = gaussian_ring()
    points = TOYS['eight_gaussians'](20000, generator(6, 'ring'))
    mean = (weights[:, None] * means).sum(0)
    cov = (weights[:, None, None] * (covs + means[:, :, None] * means[:, None])).sum(0) - torch.outer(mean, mean)
    assert (points.mean(0) - mean).abs().max() < 6 * (cov.diagonal().max() / 20000).sqrt()
    assert (points.T.cov() - cov).abs().max() < 6 * 1.5 / 20000**0.5
    nearest = torch.cdist(points, means).argmin(1)
    assert abs((points - means[nearest]).std() - covs[0, 0, 0].sqrt()) < 6 * 0.12 / 40000**0.5


@pytest.mark.parametrize(
    'args, words',
    [(('cats',), 'cats.*expected shapes, fashion-mnist'), (('shapes', 'valid'), "valid.*expected 'train' or 'test'")],
)
def test_load_refuses(args, words):
    with pytest.raises(ValueError, match=words):
        load_data(*args)


def test_model_units_of_bytes_are_symmetric():
    assert to_model(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_pictures_are_written_without_the_library_of_figures(tmp_path):
    "In a process of its own: every pixel is there, and matplotlib is not imported."
    ask = (
        'import sys, torch; from diffbook.data import save_images, read_folder, from_model; x = torch.linspace(-1.2, 1.2, 300).reshape(1, 3, 10, 10); '
        "save_images(x, sys.argv[1] + '/a.png', zoom=1); assert torch.equal(read_folder(sys.argv[1], 10).images, from_model(x)); print('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', ask, str(tmp_path)], capture_output=True, text=True, check=True).stdout == 'False\n'
    assert [p.name for p in tmp_path.iterdir()] == ['a.png']


def test_units_may_run_from_black_to_white_as_said():
    x = torch.linspace(-2, 3, 501, dtype=torch.float64)
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (-2.0, 3.0)):
        want = [min(255, max(0, (v - low) / (high - low) * 255)) for v in x.tolist()]
        assert (from_model(x, low, high).double() - torch.tensor(want, dtype=torch.float64)).abs().max() <= 0.5 + 1e-9


def test_a_data_set_prints_in_one_line():
    images, labels = torch.zeros(1200, 3, 8, 8, dtype=torch.uint8), torch.zeros(1200).long()
    assert repr(Dataset(images, name='signs')) == '<Dataset signs: 1,200 images of 3 x 8 x 8>'
    assert repr(Dataset(images, labels, ('a',) * 1200, 'signs', ('ring', 'cross'))).endswith('8 x 8, with classes ring, cross and captions>')
    assert repr(Dataset(images, labels)).endswith(', with labels>')
