"""Count what the two stages of unCLIP draw, with the reader of shapes.

    python tools/measure_unclip.py
    python tools/measure_unclip.py --prior runs/unclip-prior --decoder runs/unclip-decoder --n 256

Writes diffbook/measured/unclip.json: how long the embeddings of the prior are and how far they point from the true ones, by
steps; what the decoder draws from the vector of a text, from the same without the gap, from the mean of the prior, from a
draw of it and from the true embedding; whether captions that leave the colour open give many colours; what variations keep;
what stands between two pictures; and whether a change of the text changes what it names, and nothing else.

All scenes are new: no scene with these things in these places was trained on. Shares have n trials, one model each.
"""

import argparse
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from diffbook.conditioning import Conditional
from diffbook.core import Cond, build, make_generator, noise, uniform
from diffbook.data import Dataset, from_model, subset, to_model
from diffbook.guidance import guide
from diffbook.ledger import wilson
from diffbook.losses import Denoiser
from diffbook.nets.clip import CLIP
from diffbook.recognise import caption_agrees, read_shapes
from diffbook.samplers import ddim, sample, uniform_times
from diffbook.shapes import BACKGROUNDS, CELLS, COLOURS, SHAPES, SIZES, caption, draw_split
from diffbook.stages import Stage
from diffbook.training import load
from diffbook.unclip import AutoregressivePrior, read_texts, slerp, text_diff

OUT = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'unclip.json'
COLUMN = {'background': 0, 'shape': 1, 'colour': 2, 'size': 3, 'place': 4}  # of the labels, of a scene of one object
VALUES = {'background': len(BACKGROUNDS), 'shape': len(SHAPES), 'colour': len(COLOURS), 'size': len(SIZES), 'place': len(CELLS)}
STEPS = 20


class Models:
    "The three models, and what is asked of them again and again."

    def __init__(self, clip: str, prior: str, decoder: str, scale: float, spelled: str = ''):
        self.clip: CLIP = load(clip).float().eval().requires_grad_(False)
        self.prior: Denoiser = load(prior).float().eval().requires_grad_(False)
        self.tokenizer, self.net, self.scale, self.path = build(self.clip.about['tokenizer']), self.prior.net, scale, decoder
        self.spelled: AutoregressivePrior | None = load(spelled).float().eval().requires_grad_(False) if spelled else None

    @cached_property
    def decoder(self) -> Conditional:
        return load(self.path).float().eval().requires_grad_(False)

    def see(self, images: Tensor) -> Tensor:
        "Embeddings of pictures in bytes, in units of their spread."
        return self.net.encode(torch.cat([self.clip.encode_image(to_model(part)) for part in images.split(512)]))

    def read(self, captions: list[str] | tuple[str, ...]) -> Cond:
        return read_texts(self.clip, self.tokenizer, captions)

    def draw_prior(self, captions: list[str] | tuple[str, ...], seed: int, steps: int = STEPS, scale: float = 1.0) -> Tensor:
        cond = self.read(captions)
        denoise = guide(self.prior, self.read(['']).map(lambda v: pad_like(v, cond)), scale) if scale != 1 else self.prior
        return Stage(denoise, self.prior.schedule, (self.net.dim,)).draw(len(captions), cond, seed=seed, steps=steps, batch=512)

    def spell(self, captions: list[str] | tuple[str, ...], seed: int) -> Tensor:
        "Embeddings of the autoregressive prior, in units of their spread."
        return self.net.encode(self.spelled.draw(self.read(captions), make_generator(seed, 'spell')))

    def draw(self, z: Tensor, seed: int, scale: float | None = None, same: bool = False) -> Tensor:
        "Labels of what the decoder draws from embeddings; `same`: all from one noise."
        scale = self.scale if scale is None else scale
        denoise = guide(self.decoder, self.decoder.null(1), scale) if scale != 1 else self.decoder
        schedule, drawn = self.decoder.schedule, []
        for first in range(0, len(z), 64):
            part = z[first : first + 64]
            rows = [0] * len(part) if same else range(first, first + len(part))
            x = noise(seed, 'start', 0, rows, (3, 32, 32)).float()
            *_, x = sample(denoise, schedule, x, uniform_times(schedule, STEPS), ddim, self.decoder.condition(part))
            drawn.append(from_model(x))
        return read_shapes(torch.cat(drawn))


