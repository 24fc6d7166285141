"""Train the small masked diffusion model of the chapter on text: captions of one shape, letter by letter.

    python tools/train_captions.py --zoo
    python tools/train_captions.py --steps 300 --out runs/captions-try

The grammar has 12,096 sentences, so their entropy is known and every sample can be judged. Batches and what is hidden in
them are functions of the seed, so a run that stops goes on from its last checkpoint when the same command is given again.
Writes checkpoints to OUT/checkpoints, OUT/log.csv, and at the end the averaged model, OUT/model.safetensors, and
OUT/report.json: the bound on the entropy, and by steps and by guidance how many samples are sentences. With --zoo all of
this goes into the package.
"""

import argparse
import json
import math
import statistics
from collections import Counter
from functools import partial
from pathlib import Path

import torch
from runs import run, spent
from train_classifier import ZOO, pin

from diffbook.conditioning import drop
from diffbook.core import Cond, make_generator, noise, seeded_noise
from diffbook.discrete import LETTERS, TextDenoiser, captions, masked_loss, read, spell, unmask
from diffbook.guidance import guide
from diffbook.ledger import wilson
from diffbook.samplers import sample, uniform_times
from diffbook.schedules import RectifiedFlowSchedule
from diffbook.shapes import SHAPES
from diffbook.training import Trainer, save

FLAT = RectifiedFlowSchedule()


def shapes_of(texts: list[str]) -> torch.Tensor:
    "One row for each text, with a one for the shape that it names."
    return torch.tensor([[float(shape in text.split()) for shape in SHAPES] for text in texts])


def loss(model: TextDenoiser, batch: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator) -> torch.Tensor:
    "Of each letter, with the shape told in nine cases of ten."
    tokens, shape = batch
    cond = drop(Cond(vec=shape), Cond(vec=torch.zeros_like(shape)), 0.1, generator)
    return masked_loss(model, tokens, generator, cond, mask=model.mask) / tokens.shape[1]


@torch.no_grad()
def bound(model: TextDenoiser, tokens: torch.Tensor, chances: torch.Tensor, n: int, seed: int) -> list[float]:
    "Estimates of the bound, in nats, one for each text drawn: nothing is told."
    g = make_generator(seed, 'bound')
    texts = tokens[torch.multinomial(chances, n, True, generator=g)]
    nothing = Cond(vec=torch.zeros(1, len(SHAPES)))
    parts = [masked_loss(lambda x, t, cond=None: model(x, t, nothing), part, g, mask=model.mask) for part in texts.split(256)]
    return torch.cat(parts).tolist()


@torch.no_grad()
def draw(model: TextDenoiser, n: int, steps: int, seed: int, cond: Cond | None = None, scale: float = 1.0) -> list[str]:
    nothing = Cond(vec=torch.zeros(1, len(SHAPES)))
    predict = guide(model, nothing, scale) if cond is not None else lambda x, t, _: model(x, t, nothing)
    logp = lambda x, t, c=None: torch.log_softmax(predict(x, t, c).double(), -1)
    texts = []
    for first in range(0, n, 256):
        k = min(256, n - first)
        x = torch.full((k, model.embed.position_embedding.weight.shape[0]), model.mask)
        told = cond and cond.map(lambda v, first=first, k=k: v[first : first + k])
        *_, x = sample(logp, FLAT, x, uniform_times(FLAT, steps), partial(unmask, noise=seeded_noise(seed, 'captions', first)), told)
        texts += read(x)
    return texts


def spread(texts: list[str]) -> float:
    "Entropy of what was drawn, in nats, as it is seen: it cannot exceed the logarithm of how many were drawn."
    n = len(texts)
    return -sum(c / n * math.log(c / n) for c in Counter(texts).values())


