"""A folder of pictures to try things on: digits, each drawn a little differently, in ten folders."""

import math
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from diffbook.core import generator, whole
from diffbook.store.files import make_folder

__all__ = ['NAMES', 'draw_digits']

NAMES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')


def draw_digits(
    folder: str | Path,  # made if need be
    each: int = 60,  # pictures of each digit
    size: int = 16,  # height and width
    seed: int = 0,
) -> Path:  # the folder
    "Draw digits in white on black as PNG files, turned, slanted, large and small, in a sub-folder for each of the ten."
    folder = make_folder(folder)
    whole('each', each), whole('size', size, 8)
    for digit, name in enumerate(NAMES):
        (folder / name).mkdir(exist_ok=True)
        numbers = torch.rand(each, 6, generator=generator(seed, 'digits', digit), dtype=torch.float64)
        for k, (turn, slant, x, y, height, ink) in enumerate(numbers.tolist()):
            draw_digit(str(digit), size, 0.5 * turn - 0.25, 0.4 * slant - 0.2, (0.14 * x - 0.07, 0.14 * y - 0.07), 0.75 + 0.25 * height, 190 + int(65 * ink)).save(
                folder / name / f'{k:03d}.png'
            )
    return folder


def draw_digit(text: str, size: int, turn: float, slant: float, move: tuple[float, float], height: float, ink: int) -> Image.Image:
    "One digit, drawn four times as large and made small."
    side = 4 * size
    image = Image.new('L', (side, side), 0)
    place = tuple(side * (0.5 + v) for v in move)
    ImageDraw.Draw(image).text(place, text, fill=ink, font=ImageFont.load_default(side * height), anchor='mm', stroke_width=side // 32, stroke_fill=ink)
    image = image.rotate(math.degrees(turn), Image.Resampling.BICUBIC)
    image = image.transform((side, side), Image.Transform.AFFINE, (1, slant, -slant * side / 2, 0, 1, 0), Image.Resampling.BICUBIC)
    return image.resize((size, size), Image.Resampling.BOX)
