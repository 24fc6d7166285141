"""Five families on the same data: autoregression, flow, VAE, GAN and diffusion, with the same time of training and the same judges.

    python -m benchmarks.family ring                      # eight Gaussians on a circle, three seeds: about seven minutes of one core
    python -m benchmarks.family garments                  # Fashion-MNIST, one seed: about twenty minutes of one core
    python -m benchmarks.family garments --only diffusion # one of them; what stands in the file is kept

Every family gets the same seconds of the processor (--seconds), as many updates as fit in them with the first seed, a cosine of the
learning rate that ends with them, and an average of its weights, which is judged. On the ring all have about ten thousand parameters in all; there the
likelihood of new points stands beside that of the ring itself, and the distance of samples beside that of other real points.
On garments the judge is the book's classifier, and bits per dimension are those of test pictures. A family that was trained lies in
--folder, and is not trained again.
"""

import argparse
import base64
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor
from tqdm.auto import tqdm

from benchmarks.family_nets import Member, pictures, points
from benchmarks.likelihood import continuous
from benchmarks.reflow import sliced
from diffbook.core import generator
from diffbook.data import batches, from_model, gaussian_ring, load_data
from diffbook.exact import GaussianMixture
from diffbook.likelihood import bits_per_dim
from diffbook.metrics import compare
from diffbook.store.files import write_whole
from diffbook.training import Trainer

OUT = Path(__file__).resolve().parents[1] / 'diffbook' / 'measured' / 'family.json'
FAMILIES = ('autoregression', 'flow', 'VAE', 'GAN', 'diffusion')
RING = GaussianMixture(*gaussian_ring(radius=2.0, std=0.2))
NEW, DRAWN = 5000, 10_000  # points whose likelihood is asked, and samples
PICTURES, TESTED = 1024, 256  # samples that are judged, and test pictures whose bits are counted


def made(make: Any, family: str, seed: int) -> Member:
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return make(family)


def trainers(member: Member, total: int, seed: int) -> list[Trainer]:
    bf16 = member.options.get('bf16', False)
    return [Trainer(member.model.get_submodule(name), loss, total=total, seed=seed, device='cpu', bf16=bf16, **options) for name, loss, options in member.turns]


def train(make: Any, family: str, seed: int, seconds: float, data: Iterator[Any], updates: int | None = None) -> tuple[Member, dict[str, Any]]:
    "Train for so many seconds of the processor, as twelve updates of a copy tell; or for so many updates."
    trial, start = trainers(made(make, family, seed), 10_000, seed), 0.0
    for k in range(12):
        if k == 2:
            start = time.process_time()
        batch = next(data)
        for trainer in trial:
            trainer.update(batch)
    total = updates or max(1, round(seconds * 10 / (time.process_time() - start)))
    member = made(make, family, seed)
    turns, start = trainers(member, total, seed), time.process_time()
    for _ in tqdm(range(total), desc=f'{family}, seed {seed}'):
        batch = next(data)
        for trainer in turns:
            trainer.update(batch)
    spent = time.process_time() - start
    for (name, _, _), trainer in zip(member.turns, turns):
        member.model.get_submodule(name).load_state_dict(trainer.ema.model.state_dict())
    count = sum(p.numel() for p in member.model.parameters())
    return member, {'family': family, 'seed': seed, 'parameters': count, 'updates': total, 'seconds': round(spent, 1)}


def timed(member: Member, n: int, g: torch.Generator, **options: Any) -> tuple[Tensor, float]:
    "Draw n samples; seconds of the processor for each."
    start = time.process_time()
    with torch.no_grad():
        drawn = member.draw(member.model, n, g, **options)
    return drawn, (time.process_time() - start) / n


def look(drawn: Tensor, data: Tensor) -> dict[str, Any]:
    "What the judges of the ring say of samples."
    near = torch.cdist(drawn.double(), RING.means).min(1)
    share = torch.bincount(near.indices, minlength=8) / len(drawn)
    return {'distance': sliced(drawn, data), 'modes': int((share > 1 / 40).sum()), 'share error': (share - 1 / 8).abs().max().item(),
            'between': (near.values > 0.8).double().mean().item()}  # fmt: skip


