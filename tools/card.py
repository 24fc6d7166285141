"""Draw the card that stands for a page of the site where a link to it is shared: garments of the zoo on their way from noise.

python tools/card.py                       # nbs/images/card.png, 1200 x 630
"""

import argparse
import io
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from diffbook.store.files import write_whole
from tools.film import frames

PAPER, INK, FONT = '#fffdf9', '#22252a', Path(__file__).parents[1] / 'nbs' / 'styles' / 'fonts'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='fashion-mnist')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('nbs/images/card.png'))
    args = parser.parse_args()
    rows, columns, side = 3, 9, 112
    film = torch.stack(frames(args.model, rows, 2 * columns, args.seed))  # (steps, rows, 1, 28, 28)
    card = Image.new('RGB', (1200, 630), PAPER)
    for c in range(columns):
        for r in range(rows):
            k = round((len(film) - 1) * c / (columns - 1))
            picture = Image.fromarray(255 - film[k, r, 0].numpy()).resize((side, side), Image.Resampling.NEAREST)
            card.paste(picture, (60 + c * (side + 9), 230 + r * (side + 9)))
    pen = ImageDraw.Draw(card)
    pen.text((60, 48), 'diffbook', fill='#17609c', font=ImageFont.truetype(FONT / 'sans-bold.woff2', 76))
    pen.text((60, 148), 'Diffusion models, from noise to pictures', fill=INK, font=ImageFont.truetype(FONT / 'text.woff2', 44))
    card.quantize(64).save(file := io.BytesIO(), 'PNG', optimize=True)
    write_whole(args.out, file.getvalue())
    print(f'{len(file.getvalue()):,} bytes in {args.out}')


if __name__ == '__main__':
    main()
