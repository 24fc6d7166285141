"""Time and memory of one step of Stable Diffusion 1.5's U-Net at 512 x 512, the book's class against diffusers', on shared random weights.

    python -m benchmarks.stable_diffusion --out benchmarks/results/stable-diffusion.json

Two pictures of 64 x 64 latents, bfloat16, no gradients. Time: both nets in one process, in alternating order; with one
thread the processor's time, which other programs on the machine disturb little. Memory: each net in a process of its own,
the highest resident memory during one step minus that before it, when weights, inputs and libraries are there already
(a first small step has loaded what is loaded once).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.measure import machine, quartiles
from diffbook.core import Cond, generator
from diffbook.pretrained import fill, make_empty
from diffbook.published.unet import places

V15 = {'block_out_channels': (320, 640, 1280, 1280), 'cross_attention_dim': 768, 'attention_head_dim': 8, 'sample_size': 64}
OURS, THEIRS = 'diffbook UNet', 'diffusers UNet2DConditionModel'


def weights(dtype):
    "Random tensors by their published names: slices of one tile, scaled so that signals keep their size."
    import diffusers

    with torch.device('meta'):
        empty = diffusers.UNet2DConditionModel(**V15).state_dict()
    tile, found = torch.randn(1 << 22, generator=generator(0, 'benchmark')), {}
    for name, p in empty.items():
        size = p.numel() if p.ndim > 1 else 0
        flat = tile.repeat(-(-p.numel() // len(tile)))[: p.numel()].reshape(p.shape)
        found[name] = (flat * (p[0].numel() ** -0.5 if size else 0.1) + ('norm' in name and name.endswith('weight'))).to(dtype)
    return found


def build(which, tensors):
    "A net that holds these tensors; the book's copies only what it keeps in one."
    with torch.device('meta'):
        if which == OURS:
            net = make_empty('unet', V15)
            return fill(net, tensors, places(net), 'benchmark')
        import diffusers

        net = diffusers.UNet2DConditionModel(**V15)
    net.load_state_dict(tensors, assign=True)
    return net.eval()


def inputs(dtype, side):
    g = generator(0, 'inputs')
    return [torch.randn(*shape, generator=g).to(dtype) for shape in ((2, 4, side, side), (2, 77, 768))]


def call(which, net, x, text):
    t = torch.full((2,), 421.0)
    with torch.inference_mode():
        return net(x, t, Cond(seq=text)) if which == OURS else net(x, t, text).sample


def resident(key):
    "VmRSS, or VmHWM, the highest so far, in bytes."
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{key}:'))


def memory(which, dtype, side):
    tensors = weights(dtype)
    net = build(which, tensors)
    size = sum(p.numel() * p.element_size() for p in net.parameters())
    del tensors
    call(which, net, *inputs(dtype, 8))
    Path('/proc/self/clear_refs').write_text('5')  # begin a new peak
    before = resident('VmRSS')
    call(which, net, *inputs(dtype, side))
    return {'weights, GB': round(size / 1e9, 3), 'beyond the weights at its peak, GB': round((resident('VmHWM') - before) / 1e9, 3)}


def speed(dtype, side, rounds):
    tensors = weights(dtype)
    nets = {which: build(which, tensors) for which in (OURS, THEIRS)}
    x, text = inputs(dtype, side)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds, answers = {which: [] for which in nets}, {}
    for i in range(rounds + 1):
        for which in list(nets)[:: 1 if i % 2 else -1]:
            start = clock()
            answers[which] = call(which, nets[which], x, text)
            if i:  # the first round warms up
                seconds[which].append(clock() - start)
    a, b = (answers[which].float() for which in (OURS, THEIRS))
    ratios = [p / q for p, q in zip(seconds[OURS], seconds[THEIRS])]
    return {
        'seconds a step': {which: quartiles(values) for which, values in seconds.items()},
        'ours by theirs': {'median': round(statistics.median(ratios), 3), 'all': [round(r, 3) for r in ratios]},
        'n': rounds,
        'largest difference by largest answer': round(((a - b).abs().max() / b.abs().max()).item(), 4),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, help='a .json file')
    parser.add_argument('--rounds', type=int, default=5, help='measured alternations')
    parser.add_argument('--side', type=int, default=64, help='cells along a side of the latents')
    parser.add_argument('--dtype', default='bfloat16', choices=('bfloat16', 'float32'))
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--memory-of', choices=(OURS, THEIRS), help='measure only the memory of one net, and print it')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    if args.memory_of:
        print(json.dumps(memory(args.memory_of, dtype, args.side)))
        return
    words = [sys.executable, '-m', 'benchmarks.stable_diffusion', '--side', str(args.side), '--dtype', args.dtype, '--threads', str(args.threads)]
    report = {
        'about': {'command': f'python -m benchmarks.stable_diffusion --rounds {args.rounds} --side {args.side} --dtype {args.dtype} --threads {args.threads}', **machine()},
        'memory': {which: json.loads(subprocess.run([*words, '--memory-of', which], check=True, capture_output=True, text=True).stdout.splitlines()[-1]) for which in (OURS, THEIRS)},
        'time': speed(dtype, args.side, args.rounds),
    }  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + '\n')
    print(json.dumps(report, indent=1))


if __name__ == '__main__':
    main()