def ring(args: argparse.Namespace, result: dict[str, Any], keep: Any) -> None:
    new, data, other = (RING.sample(n, generator(0, f'family {word}')) for n, word in ((NEW, 'new'), (DRAWN, 'data'), (DRAWN, 'other')))
    rows = result.setdefault('rows', [])
    result |= {'seeds': args.seeds, 'n': DRAWN, 'new': NEW, 'truth': -RING.log_prob(new).mean().item(), 'floor': look(other, data), 'given': args.seconds}
    for seed in args.seeds:
        for family in args.only or FAMILIES:
            if any((row['family'], row['seed']) == (family, seed) for row in rows):
                continue
            real = RING.sample(200_000, generator(seed, 'family ring')).float()
            same = next((row['updates'] for row in rows if row['family'] == family), None)  # those of the first seed
            member, row = train(points, family, seed, args.seconds, batches(real, 256, seed), same)
            model = member.model.eval()
            drawn, row['each'] = timed(member, DRAWN, generator(seed, 'family draw'))
            row |= look(drawn, data)
            if family == 'diffusion':
                row['by steps'] = {n: look(timed(member, DRAWN, generator(seed, 'family draw'), steps=n)[0], data) for n in (2, 5, 10, 20)}
            if member.log_prob:
                part = new[:1000] if family == 'diffusion' else new
                row |= {k: -v.double().mean().item() for k, v in member.log_prob(model, part.float()).items()}
                row['excess'] = row['nats'] + RING.log_prob(part).mean().item()  # beyond the ring's own, on the same points
            if seed == args.seeds[0]:
                row['points'] = [[round(v, 2) for v in p] for p in drawn[:600].tolist()]
            rows.append(row)
            keep()
            print({k: v for k, v in row.items() if k != 'points'}, flush=True)


def garments(args: argparse.Namespace, result: dict[str, Any], keep: Any) -> None:
    data, test = load_data('fashion-mnist'), load_data('fashion-mnist', 'test')
    rows, seed = result.setdefault('rows', []), args.seeds[0]
    result |= {'seeds': [seed], 'n': PICTURES, 'tested': TESTED, 'given': args.seconds}
    real, other = test.images[:PICTURES], data.images[:PICTURES]
    for family in args.only or FAMILIES:
        if any(row['family'] == family for row in rows):
            continue
        path, member = args.folder / f'{family}.safetensors', made(pictures, family, seed)
        if not path.exists():
            args.folder.mkdir(parents=True, exist_ok=True)
            member, row = train(pictures, family, seed, args.seconds, batches(data.images, member.options.get('batch', 64), seed))
            save_model(member.model, str(path))
            write_whole(path.with_suffix('.json'), json.dumps(row).encode())
        if args.train_only:
            continue
        row = json.loads(path.with_suffix('.json').read_text())
        load_model(member.model, str(path))
        judge_garments(member, row, real, other, test.images[PICTURES : PICTURES + TESTED], seed)
        rows.append(row)
        result['floor'] = {k: row.pop(k) for k in [k for k in row if k.endswith('_floor')]}
        keep()
        print({k: v for k, v in row.items() if k != 'sheet'}, flush=True)


def judge_garments(member: Member, row: dict[str, Any], real: Tensor, other: Tensor, tested: Tensor, seed: int) -> None:
    "Put into the row what the judges of pictures say."
    model = member.model.eval().requires_grad_(False)
    drawn, row['each'] = timed(member, PICTURES, generator(seed, 'family draw'))
    drawn = drawn if drawn.dtype == torch.uint8 else from_model(drawn)
    row |= compare(drawn, real, other)
    row['sheet'] = base64.b64encode(drawn[:10].numpy().tobytes()).decode()
    bits = lambda v: bits_per_dim(v.double(), 784)
    if row['family'] == 'autoregression':  # levels are whole: no bin has a width
        bits = lambda v: -v.double() / (784 * math.log(2))
    found = {}
    with torch.no_grad():
        if row['family'] == 'diffusion':
            found = {'bits': continuous(model, model.schedule, tested, 32, seed)}
        elif member.log_prob:
            parts = [member.log_prob(model, part) for part in tested.split(32)]
            found = {'bits' if k == 'nats' else 'bound': bits(torch.cat([part[k] for part in parts])) for k in parts[0]}
    for name, v in found.items():
        row[name], row[f'{name} error'] = v.mean().item(), (v.std() / len(v) ** 0.5).item()


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.family', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', choices=('ring', 'garments'))
    parser.add_argument('--only', nargs='+', choices=FAMILIES, help='some of the families')
    parser.add_argument('--seconds', type=float, help='of the processor for each training; 25 on the ring, 150 on garments')
    parser.add_argument('--seeds', type=int, nargs='+', help='0 1 2 on the ring; on garments the first is taken')
    parser.add_argument('--train-only', action='store_true', help='garments: train and keep the weights, judge later')
    parser.add_argument('--folder', type=Path, default=Path('out/family'), help='garments: of the weights')
    parser.add_argument('--out', type=Path, default=OUT, help='a .json file')
    args = parser.parse_args()
    args.seconds = args.seconds or {'ring': 25, 'garments': 150}[args.data]
    args.seeds = args.seeds or ([0, 1, 2] if args.data == 'ring' else [0])
    torch.set_num_threads(1)
    found = json.loads(args.out.read_text()) if args.out.exists() else {}
    result = found.setdefault(args.data, {'command': f'python -m benchmarks.family {args.data}'})
    keep = lambda: write_whole(args.out, (json.dumps(found, indent=1) + '\n').encode())
    {'ring': ring, 'garments': garments}[args.data](args, result, keep)


if __name__ == '__main__':
    main()