def pad_like(v: Tensor, cond: Cond) -> Tensor:
    "Lengthen the states or the mask of the empty text to those of others."
    more = cond.seq.shape[1] - v.shape[1] if v.ndim == 3 or v.dtype == torch.bool else 0
    return torch.nn.functional.pad(v, (0, 0, 0, more) if v.ndim == 3 else (0, more))


def share(right: Tensor) -> dict:
    "How often, with Wilson's interval."
    value, n = right.double().mean().item(), len(right)
    return {'share': round(value, 4), 'n': n, 'interval': [round(v, 4) for v in wilson(value, n)]}


def agree(captions: tuple[str, ...], labels: Tensor) -> dict:
    return {name: share(kept) for name, kept in caption_agrees(captions, labels).items()}


def keeps(labels: Tensor, drawn: Tensor) -> dict[str, Tensor]:
    "Which fields of the one object are as they were; there must be one object."
    alone = drawn[:, 5] < 0
    kept = {name: alone & (labels[:, k] == drawn[:, k]) for name, k in COLUMN.items()}
    return kept | {'all': torch.stack(list(kept.values())).all(0)}


class Probe:
    "Read shape, colour, size, place and ground from an embedding, without a picture: a linear map to each, by least squares."

    def __init__(self, m: Models, n: int = 8000):
        data = draw_split(n, 32, 'train', 2, objects=(1,))
        x = self.with_one(m.see(data.images))
        inverse = torch.linalg.inv(x.T @ x + 1e-3 * n * torch.eye(x.shape[1])) @ x.T
        self.maps = {name: inverse @ torch.nn.functional.one_hot(data.labels[:, k], VALUES[name]).float() for name, k in COLUMN.items()}

    def with_one(self, z: Tensor) -> Tensor:
        return torch.cat([z, torch.ones_like(z[:, :1])], 1)

    def __call__(self, z: Tensor, labels: Tensor) -> dict:
        "How often it reads what the labels say."
        return {name: share((self.with_one(z) @ self.maps[name]).argmax(1) == labels[:, k]) for name, k in COLUMN.items()}


def cosine(a: Tensor, b: Tensor) -> float:
    return round(torch.nn.functional.cosine_similarity(a, b, dim=1).mean().item(), 4)


def of_steps(m: Models, data: Dataset, seed: int) -> dict:
    "The share of the spread that the captions explain, and cosine and spread of what the prior draws, by steps."
    z, rows = m.see(data.images), {}
    for steps in (1, 2, 5, 10, 25, 50):
        got = m.draw_prior(data.captions, seed, steps)
        rows[steps] = {'cosine': cosine(got, z), 'spread': round(got.var(0).mean().item(), 4), 'error': round((got - z).square().mean().item(), 4)}
    mean = m.draw_prior(data.captions, seed, 1)
    explained = 1 - (z - mean).square().mean().item() / z.square().mean().item()
    return {'n': len(z), 'explained': round(explained, 4), 'steps': rows}


def of_spelling(m: Models, data: Dataset, brief: Dataset, seed: int) -> dict:
    "What the autoregressive prior says of words it has not seen, in nats a letter, and how far its draws point from the true embeddings."
    alphabet, found = m.spelled.centres.shape[1], {}
    for name, part in (('full captions', data), ('brief captions', brief)):
        z, got = m.see(part.images), m.spell(part.captions, seed)
        word = m.spelled.encode(m.net.decode(z))
        nats = torch.nn.functional.cross_entropy(m.spelled(word, m.read(part.captions)).mT, word, reduction='none')
        read_back = m.net.encode(m.spelled.decode(word))
        found[name] = {
            'nats': round(nats.mean().item(), 4), 'error': round(nats.mean(1).std().item() / len(z) ** 0.5, 4), 'by place': [round(v, 3) for v in nats.mean(0).tolist()],
            'cosine': cosine(got, z), 'cosine of the word': cosine(read_back, z), 'spread': round(got.var(0).mean().item(), 4),
        }  # fmt: skip
    return found | {'n': len(data), 'letters': word.shape[1], 'alphabet': alphabet}


