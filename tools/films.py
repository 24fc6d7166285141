"""Write nbs/live/data/films.js and film-*.js: samples on their way from noise, for the living films of chapters and of the first page.

    python -m tools.films               # all films
    python -m tools.films 32 home       # some of them

A film is a walk of DDIM by a model of the zoo, with the seed 0. Stored are the noise that it starts from and the model's guess of the
end at every step, as strips of WebP, each channel by itself; the page takes the steps itself. Two runs on one machine write the same bytes.
"""

import argparse
import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diffbook.core import Cond, noise
from diffbook.guidance import guide
from diffbook.samplers import clip_x0, ddim, sample, uniform_times
from diffbook.store.files import write_whole
from diffbook.training import load

DATA = Path(__file__).resolve().parents[1] / 'nbs' / 'live' / 'data'
SHAPES = (
    'a small red circle above a big blue square', 'a big yellow cross at the centre on a black background',
    'a large pink ring right of a little green triangle on white', 'a small cyan diamond below a big orange circle on grey',
    'a big blue ring above a big green ring', 'a little orange square left of a large cyan diamond',
    'a big green triangle on a white background', 'a small orange cross left of a small red ring on a grey background',
)  # fmt: skip
EMOJI = (
    'an emoji of a herb', 'a 3D emoji of a mango', 'an emoji of a grinning face with big eyes',
    'a 3D emoji of a snowman', 'a 3D emoji of an old woman', 'a 3D emoji of a globe showing Europe-Africa',
)  # fmt: skip
GARMENTS = (9, 4, 11, 34, 0, 20)  # of the sixty-four noises of the chapter


@dataclass
class Film:
    "What is stored of one film, and what the page is told about it at once."

    names: list[str]  # one walk each
    choice: str  # what the names are
    start: Tensor  # (1 or walks, c, h, w)
    guesses: Tensor  # (walks, steps, c, h, w)
    decoded: Tensor | None = None  # pictures of the guesses, (walks, steps, 3, h, w)
    reach: float = 1.0  # guesses lie between -reach and reach
    quality: int = 80  # of WebP
    levels: int = 256  # of the noise


def walk(denoise: Callable, schedule: object, x: Tensor, steps: int, cond: Cond | None = None) -> Tensor:
    "The guesses of a walk of DDIM, (walks, steps, c, h, w)."
    guesses: list[Tensor] = []

    def heard(x: Tensor, t: Tensor, cond: Cond | None = None) -> Tensor:
        guesses.append(denoise(x, t, cond))
        return guesses[-1]

    with torch.no_grad():
        for _ in sample(heard, schedule, x, uniform_times(schedule, steps), ddim, cond):
            pass
    return torch.stack(guesses, 1)


def garments() -> Film:
    model, start = load('fashion-mnist'), noise(0, 'start', 0, range(64), (1, 28, 28)).float()[list(GARMENTS)]
    return Film([f'noise {k + 1}' for k in range(len(GARMENTS))], 'Noise', start, walk(model, model.schedule, start, 24).clamp(-1, 1), quality=88)


def shapes() -> Film:
    model, start, n = load('shapes'), noise(0, 'start', 0, range(1), (3, 32, 32)).float(), len(SHAPES)
    denoise = clip_x0(guide(model, model.null(n), 3.0))
    return Film([*SHAPES], 'Caption', start, walk(denoise, model.schedule, start.expand(n, -1, -1, -1), 20, model.condition(SHAPES)), quality=90)


def emoji() -> Film:
    model, vae, n = load('emoji'), load('emoji-vae'), len(EMOJI)
    start = noise(0, 'start', 0, range(1), (4, 16, 16)).float()
    z = walk(guide(model, model.null(n), 2.0), model.schedule, start.expand(n, -1, -1, -1), 20, model.condition(EMOJI))
    with torch.no_grad():
        pictures = vae.decode(z.flatten(0, 1)).clamp(-1, 1).unflatten(0, z.shape[:2])
    return Film([*EMOJI], 'Caption', squared(start), squared(z), pictures, reach=7.0, quality=78)


def home() -> Film:
    model, start = load('fashion-mnist'), noise(0, 'start', 0, range(64), (1, 28, 28)).float()
    guesses = walk(model, model.schedule, start, 16).clamp(-1, 1)
    return Film(['sixty-four garments'], 'Film', squared(start[:, 0][None]), squared(guesses[:, :, 0].transpose(0, 1))[None], quality=55, levels=16)


FILMS = {'32': garments, '44': shapes, '52': emoji, 'home': home}


def squared(x: Tensor) -> Tensor:
    "Channels side by side in a square: (..., c * c, h, w) to (..., 1, c * h, c * w)."
    side = round(x.shape[-3] ** 0.5)
    return x.unflatten(-3, (side, side)).movedim(-3, -2).flatten(-2).flatten(-3, -2).unsqueeze(-3)


def strip(x: Tensor, reach: float, levels: int = 256, **how: object) -> str:
    "Pictures between -reach and reach below each other, in grey or, with a last axis of 3, in colour, as WebP in base64."
    grey = ((x / reach).clamp(-1, 1) + 1) / 2
    rows = ((grey * (levels - 1)).round() / (levels - 1) * 255).round().byte()
    rows = rows if rows.shape[-1] == 3 else rows.flatten(0, -2)
    Image.fromarray(rows.numpy()).convert('RGB').save(file := io.BytesIO(), 'WEBP', method=6, **how)
    return base64.b64encode(file.getvalue()).decode()


def stored(film: Film) -> dict[str, str]:
    parts = {'noise': strip(film.start, 4.0, film.levels, lossless=True), 'guesses': strip(film.guesses, film.reach, quality=film.quality)}
    return parts if film.decoded is None else parts | {'decoded': strip(film.decoded.movedim(-3, -1).flatten(0, 2), 1.0, quality=70)}


def told(film: Film) -> dict[str, object]:
    "What the page knows before the strips are there."
    walks, steps, channels, height, width = film.guesses.shape
    about = {'names': film.names, 'choice': film.choice, 'steps': steps, 'channels': channels, 'side': width, 'reach': film.reach, 'noises': len(film.start)}
    return about if film.decoded is None else about | {'decoded': film.decoded.shape[-1]}


def script(name: str, value: object) -> str:
    said = '// Samples on their way from noise, by models of the zoo; written by tools/films.py.\n'
    return f"{said}'use strict';\n((globalThis.live ??= {{}}).data ??= {{}})['{name}'] = {json.dumps(value)};\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'films, of {", ".join(FILMS)}; all if none is named')
    parser.add_argument('--out', type=Path, default=DATA)
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    index = a.out / 'films.js'
    about = json.loads(index.read_text().split(' = ', 1)[1].rstrip(';\n')) if index.exists() else {}
    for name in a.names or FILMS:
        film = FILMS[name]()
        about[name] = told(film)
        write_whole(a.out / f'film-{name}.js', (text := script(f'film-{name}', stored(film))).encode())
        print(f'{name}: {len(text):,} bytes')
    write_whole(index, script('films', {name: about[name] for name in FILMS if name in about}).encode())


if __name__ == '__main__':
    main()
