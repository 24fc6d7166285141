"""Count how well the zoo's model of shapes draws what captions say.

    python tools/measure_text.py shapes

Captions come from parts of the world of shapes that training never saw: new scenes, and new kinds (an object of a shape
and colour that were held out together). A reader of shapes looks at each picture, and a caption is right if all that it
states is there. Writes report.json beside the model, and gallery.safetensors: the pictures that the chapter shows.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from diffbook.data import from_model
from diffbook.guidance import guide
from diffbook.recognise import caption_agrees, read_caption, read_shapes
from diffbook.samplers import clip_x0
from diffbook.shapes import draw_split
from diffbook.stages import Stage
from diffbook.store.files import write_whole
from diffbook.training import find_model, load

SETS = {  # name -> (split, how many objects)
    'one object': ('new scenes', (1,)),
    'two objects': ('new scenes', (2,)),
    'three objects': ('new scenes', (3,)),
    'new kinds, one object': ('new kinds', (1,)),
    'new kinds, two objects': ('new kinds', (2,)),
}


def draw(model, captions: list[str], scale: float, steps: int, seed: int, size: int, batch: int = 64) -> torch.Tensor:
    "Draw one picture for each caption, (n, 3, size, size) uint8; scale 0 leaves the captions out."
    pictures = []
    for first in range(0, len(captions), batch):
        some = captions[first : first + batch]
        with torch.inference_mode():
            cond, null = model.condition(some), model.null(len(some))
        denoise = model if scale in (0, 1) else guide(model, null, scale)
        stage = Stage(clip_x0(denoise), model.schedule, (3, size, size))
        pictures.append(from_model(stage.draw(len(some), null if scale == 0 else cond, seed=seed, first=first, steps=steps)))
    return torch.cat(pictures)


def same_bag(text: str, scene: list[int]) -> bool:
    "Whether a picture shows the shapes and the colours that a caption names, whichever belongs to which."
    found = [scene[k : k + 2] for k in (1, 5, 9) if scene[k] >= 0]
    said = [thing[:2] for thing in read_caption(text).things]
    return all(sorted(thing[k] for thing in found) == sorted(thing[k] for thing in said) for k in (0, 1))


def shares(captions: list[str], pictures: torch.Tensor) -> dict[str, float]:
    "Give the share of pictures that are right, fact by fact, and of all facts the 95 % interval (Wilson)."
    labels = read_shapes(pictures)
    row = {fact: ok.double().mean().item() for fact, ok in caption_agrees(captions, labels).items()}
    row['bag'] = sum(map(same_bag, captions, labels.tolist())) / len(captions)
    n, p, z = len(captions), row['all'], 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return {'n': n} | row | {'low': (middle - half) / (1 + z * z / n), 'high': (middle + half) / (1 + z * z / n)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='a folder, or a name in the zoo')
    parser.add_argument('--n', type=int, default=256, help='captions of each set')
    parser.add_argument('--scale', type=float, default=3.0, help='of guidance')
    parser.add_argument('--scales', type=float, nargs='*', default=[1.0, 1.5, 2.0, 3.0, 5.0, 8.0], help='measured on two objects')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='the report alone goes to this file, and no gallery is written')
    parser.add_argument('--dry', action='store_true', help='print, write nothing')
    a = parser.parse_args()
    folder = find_model(a.model)
    model = load(folder)
    about = json.loads((folder / 'config.json').read_text())['about']
    size = about['shape'][-1]
    begun, rows, curve, wrong = time.process_time(), [], [], []
    for name, (split, objects) in tqdm(SETS.items()):
        world = draw_split(a.n, size, split, a.seed + 1, objects=objects)
        captions = list(world.captions)
        pictures = draw(model, captions, a.scale, a.steps, a.seed, size)
        without = draw(model, captions, 0, a.steps, a.seed, size)
        right = caption_agrees(captions, read_shapes(pictures))['all']
        wrong += [(c, picture) for c, picture, ok in zip(captions, pictures, right) if not ok][:4]
        rows.append(
            {'set': name} | shares(captions, pictures) | {'without_text': shares(captions, without)['all'], 'real': shares(captions, world.images)['all']}
        )
        print(rows[-1], flush=True)
    world = draw_split(a.n // 2, size, 'new scenes', a.seed + 1, objects=(2,))
    for scale in a.scales:
        pictures = draw(model, list(world.captions), scale, a.steps, a.seed, size)
        curve.append({'scale': scale} | shares(list(world.captions), pictures))
        print(curve[-1], flush=True)
    report = {
        'command': f'python tools/measure_text.py {a.model}', 'seed': a.seed, 'solver': 'ddim', 'steps': a.steps, 'scale': a.scale,
        'trained': {key: about[key] for key in ('steps', 'images', 'processor_seconds', 'start')}, 'rows': rows, 'scales': curve, 'processor_seconds': round(time.process_time() - begun), 'failures': [c for c, _ in wrong],
    }  # fmt: skip
    if a.dry:
        return
    if a.out is None:
        save_file({'failures': torch.stack([picture for _, picture in wrong])}, folder / 'gallery.safetensors')
    write_whole(a.out or folder / 'report.json', (json.dumps(report, indent=1) + '\n').encode())


if __name__ == '__main__':
    main()
