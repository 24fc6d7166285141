"""Write nbs/live/data/garments.js: the garments that living figures cover with noise, drawn by the model of the package.

python -m tools.garments            # five of the sixteen samples that travel with zoo/fashion-mnist, 28 x 28 bytes each
"""

import argparse
import base64
import json
from pathlib import Path

from safetensors.torch import load_file

from diffbook.store.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / 'diffbook' / 'zoo' / 'fashion-mnist' / 'gallery.safetensors'
PICKED = {'pullover': 2, 'T-shirt': 5, 'boot': 9, 'bag': 11, 'dress': 10}  # by their place among the samples


def garments() -> str:
    "The file: names, the side in pixels, and the grey values of all in base64, one picture after the other."
    pixels = load_file(GALLERY)['samples'][list(PICKED.values()), 0]
    data = {'names': list(PICKED), 'side': pixels.shape[-1], 'pixels': base64.b64encode(pixels.numpy().tobytes()).decode()}
    said = '// Garments drawn by the model zoo/fashion-mnist; written by tools/garments.py.\n'
    return f"{said}'use strict';\n((globalThis.live ??= {{}}).data ??= {{}}).garments = {json.dumps(data)};\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'nbs' / 'live' / 'data' / 'garments.js')
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, garments().encode())
    print(f'{out}: {out.stat().st_size:,} bytes')


if __name__ == '__main__':
    main()
