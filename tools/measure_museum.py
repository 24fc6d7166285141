"""Measure what each mistake of the bug museum does to the samples and to the loss: chapter 93 reads the file.

    python tools/measure_museum.py                  # five seeds: some minutes of one core
    python tools/measure_museum.py --seeds 1 --show # a look, nothing is written
    python tools/measure_museum.py --garments      # draw the pictures of garments anew, and keep the rest

Each mistake stands in one function of a small program (diffbook/exercises/museum/right.py), which is trained and drawn from
with the mistake and without, from the same seeds. Where the mistake is not on the way of training, the networks are the same.
Writes diffbook/measured/museum.json; the digest in it is that of the functions.
"""

import argparse
import json
from pathlib import Path

import torch

from diffbook import load
from diffbook.core import noise
from diffbook.exercises.museum.cases import CASES, digest, judge
from diffbook.exercises.museum.right import STEPS, draw, program, train
from diffbook.store.files import write_whole

FILE = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'museum.json'
POINTS, CURVE = 400, 40  # kept of seed 0: points, and means of the loss


def rounded(value):
    return float(f'{value:.4g}') if isinstance(value, float) else value


def seen(p, net, losses, seed, options):
    x = draw(p, net, seed=seed, **options)
    parts = torch.tensor(losses).chunk(CURVE)
    found = judge(x) | {'loss': sum(losses[-len(losses) // 5 :]) / (len(losses) // 5), 'first': sum(losses[:10]) / 10}
    kept = {'points': (100 * x[:POINTS]).clamp(-9999, 9999).round().int().tolist(), 'curve': [rounded(c.mean().item()) for c in parts]}
    return {k: rounded(v) for k, v in found.items()}, kept


def measure(seeds, numbers, say=print):
    "Per case and for the right program beside it: values per seed; points and curve of seed 0."
    found = {str(k): {'wrong': [], 'right': []} for k in numbers}
    for seed in range(seeds):
        right = train(program(), seed)
        for k in numbers:
            case = CASES[k]
            p = program(**{case.part: case.f})
            wrong = train(p, seed) if case.trained else right
            for who, parts, run in (('wrong', p, wrong), ('right', program(), right)):
                values, kept = seen(parts, *run, seed, case.options)
                found[str(k)][who].append(values)
                if seed == 0 and (who == 'wrong' or not case.options):
                    (found[str(k)] if who == 'wrong' else found.setdefault('right', {})).update(kept)
            say(k, case.part, seed, *(found[str(k)][who][-1] for who in ('wrong', 'right')))
    return found


WALKS = {  # case -> the way, the steps, and the numbers of the noises in two batches of three; '' is the right program
    '': ('ddim', 30, 0.0),
    '7': ('ddim', 30, 1.0),
    '9': ('ddpm', 100, 1.0),
    '11': ('ddim', 30, 0.0),
    '14': ('ddim', 30, 0.0),
}


@torch.no_grad()
def garments(walks=WALKS, n=6, batch=3):
    "Garments from the zoo by the steps of the right program and of some cases, from the same noises: rows of pixels, two hexadecimal digits each."
    model, drawn = load('fashion-mnist'), {}
    bars = model.schedule.alpha(0.99 * torch.arange(STEPS + 1, dtype=torch.float64) / STEPS).float() ** 2
    for k, (way, steps, eta) in walks.items():
        case = CASES[int(k)] if k else None
        p = program(**({case.part: case.f} if k else {}))
        numbers = [*range(batch)] * (n // batch) if k == '14' else [*range(n)]  # the mistake of case 14, whose function draws points
        x = torch.cat([noise(0, 'museum', 0, range(i, i + 1), (1, 28, 28)) for i in numbers]).float()
        fresh = torch.Generator().manual_seed(0)
        for t, s in p.levels(STEPS, steps):
            z, bar, bar_s = torch.randn(x.shape, generator=fresh), bars[t], bars[s]
            eps = (x - bar.sqrt() * model(x, torch.tensor(0.99 * t / STEPS))) / (1 - bar).sqrt()
            x = p.ancestral(x, eps, bar, bar_s, z) if way == 'ddpm' else p.ddim(x, eps, bar, bar_s, eta, z)
        pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        drawn[k or 'right'] = [bytes(picture.flatten().tolist()).hex() for picture in pixels]
    return drawn


def write(report):
    text = json.dumps(report, separators=(',', ':')).replace('"cases"', '\n"cases"').replace('},"', '},\n"').replace('],"', '],\n"')
    write_whole(FILE, (text + '\n').encode())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--show', action='store_true', help='write nothing')
    parser.add_argument('--garments', action='store_true', help='draw these alone')
    a = parser.parse_args(argv)
    torch.set_num_threads(1)
    if a.garments:
        return write(json.loads(FILE.read_text(encoding='utf-8')) | {'garments': garments()})
    found = measure(a.seeds, [k for k, case in CASES.items() if case.drawn])
    if not a.show:
        write({'command': f'python tools/measure_museum.py --seeds {a.seeds}', 'digest': digest(), 'seeds': a.seeds, 'cases': found, 'garments': garments()})


if __name__ == '__main__':
    main()