@torch.no_grad()
def judge(model: TextDenoiser, n: int, seed: int) -> dict:
    "Count the samples that are sentences of the grammar, by steps, and by guidance those that also name the shape asked for."
    known = captions()
    length, chances = max(map(len, known)), torch.tensor([*known.values()])
    tokens = spell([*known], length)
    values = bound(model, tokens, chances, 16 * n, seed)
    report = {'n': n, 'seed': seed, 'sentences': len(known), 'entropy': -sum(p * math.log(p) for p in known.values())}
    report['bound'] = {'n': len(values), 'mean': statistics.fmean(values), 'error': statistics.stdev(values) / len(values) ** 0.5}
    real = [[*known][i] for i in torch.multinomial(chances, n, True, generator=make_generator(seed, 'real')).tolist()]
    report['real'] = {'distinct': len(set(real)), 'entropy': spread(real)}
    x, nothing = torch.full((1, length), model.mask), Cond(vec=torch.zeros(1, len(SHAPES)))
    walk = sample(lambda x, t, c: model(x, t, nothing), FLAT, x, uniform_times(FLAT, 33), partial(unmask, noise=seeded_noise(seed, 'film')))
    report['film'] = [read(x)[0].ljust(length, '.') for x in walk]
    report['steps'] = {}
    for steps in (4, 8, 16, 32, 66):
        texts = draw(model, n, steps, seed)
        right = sum(t in known for t in texts)
        report['steps'][steps] = {'sentences': right, 'interval': wilson(right / n, n), 'distinct': len(set(texts)), 'entropy': spread(texts)}
    asked = noise(seed, 'asked', 0, range(n), ()).argsort() % len(SHAPES)
    cond = Cond(vec=torch.nn.functional.one_hot(asked, len(SHAPES)).float())
    report['guidance'] = {}
    for scale in (0.0, 1.0, 2.0, 4.0):
        texts = draw(model, n, 32, seed, cond, scale)
        named = shapes_of(texts).argmax(1) == asked
        good = [bool(b) and t in known for b, t in zip(named, texts)]
        report['guidance'][scale] = {
            'obeyed': int(named.sum()),
            'sentences': sum(t in known for t in texts),
            'both': sum(good),
            'distinct': len(set(texts)),
            'entropy': spread(texts),
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('runs/captions'))
    parser.add_argument('--steps', type=int, default=7000)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--lr', type=float, default=2e-3)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--n', type=int, default=256, help='samples to judge')
    parser.add_argument('--device', help='cuda, mps or cpu; the best there is, if not said')
    parser.add_argument('--zoo', action='store_true', help='write to the zoo of the package and pin the files there')
    a = parser.parse_args()
    if min(a.steps, a.batch, a.n) < 1:
        parser.error(f'steps are {a.steps}, the batch {a.batch} and n {a.n}, expected at least 1')
    torch.set_flush_denormal(True)
    known = captions()
    texts, chances = [*known], torch.tensor([*known.values()])
    length = max(map(len, texts))
    tokens, shapes = spell(texts, length), shapes_of(texts)
    torch.manual_seed(a.seed)  # the first weights
    model = TextDenoiser(len(LETTERS), length, classes=len(SHAPES))
    trainer = Trainer(model, loss, lr=a.lr, warmup=200, total=a.steps, weight_decay=0.01, ema=0.998, seed=a.seed, device=a.device)
    trainer.settings |= {'recipe': 'captions', 'batch': a.batch}
    a.out.mkdir(parents=True, exist_ok=True)
    trainer.resume(a.out / 'checkpoints')

    def stream():
        step = trainer.step
        while True:
            rows = torch.multinomial(chances, a.batch, True, generator=make_generator(a.seed, 'captions', step))
            yield tokens[rows], shapes[rows]
            step += 1

    run(trainer, stream(), a.steps, a.out, 'texts')
    seconds, processor = spent(a.out)
    model = trainer.ema.model.cpu().eval()
    facts = {'data': 'captions of one shape', 'length': length, 'parameters': sum(p.numel() for p in model.parameters()), 'steps': a.steps, 'batch': a.batch}
    facts |= {
        'rate': a.lr,
        'seed': a.seed,
        'seconds': seconds,
        'processor_seconds': processor,
        'threads': torch.get_num_threads(),
        'torch': torch.__version__.split('+')[0],
    }
    folder = ZOO / 'captions' if a.zoo else a.out
    save(folder, model, facts, torch.float16)
    from diffbook.training import load

    report = judge(load(folder).float(), a.n, a.seed)
    (folder / 'report.json').write_text(json.dumps({'training': facts} | report, indent=1) + '\n')
    print(json.dumps(report, indent=1))
    if a.zoo:
        (folder / 'log.csv').write_text((a.out / 'log.csv').read_text())
        command = f'python tools/train_captions.py --steps {a.steps} --batch {a.batch} --lr {a.lr} --seed {a.seed} --zoo'
        pin('captions', 'captions/model.safetensors', command=command, report='captions/report.json', log='captions/log.csv')


if __name__ == '__main__':
    main()