def of_sources(m: Models, data: Dataset, seed: int) -> dict:
    "What the decoder makes of five things that could be told it, and what a linear probe reads from them."
    z, text = m.see(data.images), m.read(data.captions)
    raw = torch.nn.functional.normalize(text.vec, dim=1)
    vector = m.net.encode(raw)
    many = m.read(draw_split(4096, 32, 'train', 1, objects=(1,)).captions)
    gap = m.net.encode(torch.nn.functional.normalize(many.vec, dim=1)).mean(0)
    sources = {'text vector': vector, 'gap removed': vector - gap, 'mean of the prior': m.draw_prior(data.captions, seed, 1),
               'prior': m.draw_prior(data.captions, seed), 'true embedding': z}  # fmt: skip
    if m.spelled is not None:
        sources |= {'spelled prior': m.spell(data.captions, seed)}
    probe = Probe(m)
    counts = {name: agree(data.captions, m.draw(got, seed)) | {'cosine': cosine(got, z), 'probe': probe(got, data.labels)} for name, got in sources.items()}
    return counts | {'reader': agree(data.captions, read_shapes(data.images))}


def of_kinds(m: Models, data: Dataset, seed: int) -> dict:
    "Which shapes of which sizes the decoder draws from true embeddings, and how many of them rightly."
    drawn, found = m.draw(m.see(data.images), seed), {}
    for shape, name in enumerate(SHAPES):
        for size, word in enumerate(SIZES):
            of = (data.labels[:, 1] == shape) & (data.labels[:, 3] == size)
            if of.any():
                found[f'{word} {name}'] = {'right': int((drawn[of, 1] == shape).sum()), 'n': int(of.sum())}
    return found


def of_scales(m: Models, data: Dataset, seed: int) -> dict:
    "Guidance of the decoder and of the prior."
    z = m.draw_prior(data.captions, seed)
    found = {f'decoder {s:g}': agree(data.captions, m.draw(z, seed, s)) for s in (1.0, 2.0, 3.0)}
    return found | {f'prior {s:g}': agree(data.captions, m.draw(m.draw_prior(data.captions, seed, scale=s), seed)) for s in (2.0, 4.0)}


def of_open(m: Models, seed: int, n: int = 48, draws: int = 16) -> dict:
    "Captions that leave the colour open: is what they say kept, and how many colours come out?"
    scenes = draw_split(n, 32, 'new scenes', 11, objects=(1,)).labels
    texts = [caption(row, 0, ('colour',)) for row in scenes]
    captions = [t for t in texts for _ in range(draws)]
    found = {}
    for name, steps in (('mean of the prior', 1), ('prior', STEPS)):
        once = m.draw_prior(captions if steps > 1 else texts, seed, steps)
        labels = m.draw(once if steps > 1 else once.repeat_interleave(draws, 0), seed)
        colours = labels[:, COLUMN['colour']].reshape(n, draws)
        several = torch.tensor([len(set(row.tolist()) - {-1}) for row in colours])
        found[name] = agree(tuple(captions), labels) | {
            'colours': [round(several.double().mean().item(), 2), round((several.double().std() / n**0.5).item(), 2)]
        }
    return found | {'captions': n, 'draws': draws}


def of_variations(m: Models, data: Dataset, seed: int, draws: int = 4) -> dict:
    "Fresh noise, the same embedding."
    z = m.see(data.images).repeat_interleave(draws, 0)
    return {name: share(kept) for name, kept in keeps(data.labels.repeat_interleave(draws, 0), m.draw(z, seed)).items()}


def of_paths(m: Models, data: Dataset, seed: int, points: int = 9) -> dict:
    "From one picture to another on the sphere, with one noise: of which end is what is drawn."
    n = len(data) // 2
    a, b = data.labels[:n], data.labels[n : 2 * n]
    apart = (a[:, [1, 2, 4]] != b[:, [1, 2, 4]]).all(1)  # in shape, colour and place
    one, two = (m.see(part)[apart] for part in (data.images[:n], data.images[n : 2 * n]))
    found = []
    for k in range(points):
        labels = m.draw(slerp(one, two, k / (points - 1)), seed)
        ends = {name: [round((labels[:, c] == end[apart][:, c]).double().mean().item(), 4) for end in (a, b)] for name, c in COLUMN.items()}
        found.append(ends | {'one object': round((labels[:, 5] < 0).double().mean().item(), 4)})
    return {'n': int(apart.sum()), 'points': found}


