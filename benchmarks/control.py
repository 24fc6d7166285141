"""Obedience, counted: what the zoo's shapes draw when an outline steers them, and what the outline is worth in nats.

    python -m benchmarks.control                                # all parts, from runs/control-copy, -fresh and -light: four minutes of one core
    python -m benchmarks.control --parts counts --n 400         # one part, more pictures

The three runs are those of tools/train_control.py. Parts: `logs`, what the runs wrote; `counts`, shares of 200 scenes whose
drawing has the outline's layout (shape, size and cell of every object, no more and no fewer) and the caption's colours, in ten
steps of DDIM at guidance 3 (captions leave out sizes and places); `grid`, four captions for each of three outlines; `gain`, by how much the control lowers the error of the
noise at twelve levels, on the same pictures and noises, and the area under that in nats; `maps`, prompt-to-prompt on pairs
of captions that differ in the shape. A part that is there already is written anew.
"""

import argparse
import base64
import csv
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from diffbook.control import SharedMaps, edges, rewired, with_control, with_net
from diffbook.core import Cond, noise
from diffbook.data import from_model, to_model
from diffbook.guidance import guide, guide_away, unconditional, within
from diffbook.recognise import caption_agrees, read_shapes
from diffbook.samplers import ddim, sample, uniform_times
from diffbook.shapes import COLOURS, SHAPES, caption, draw_split
from diffbook.store.files import write_whole
from diffbook.training import load
from tools.train_control import same_layout, trained

RESULT = Path('diffbook/measured/control.json')
SCALE, STEPS, PART = 3.0, 10, 50
ARMS = ('copy', 'fresh', 'light')


def brief(scenes: Any) -> list[str]:
    "Captions without sizes and places."
    return [caption(scene, i, omit=('size', 'place')) for i, scene in enumerate(scenes.labels)]


@torch.inference_mode()
def draw(model: torch.nn.Module, cond: Cond, null: Cond | Callable[[Cond], Cond], scale: float = SCALE) -> torch.Tensor:
    "Draw a picture for each row of a condition, from the same noise every time; bytes."
    n, found = len(next(v for v in vars(cond).values() if v is not None)), []
    for first in range(0, n, PART):
        own = cond.map(lambda v, first=first: v[first : first + PART])
        away = null(own) if callable(null) else null
        k = min(PART, n - first)
        x = noise(0, 'control', 0, range(first, first + k), (3, 32, 32)).float()
        *_, x = sample(guide(model, away, scale), model.schedule, x, uniform_times(model.schedule, STEPS), ddim, own)
        found.append(from_model(x))
    return torch.cat(found)


def logs(runs: Path, n: int) -> dict:
    "The logs of the three trainings."
    found = {}
    for arm in ARMS:
        if (folder := runs / f'control-{arm}').joinpath('about.json').exists():
            rows = list(csv.DictReader((folder / 'log.csv').open()))
            found[arm] = {k: [float(row[k]) for row in rows] for k in rows[0]} | {'about': json.loads((folder / 'about.json').read_text())}
    return found


def counts(runs: Path, n: int) -> dict:
    "Obedience to the outline and to the caption, by what is asked."
    base, found = load('shapes'), {}
    net = base.denoiser.net
    for split in ('new scenes', 'new kinds'):
        scenes = draw_split(n, 32, split, 11, objects=(1, 2, 2, 3))
        words, hint = brief(scenes), edges(scenes.images)
        told, none = base.condition(words), base.null(n)
        same = lambda own: replace(base.null(len(own.img)), img=own.img)  # noqa: E731, the hint is laid beside both
        rows: dict[str, tuple] = {'no control': (base, told, base.null(1), SCALE)}
        for arm in ARMS if split == 'new scenes' else ARMS[:1]:
            if (runs / f'control-{arm}' / 'about.json').exists():
                rows[arm] = (with_control(base, trained(net, arm, runs / f'control-{arm}')), replace(told, img=hint), same, SCALE)
        if split == 'new scenes':
            control, asked = trained(net, 'copy', runs / 'control-copy'), replace(told, img=hint)
            rows['copy, no caption'] = (with_control(base, control), replace(none, img=hint), same, 1.0)
            rows['copy, strength 0.5'] = (with_control(base, control, strength=0.5), asked, same, SCALE)
            rows['copy, hint beside the caption alone'] = (with_control(base, control), asked, base.null(1), SCALE)
        else:
            del rows['no control']
        for name, (model, cond, null, scale) in rows.items():
            read = read_shapes(draw(model, cond, null, scale))
            layout, colour = same_layout(scenes.labels, read), caption_agrees(words, read)['colour']
            objects = (scenes.labels[:, 1::4] >= 0).sum(1)
            found[f'{split}: {name}'] = {'layout': layout.float().mean().item(), 'colour': colour.float().mean().item(), 'both': (layout & colour).float().mean().item(),
                                         'by objects': [round(layout[objects == k].float().mean().item(), 4) for k in (1, 2, 3)], 'n': n}  # fmt: skip
            print(split, name, found[f'{split}: {name}'], flush=True)
    return found


