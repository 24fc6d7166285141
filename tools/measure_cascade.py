"""Measure the second stage of a cascade: on small pictures of real scenes, on faulty ones, and behind the zoo's model of shapes.

    python tools/measure_cascade.py upscaler --plain runs/upscaler-plain

MODEL was trained with noised small pictures (tools/train_cascade.py), the one after --plain without (--most 0). Several of
each, of other seeds, may be named. A reader of shapes looks at each picture; a scene is right if all that is in it is read.
Small pictures of unseen scenes are given to the upscalers as they are, and with faults such as a base makes; then captions
of unseen scenes are drawn by the model of shapes at 32 x 32 pixels, read there, enlarged, and read again. Writes
diffbook/measured/cascade.json, which chapter 72 reads.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from tqdm import tqdm

from diffbook.cascades import enlarge, shrink, upscaling
from diffbook.conditioning import Conditional
from diffbook.core import noise
from diffbook.data import from_model, to_model
from diffbook.guidance import guide
from diffbook.recognise import caption_agrees, read_shapes
from diffbook.samplers import clip_x0
from diffbook.shapes import draw_shapes, draw_split
from diffbook.stages import Stage
from diffbook.store.files import write_whole
from diffbook.training import load

OUT = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'cascade.json'
LEVELS = (0.0, 0.1, 0.2)  # that the upscaler is told, and to which its small pictures are noised
GRAIN = lambda x: noise(0, 'faults', 0, range(len(x)), x.shape[1:]).float()
FAULTS = {
    'none': lambda x: x,
    'noise 0.1': lambda x: x + 0.1 * GRAIN(x),
    'noise 0.3': lambda x: x + 0.3 * GRAIN(x),
    'colour +0.2': lambda x: x + 0.2,
    'contrast 0.8': lambda x: 0.8 * x,
    'blur': lambda x: (torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), 'replicate'), 3, 1) + x) / 2,
}


def upscaled(model: Conditional, low: torch.Tensor, level: float, steps: int, seed: int = 0) -> torch.Tensor:
    "Large pictures in [-1, 1]."
    stage, tell = upscaling(model, level, seed=seed)
    return stage.draw(len(low), tell(low), steps=steps, seed=seed)


def judged(pictures: torch.Tensor, truth: torch.Tensor, clean: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    "How far pictures are from the true ones, their small copies from the clean small ones, and how many scenes are read rightly."
    off = shrink(pictures, pictures.shape[2] // clean.shape[2]) - clean
    right = (read_shapes(from_model(pictures)) == labels).all(1).double().mean().item()
    error = (pictures - truth).square().mean().sqrt().item()
    return {'right': right, 'error': error, 'small_error': off.square().mean().sqrt().item(), 'colour': off.mean().item()}


def on_faults(models: dict[str, list[Conditional]], n: int, steps: int) -> dict:
    "By fault and kind of upscaler, one value for each seed."
    world = draw_shapes(n, 64, seed=1, start=1 << 30, objects=(1, 2))
    truth = to_model(world.images)
    clean, found = shrink(truth, 2), {}
    for fault, spoil in tqdm(FAULTS.items(), desc='faults'):
        low, rows = spoil(clean), {}
        rows['given'] = [{'small_error': (low - clean).square().mean().sqrt().item(), 'colour': (low - clean).mean().item()}]
        rows['bicubic'] = [judged(enlarge(low, 2).clamp(-1, 1), truth, clean, world.labels)]
        for kind, several in models.items():
            for level in LEVELS if kind == 'told' else (0.0,):
                rows[f'{kind} {level:g}'] = [judged(upscaled(m, low, level, steps), truth, clean, world.labels) for m in several]
        found[fault] = rows
    return found


def whole_cascade(models: dict[str, list[Conditional]], n: int, steps: int, scale: float) -> dict:
    "Captions, the model of shapes, the upscalers: which captions are right at each stage."
    base, found = load('shapes'), {}
    for objects in (1, 2):
        captions = list(draw_split(n, 32, 'new scenes', 1, objects=(objects,)).captions)
        with torch.inference_mode():
            cond, null = base.condition(captions), base.null(len(captions))
        stage = Stage(clip_x0(guide(base, null.map(lambda v: v[:1]), scale)), base.schedule, (3, 32, 32))
        low = stage.draw(n, cond, steps=20)
        right = lambda x, captions=captions: caption_agrees(captions, read_shapes(from_model(x)))['all'].tolist()
        rows = {'base': [right(low)], 'bicubic': [right(enlarge(low, 2).clamp(-1, 1))]}
        for kind, several in models.items():
            for level in LEVELS[:2] if kind == 'told' else (0.0,):
                drawn = [upscaled(m, low, level, steps) for m in several]
                rows[f'{kind} {level:g}'] = [right(x) for x in drawn]
                rows[f'{kind} {level:g}, small error'] = [(shrink(x, 2) - low).square().mean().sqrt().item() for x in drawn]
        found[f'{objects}'] = rows
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', nargs='+', help='folders, or names in the zoo; one for each seed')
    parser.add_argument('--plain', nargs='*', default=[], help='folders of upscalers that were trained without noise')
    parser.add_argument('--n', type=int, default=200, help='scenes, and captions of each number of objects')
    parser.add_argument('--steps', type=int, default=10, help='of the upscaler')
    parser.add_argument('--scale', type=float, default=3.0, help='of guidance by the caption')
    parser.add_argument('--out', type=Path, default=OUT)
    a = parser.parse_args()
    begun, models = time.process_time(), {'told': [load(m) for m in a.model]} | ({'plain': [load(m) for m in a.plain]} if a.plain else {})
    keys = ('steps', 'batch', 'images', 'most', 'seed', 'processor_seconds')
    report = {
        'command': f'python tools/measure_cascade.py {" ".join(Path(m).name for m in a.model)}' + f' --plain {" ".join(f"runs/{Path(m).name}" for m in a.plain)}' * bool(a.plain),
        'n': a.n, 'steps': a.steps, 'scale': a.scale, 'levels': LEVELS, 'trained': {kind: [{k: m.about[k] for k in keys} for m in several] for kind, several in models.items()},
        'faults': on_faults(models, a.n, a.steps), 'cascade': whole_cascade(models, a.n, a.steps, a.scale), 'processor_seconds': 0,
    }  # fmt: skip
    report['processor_seconds'] = round(time.process_time() - begun)
    write_whole(a.out, (json.dumps(report, indent=1) + '\n').encode())
    for fault, rows in report['faults'].items():
        print(fault, *(f'{kind}: {row[0]}' for kind, row in rows.items()), sep='\n  ')
    for objects, rows in report['cascade'].items():
        print(objects, *(f'{kind}: {[sum(r) / len(r) if isinstance(r, list) else r for r in row]}' for kind, row in rows.items()), sep='\n  ')


if __name__ == '__main__':
    main()