def changed(labels: Tensor, field: str, seed: int) -> Tensor:
    "The same scenes with another value in one field."
    step = 1 + (uniform(seed, f'another {field}', 0, range(len(labels))) * (VALUES[field] - 1)).long()
    out = labels.clone()
    out[:, COLUMN[field]] = (out[:, COLUMN[field]] + step) % VALUES[field]
    return out


def plain_diff(z: Tensor, before: Tensor, after: Tensor, share: float) -> Tensor:
    "Add a multiple of the difference of the texts, as long as the embedding."
    return z + share * torch.nn.functional.normalize(after - before, dim=1) * z.norm(dim=1, keepdim=True)


def in_units(turn: Callable, m: Models, z: Tensor, before: Tensor, after: Tensor, share: float) -> Tensor:
    "Turn the embedding itself, and give it back in units."
    return m.net.encode(torch.nn.functional.normalize(turn(m.net.decode(z), before, after, share), dim=1))


def of_changes(m: Models, data: Dataset, seed: int) -> dict:
    "A change of the caption in one field, laid over the embedding of the picture."
    z, found = m.see(data.images), {}
    ground = 16  # the wording that names the ground
    for field in COLUMN:
        new = changed(data.labels, field, seed)
        texts = [m.read([caption(row, ground) for row in rows]).vec for rows in (data.labels, new)]
        before, after = (torch.nn.functional.normalize(v, dim=1) for v in texts)
        for name, turn, shares in (('slerp', text_diff, (0.2, 0.3, 0.4, 0.5)), ('sum', plain_diff, (0.3, 0.6, 1.0))):
            for k in shares:
                drawn = m.draw(in_units(turn, m, z, before, after, k), seed)
                kept = keeps(new, drawn)
                others = torch.stack([v for f, v in kept.items() if f not in (field, 'all')]).all(0)
                found[f'{field}, {name} {k:g}'] = {'named': share(kept[field]), 'others': share(others), 'both': share(kept['all'])}
    return found


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--clip', default='clip-shapes')
    parser.add_argument('--prior', default='unclip-prior', help='a folder, or a name in the zoo')
    parser.add_argument('--decoder', default='unclip-decoder', help='a folder, or a name in the zoo')
    parser.add_argument('--spelled', default='', help='the autoregressive prior: a folder, or a name in the zoo; without it, it is not counted')
    parser.add_argument('--scale', type=float, default=2.0, help='guidance of the decoder')
    parser.add_argument('--n', type=int, default=512, help='scenes of each count')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', nargs='*', help='some of the counts; the others stay as they are in the file')
    parser.add_argument('--out', type=Path, default=OUT)
    a = parser.parse_args()
    torch.set_flush_denormal(True)
    m = Models(a.clip, a.prior, a.decoder, a.scale, a.spelled)
    data = draw_split(a.n, 32, 'new scenes', 7, objects=(1,))
    brief = draw_split(a.n, 32, 'new scenes', 7, objects=(1,), brief=1.0)
    half, quarter = (subset(data, slice(a.n // k)) for k in (2, 4))
    counts: dict[str, Callable[[], dict]] = {
        'steps': lambda: of_steps(m, data, a.seed),
        'brief steps': lambda: of_steps(m, brief, a.seed),
        **({'spelling': lambda: of_spelling(m, data, brief, a.seed)} if a.spelled else {}),
        'sources': lambda: of_sources(m, data, a.seed),
        'kinds': lambda: of_kinds(m, data, a.seed),
        'scales': lambda: of_scales(m, data, a.seed),
        'open': lambda: of_open(m, a.seed),
        'variations': lambda: of_variations(m, half, a.seed),
        'paths': lambda: of_paths(m, data, a.seed),
        'changes': lambda: of_changes(m, quarter, a.seed),
    }
    found = json.loads(a.out.read_text()) if a.out.exists() else {}
    for name, count in counts.items():
        if not a.only or name in a.only:
            found[name] = count()
            print(name, json.dumps(found[name])[:400], flush=True)
            spelled = f' --spelled {a.spelled}' * bool(a.spelled)
            command = f'python tools/measure_unclip.py --prior {a.prior} --decoder {a.decoder}{spelled} --scale {a.scale:g} --n {a.n} --seed {a.seed}'
            found |= {'command': command, 'scale': a.scale, 'steps of a walk': STEPS, 'seed': a.seed, 'torch': torch.__version__.split('+')[0]}
            a.out.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