@torch.inference_mode()
def grid(runs: Path, n: int) -> dict:
    "Four captions for each of three outlines: other colours and grounds, the same shapes; the drawings as bytes in base64."
    base = load('shapes')
    scenes = draw_split(3, 32, 'new scenes', 17, objects=(2,))
    labels = scenes.labels.repeat_interleave(4, 0)
    turn = torch.arange(12) % 4
    labels[:, 0] = (labels[:, 0] + turn) % 3
    for column in (2, 6):
        labels[:, column] = (labels[:, column] + 2 * turn) % 8
    hint = edges(scenes.images).repeat_interleave(4, 0)
    words = [caption(row, i, omit=('size', 'place')) for i, row in enumerate(labels)]
    model = with_control(base, trained(base.denoiser.net, 'copy', runs / 'control-copy'))
    drawn = draw(model, replace(base.condition(words), img=hint), lambda own: replace(base.null(len(own.img)), img=own.img))
    pixels = lambda v: base64.b64encode(v.contiguous().numpy().tobytes()).decode()  # noqa: E731
    return {'captions': words, 'scenes': pixels(scenes.images), 'drawn': pixels(drawn)}


@torch.inference_mode()
def gain(runs: Path, n: int) -> dict:
    "By how much the outline lowers the mean squared error of the noise, for each level; and the area, in nats a picture."
    base = load('shapes')
    net = base.denoiser.net
    scenes = draw_split(n, 32, 'new scenes', 13, objects=(1, 2, 2, 3))
    x0, words, hint = to_model(scenes.images), brief(scenes), edges(scenes.images)
    levels, schedule = torch.linspace(-11, 11, 12).double(), base.schedule
    found: dict = {'log_snr': levels.tolist(), 'n': n, 'pixels': x0[0].numel()}
    models = {'no control': base.denoiser} | {
        arm: with_control(base, trained(net, arm, runs / f'control-{arm}')).denoiser for arm in ARMS if (runs / f'control-{arm}' / 'about.json').exists()
    }
    error = {name: torch.zeros(len(levels), n).double() for name in models}
    for i, level in enumerate(levels):
        t = schedule.time_at(level)
        for first in range(0, n, PART):
            rows = slice(first, first + PART)
            eps = noise(0, 'gain', i, range(first, min(first + PART, n)), (3, 32, 32)).float()
            x, cond = schedule.perturb(x0[rows], eps, t), base.condition(words[rows])
            for name, model in models.items():
                guess = model(x, t, cond if name == 'no control' else replace(cond, img=hint[rows]))
                error[name][i, rows] = ((guess - x0[rows]).square().flatten(1).mean(1) * torch.exp(level)).double()
    found['eps'] = {name: v.mean(1).tolist() for name, v in error.items()}
    found['sd'] = error['no control'].std(1).tolist()  # of one picture's error, over pictures and noises
    for name in models:
        if name != 'no control':
            area = torch.trapezoid(error['no control'] - error[name], levels, dim=0) * x0[0].numel() / 2
            found[name] = {'nats': area.mean().item(), 'se': (area.std() / n**0.5).item()}
            print(name, found[name], flush=True)
    return found


def maps(runs: Path, n: int) -> dict:
    "Prompt-to-prompt: another shape in the caption, with the maps of the first caption or without."
    base, names, colours = load('shapes'), list(SHAPES), list(COLOURS)
    pairs = [(colours[i % 8], names[i % 6], names[(i % 6 + 1 + i // 6 % 5) % 6]) for i in range(n)]
    said = [[f'{"an" if c[0] in "aeiou" else "a"} {c} {pair[k]}' for c, *pair in pairs] for k in (0, 1)]
    shared = with_net(base, rewired(base.denoiser.net, lambda i, cross: SharedMaps(cross)))
    found: dict = {'n': n}
    for name, inner in (('noise alone', base), ('maps, half way', within(0.5, 1.0, shared, base)), ('maps, all the way', shared)):
        both: list[list] = [[], []]
        for first in range(0, n, PART // 2):
            texts = [v[first : first + PART // 2] for v in said]
            k = len(texts[0])
            x = noise(0, 'maps', 0, range(first, first + k), (3, 32, 32)).float().repeat(2, 1, 1, 1)
            with torch.inference_mode():
                cond = base.condition(texts[0] + texts[1])
                *_, x = sample(guide_away(inner, unconditional(base, base.null(1)), SCALE), base.schedule, x, uniform_times(base.schedule, STEPS), ddim, cond)
            for part, pixels in zip(both, from_model(x).split(k)):
                part.append(pixels)
        before, after = (torch.cat(part) for part in both)
        a, b = read_shapes(before), read_shapes(after)
        one = (a[:, 5] < 0) & (b[:, 5] < 0)
        row = {'new shape': caption_agrees(said[1], b)['shape'], 'same cell': one & (a[:, 4] == b[:, 4]), 'same size': one & (a[:, 3] == b[:, 3])}
        found[name] = {k: v.float().mean().item() for k, v in row.items()} | {'pixels': (before.float() - after.float()).abs().mean().item() / 255}
        print(name, found[name], flush=True)
    return found


PARTS = {'logs': logs, 'counts': counts, 'grid': grid, 'gain': gain, 'maps': maps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--parts', nargs='+', default=[*PARTS], choices=[*PARTS])
    parser.add_argument('--runs', type=Path, default=Path('runs'))
    parser.add_argument('--n', type=int, default=200)
    parser.add_argument('--out', type=Path, default=RESULT)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    result = json.loads(args.out.read_text()) if args.out.exists() else {}
    result |= {'command': 'python -m benchmarks.control', 'seed': 0}
    for part in args.parts:
        begun = time.process_time()
        result[part] = PARTS[part](args.runs, args.n)
        result[part]['processor_seconds'] = round(time.process_time() - begun)
        write_whole(args.out, (json.dumps(result, indent=1) + '\n').encode())


if __name__ == '__main__':
    main()
