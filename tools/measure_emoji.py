"""Compare emoji drawn in latents and in pixels: distance, retrieval by a judge of its own, detail, copies, and the floors.

    python tools/measure_emoji.py

Two models had equal processor time, one on latents and one on squares of pixels; the third, of the zoo, goes on from the
first. Each draws one picture for captions seen in training and for captions never seen. The judge is a CLIP of another
seed than the one whose text tower the models read with; it looks at pictures averaged to 32 x 32, so it does not see
fine detail, which is measured apart. Beside the models stand the real pictures of the same captions, and these once
encoded and decoded: no latent model can be expected to beat that. Writes OUT/report.json, OUT/gallery.safetensors, which
holds drawn pictures only, and of these OUT/gallery.png, which the README shows.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from measure_text import draw
from safetensors.torch import save_file
from train_clip import shortest, vectors
from train_zoo import forward_flops

from diffbook.core import build, generator
from diffbook.data import Dataset, from_model, load_data, save_images, subset, to_model
from diffbook.guidance import guide
from diffbook.metrics import copy_rate, frechet_distance, kernel_distance
from diffbook.nets.clip import retrieval
from diffbook.stages import Stage
from diffbook.store.files import write_whole
from diffbook.training import load, read_model

SCALES = (1.0, 1.5, 3.0, 5.0)  # of guidance, besides --scale


def average(images: torch.Tensor, side: int) -> torch.Tensor:
    "Bytes of pictures, averaged to fewer pixels."
    return F.adaptive_avg_pool2d(images.float(), side).round().to(torch.uint8)


def detail(images: torch.Tensor) -> float:
    "How much a pixel differs from the mean of the four of its square, root mean square in [-1, 1]."
    x = to_model(images)
    return (x - F.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)).square().mean().sqrt().item()


@torch.inference_mode()
def copies(vae, images: torch.Tensor) -> torch.Tensor:
    "Pictures, encoded and decoded."
    return torch.cat([from_model(vae.decode(vae.encode(to_model(part)))) for part in images.split(64)])


@torch.inference_mode()
def draw_latent(model, vae, captions: list[str], scale: float, steps: int, seed: int, batch: int = 64) -> torch.Tensor:
    "Draw latents, and decode them."
    pictures = []
    for first in range(0, len(captions), batch):
        some = captions[first : first + batch]
        shape = (vae.latent_channels, 64 // vae.factor, 64 // vae.factor)
        stage = Stage(guide(model, model.null(len(some)), scale), model.schedule, shape, codec=vae)
        pictures.append(from_model(stage.draw(len(some), model.condition(some), seed=seed, first=first, steps=steps)))
    return torch.cat(pictures)


class Judge:
    "A CLIP that looks at pictures of 32 x 32."

    def __init__(self, folder: str):
        self.clip = load(folder)
        self.tokenizer, self.seed, self.counts = build(self.clip.about['tokenizer']), self.clip.about['seed'], self.clip.about['retrieval']

    def look(self, images: torch.Tensor, captions) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = shortest(self.tokenizer(list(captions)), self.tokenizer.end)
        return vectors(self.clip, Dataset(average(images, 32)), tokens)


def row(name: str, sets: dict[str, torch.Tensor], data: dict[str, Dataset], judge: Judge, known: torch.Tensor, among: int) -> dict:
    "All numbers of one source of pictures."
    seen = {split: judge.look(images, data[split].captions) for split, images in sets.items()}
    features = torch.cat([v[0] for v in seen.values()]).double()
    line = {'source': name, 'n': len(features), 'frechet': frechet_distance(features, known), 'kernel': kernel_distance(features, known)}
    for split, pair in seen.items():
        line[f'retrieval, {split}'] = retrieval(*pair, among)[0]
    return line | {'detail': detail(torch.cat(list(sets.values())))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--latent', default='runs/emoji-latent')
    parser.add_argument('--vae', default='runs/emoji-vae')
    parser.add_argument('--pixels', default='runs/emoji-64')
    parser.add_argument('--zoo', default='emoji', help='the model that is published')
    parser.add_argument('--judge', default='runs/clip-emoji')
    parser.add_argument('--out', type=Path, default=Path('diffbook/zoo/emoji'))
    parser.add_argument('--n', type=int, default=300, help='captions of each split')
    parser.add_argument('--among', type=int, default=100, help='captions that a picture has to tell apart')
    parser.add_argument('--scale', type=float, default=2.0, help='of guidance')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--data-root')
    a = parser.parse_args()
    torch.set_num_threads(1)
    judge, vae, models = Judge(a.judge), load(a.vae).eval(), {'latents': load(a.latent).eval(), 'pixels': load(a.pixels).eval(), 'zoo': load(a.zoo).eval()}
    data = {split: load_data('emoji', split, a.data_root, size=64) for split in ('train', 'test')}
    orders = {split: torch.randperm(len(d), generator=generator(a.seed, split)) for split, d in data.items()}
    rest = subset(data['train'], orders['train'][a.n :])
    picked = {name: subset(data[split], orders[split][: a.n]) for name, split in (('seen', 'train'), ('unseen', 'test'))}
    known = judge.look(rest.images, rest.captions)[0].double()
    seconds = {}
    drawn = {'real': {k: d.images for k, d in picked.items()}, 'copies': {k: copies(vae, d.images) for k, d in picked.items()}}
    for name, model in models.items():
        begun = time.process_time()
        make = partial(draw, model, steps=a.steps, seed=a.seed, size=64) if name == 'pixels' else partial(draw_latent, model, vae, steps=a.steps, seed=a.seed)
        drawn[name] = {k: make(list(d.captions), scale=a.scale) for k, d in picked.items()}
        seconds[name] = round((time.process_time() - begun) / (2 * a.n), 3)
    rows = [row(name, sets, picked, judge, known, a.among) for name, sets in drawn.items()]
    small = lambda v: average(v, 16)  # noqa: E731
    for line, sets in zip(rows, drawn.values()):
        line['copy_rate'] = copy_rate(small(sets['seen']), small(data['train'].images), small(data['test'].images), 0.05) if line['source'] in models else None
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}, flush=True)
    about = {name: read_model(getattr(a, {'latents': 'latent'}.get(name, name)))[0]['about'] for name in (*models, 'vae')}
    for facts in about.values():
        facts.pop('words', None)
    curve = []
    for scale in SCALES:
        look = {k: judge.look(make(list(d.captions), scale=scale), d.captions) for k, d in picked.items()}
        curve.append({'scale': scale} | {f'retrieval, {k}': retrieval(*pair, a.among)[0] for k, pair in look.items()})
        print(curve[-1], flush=True)
    report = {
        'command': 'python tools/measure_emoji.py', 'seed': a.seed, 'scale': a.scale, 'steps': a.steps, 'solver': 'ddim', 'among': a.among, 'known': len(known),
        'judge': {'seed': judge.seed, 'retrieval': judge.counts}, 'rows': rows, 'scales': curve, 'seconds_a_picture': seconds, 'training': about,
        'forward_gflop': {'latents': forward_flops(models['latents'], (4, 16, 16)) / 1e9, 'pixels': forward_flops(models['pixels'], (3, 64, 64)) / 1e9},
    }  # fmt: skip
    a.out.mkdir(parents=True, exist_ok=True)
    show = {f'{name}, {k}': drawn[name][k][: 24 if name == 'zoo' else 8] for name in models for k in picked}
    save_file(show, a.out / 'gallery.safetensors')
    save_images(to_model(show['zoo, seen']), a.out / 'gallery.png', columns=12)
    report['captions'] = {k: list(d.captions[:24]) for k, d in picked.items()}
    write_whole(a.out / 'report.json', (json.dumps(report, indent=1) + '\n').encode())


if __name__ == '__main__':
    main()
