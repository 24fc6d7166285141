"""Figures: what is written is what was given, whole or not at all."""

import matplotlib.pyplot as plt
import pytest
import torch

from diffbook.data import save_images
from diffbook.plots import histogram, images, lines, montage, panels, save


def test_a_saved_grid_holds_every_pixel(tmp_path):
    x = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    save_images(x, tmp_path / 'grid.png', columns=2, zoom=3)
    pixels = torch.from_numpy(plt.imread(tmp_path / 'grid.png'))[..., :3]
    assert pixels.shape == (3 * (3 * 4 + 2 * 2), 3 * (2 * 4 + 2), 3)
    for i, image in enumerate(x):
        top, left = 3 * 6 * (i // 2), 3 * 6 * (i % 2)
        got = pixels[top : top + 12 : 3, left : left + 12 : 3]
        assert torch.allclose(got, (image.permute(1, 2, 0) + 1) / 2, atol=0.5 / 255 + 1e-6)
    assert list(tmp_path.iterdir()) == [tmp_path / 'grid.png']


def test_values_outside_the_range_are_clipped_and_grey_becomes_three_equal_channels():
    grid = montage(torch.tensor([-3.0, 0.0, 5.0]).reshape(3, 1, 1, 1), columns=3, gap=0)
    assert torch.equal(grid, torch.tensor([0.0, 0.5, 1.0])[None, :, None].expand(1, 3, 3))


@pytest.mark.parametrize('shape', [(3, 4, 4), (2, 2, 4, 4), (4, 4)])
def test_what_is_no_batch_of_images_is_refused(shape):
    with pytest.raises(ValueError, match='expected'):
        images(torch.ones(shape))


def test_nothing_is_left_when_a_figure_cannot_be_written(tmp_path):
    lines([0, 1], {'a': [0, 1]})
    with pytest.raises(OSError):
        save(tmp_path / 'missing' / 'figure.png')
    with pytest.raises(ValueError):
        lines([0, 1], {'a': [0, 1]})
        save(tmp_path / 'figure.nonsense')
    assert list(tmp_path.iterdir()) == []


def test_curves_hold_the_values_they_were_given():
    with panels(2) as axes:
        lines(range(3), {'a': torch.tensor([1.0, 4.0, 9.0])}, logy=True, ax=axes[0])
        histogram(torch.randn(10_000, generator=torch.Generator().manual_seed(0)), bins=20, ax=axes[1])
    assert axes[0].lines[0].get_ydata().tolist() == [1, 4, 9] and axes[0].get_yscale() == 'log'
    area = sum(p.get_width() * p.get_height() for p in axes[1].patches)
    assert area == pytest.approx(1)
