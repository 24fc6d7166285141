"""Draw the film of the README: garments of the zoo on their way from noise, as an animated GIF.

python tools/film.py                                   # nbs/images/film.gif
python tools/film.py --model fashion-mnist --rows 3 --columns 10 --steps 24 --out film.gif
"""

import argparse
import io
from pathlib import Path

import torch
from PIL import Image

from diffbook.cli.models import solver_named
from diffbook.data import from_model
from diffbook.stages import Stage
from diffbook.store.files import write_whole
from diffbook.training import load


def frames(model: str, n: int, steps: int, seed: int) -> list[torch.Tensor]:
    "Every state of the walk, from noise to garment, each (n, 1, 28, 28) in bytes."
    net = load(model)
    stage = Stage(net, net.schedule, (1, 28, 28), solver=solver_named('heun'))
    return [from_model(x.clamp(-1.5, 1.5) / 1.5 if k < steps else x) for k, x in enumerate(stage.sample(n, seed=seed, steps=steps), 1)]


def tiled(x: torch.Tensor, columns: int, zoom: int) -> Image.Image:
    "One picture of many, dark on light, with a little room between them."
    cells = torch.nn.functional.pad(255 - x[:, 0], (1, 1, 1, 1), value=255)
    grid = torch.cat([torch.cat(list(row), 1) for row in cells.split(columns)], 0)
    return Image.fromarray(grid.numpy()).resize((zoom * grid.shape[1], zoom * grid.shape[0]), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='fashion-mnist')
    parser.add_argument('--rows', type=int, default=2)
    parser.add_argument('--columns', type=int, default=12)
    parser.add_argument('--steps', type=int, default=14)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--zoom', type=int, default=2)
    parser.add_argument('--colours', type=int, default=8)
    parser.add_argument('--out', type=Path, default=Path('nbs/images/film.gif'))
    a = parser.parse_args()
    film = [tiled(x, a.columns, a.zoom).quantize(a.colours, kmeans=1) for x in frames(a.model, a.rows * a.columns, a.steps, a.seed)]
    times = [120] * (len(film) - 1) + [2500]  # the last one stands still
    film[0].save(file := io.BytesIO(), 'GIF', save_all=True, append_images=film[1:], duration=times, loop=0, optimize=True)
    write_whole(a.out, file.getvalue())
    print(f'{len(film)} frames, {a.out.stat().st_size:,} bytes, in {a.out}')


if __name__ == '__main__':
    main()
