"""What each recipe for speed gains on the machine at hand, and where the time of the book's network goes.

    python -m benchmarks.recipes --compile --threads 2

writes this device's part of diffbook/measured/speed.json, which the chapter on speed reads. Each recipe compares two ways to do
the same work. They take turns (ABBA...), the gain is the ratio of their times in one round, and reported are the median
and the quartiles over the rounds. One thread is timed by the processor's clock, which other programs disturb little;
two threads and a GPU by the clock on the wall. A device that nobody ran this file on is "not measured".
"""

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from benchmarks.measure import counter, flops, machine
from diffbook.core import generator
from diffbook.nets.layers import ResBlock, Upsample
from diffbook.nets.unet import UNet
from diffbook.training import EMA

ROWS = Path(__file__).resolve().parent / 'results' / 'rows.json'  # written by python -m benchmarks
OUT = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'speed.json'
BATCH = 64
CHANNELS_LAST = dict(memory_format=torch.channels_last)


def normal(*shape, device='cpu', seed=0):
    return torch.randn(shape, generator=generator(seed, 'recipes')).to(device)


def quartiles(values, digits=4):
    low, middle, high = (float(f'{v:.{digits}g}') for v in statistics.quantiles(values, n=4))
    return {'median': middle, 'quartiles': [low, high]}


class Clock:
    "Seconds that a call takes, by the processor's clock with one thread, else by the one on the wall."

    def __init__(self, device, wall=False):
        self.wall, self.wait = (
            wall or device.type != 'cpu',
            torch.cuda.synchronize if device.type == 'cuda' else lambda: None,
        )
        self.read = time.perf_counter if self.wall else time.process_time

    def __call__(self, call):
        self.wait()
        begun = self.read()
        call()
        self.wait()
        return self.read() - begun


def book_net(device, **changes):
    torch.manual_seed(0)
    net = UNet(**changes)
    nn.init.normal_(net.head.weight, std=0.02)  # an untrained head of zeros would send no gradient back
    return net.to(device, **CHANNELS_LAST)


class Step:
    "One training step of the book's network, with the choices that the recipes compare."

    def __init__(self, device, batch=BATCH, bf16=False, forward=None, read=False, net=None, images=None):
        self.net = net or book_net(device)
        self.forward = forward(self.net) if forward else self.net
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4, fused=True)
        self.ema, self.bf16, self.read, self.device = EMA(self.net), bf16, read, device
        self.x, self.target = normal(batch, 1, 28, 28, device=device), normal(batch, 1, 28, 28, device=device, seed=1)
        self.t, self.images = torch.linspace(1, 999, batch).to(device), images

    def loss(self):
        x = self.x if self.images is None else self.images()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return F.mse_loss(self.forward(x, self.t).float(), self.target)

    def __call__(self):
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.ema.update(self.net, 10_000)
        if self.read:
            loss.item()


def there_and_back(call, *inputs):
    "Forward and backward through `call`."
    inputs = [x.detach().requires_grad_() for x in inputs]

    def run():
        out = call(*inputs)
        out.backward(torch.ones_like(out))

    return run


# Recipes: device -> (the plain way, the recipe)


def channels_last(d):
    block, x = ResBlock(48, 48, groups=8).to(d), normal(BATCH, 48, 14, 14, device=d)
    nn.init.normal_(block.conv2.weight, std=0.02)
    other = copy.deepcopy(block).to(**CHANNELS_LAST)
    return there_and_back(block, x), there_and_back(other, x.to(**CHANNELS_LAST))


def one_convolution(d, dtype):
    conv = nn.Conv2d(96, 96, 3, padding=1).to(d, dtype, **CHANNELS_LAST)
    x = normal(BATCH, 96, 14, 14, device=d).to(dtype, **CHANNELS_LAST).requires_grad_()
    out = conv(x)
    g = torch.ones_like(out)

    def forward():
        with torch.no_grad():
            conv(x)

    return forward, lambda: torch.autograd.grad(out, (x, conv.weight), g, retain_graph=True)


def bf16_forward(d):
    return one_convolution(d, torch.float32)[0], one_convolution(d, torch.bfloat16)[0]


def bf16_backward(d):
    return one_convolution(d, torch.float32)[1], one_convolution(d, torch.bfloat16)[1]


def bf16_step(d):
    return Step(d), Step(d, bf16=True)


def optimizer_step(d, **kind):
    net = book_net(d)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    return torch.optim.AdamW(net.parameters(), lr=1e-4, **kind).step


def foreach_optimizer(d):
    return optimizer_step(d, foreach=False, fused=False), optimizer_step(d, foreach=True)


def fused_optimizer(d):
    return optimizer_step(d, foreach=False, fused=False), optimizer_step(d, fused=True)


def average(d):
    net = book_net(d)
    ema, kept, new = EMA(net), [p.detach().clone() for p in net.parameters()], [p.detach() for p in net.parameters()]

    def loop():
        for a, b in zip(kept, new):
            a.mul_(0.999).add_(b, alpha=0.001)

    return loop, lambda: ema.update(net, 10_000)


def told_at_once(d):
    net, e = book_net(d), normal(BATCH, 192, device=d)
    columns = [m.columns for m in net.modules() if hasattr(m, 'columns')]
    layers = nn.ModuleList([nn.Linear(192, c.stop - c.start) for c in columns]).to(d)
    return there_and_back(lambda e: torch.cat([layer(F.silu(e)) for layer in layers], 1), e), there_and_back(lambda e: net.tell(F.silu(e)), e)


def qkv_at_once(d):
    x, one = normal(BATCH, 49, 96, device=d), nn.Linear(96, 288).to(d)
    three = nn.ModuleList([nn.Linear(96, 96) for _ in range(3)]).to(d)
    return there_and_back(lambda x: torch.cat([layer(x) for layer in three], -1), x), there_and_back(one, x)


def doubling(d):
    up, x = Upsample(96).to(d, **CHANNELS_LAST), normal(BATCH, 96, 7, 7, device=d).to(**CHANNELS_LAST)
    return there_and_back(lambda x: up.conv(F.interpolate(x, scale_factor=2.0)), x), there_and_back(up, x)


def attention_kernel(d):
    q, k, v = (normal(BATCH, 4, 196, 24, device=d, seed=i) for i in range(3))
    return there_and_back(lambda q, k, v: torch.softmax(q @ k.mT / 24**0.5, -1) @ v, q, k, v), there_and_back(F.scaled_dot_product_attention, q, k, v)


def folding(d):
    return Step(d, 16, net=book_net(d, patch=1)), Step(d, 16)


def inference(d):
    net, x, t = book_net(d), normal(BATCH, 1, 28, 28, device=d), torch.linspace(1, 999, BATCH).to(d)

    def plain():
        with torch.no_grad():
            net(x, t)

    def recipe():
        with torch.inference_mode():
            net(x, t)

    return plain, recipe


def no_reading(d):
    return Step(d, 8, read=True), Step(d, 8)


def in_memory(d):
    pictures = (normal(4096, 1, 28, 28).clamp(-1, 1) * 127 + 128).to(torch.uint8)
    there, pick = pictures.to(d), torch.randint(4096, (BATCH,), generator=generator(0, 'pick'))

    def one_by_one():
        return torch.stack([pictures[i].float() / 127.5 - 1 for i in pick.tolist()]).to(d)

    return Step(d, images=one_by_one), Step(d, images=lambda: there[pick.to(d)].float() / 127.5 - 1)


def guided_batch(d):
    net, x, t = book_net(d), normal(16, 1, 28, 28, device=d), torch.linspace(1, 999, 16).to(d)
    both, times = torch.cat([x, x]), torch.cat([t, t])

    def two_calls():
        with torch.inference_mode():
            net(x, t), net(x, t)

    def one_call():
        with torch.inference_mode():
            net(both, times)

    return two_calls, one_call


def keep_activations(d):
    return Step(d, forward=lambda net: lambda x, t: checkpoint(net, x, t, use_reentrant=False)), Step(d)


def larger_batch(d, small, large):
    step, whole = Step(d, small), Step(d, large)

    def in_parts():
        for _ in range(large // small):
            step()

    return in_parts, whole


def chain(h, scale, shift):
    return F.silu(torch.addcmul(shift, F.group_norm(h, 8), 1 + scale))


def compiled_chain(d):
    h, s, b = normal(BATCH, 48, 14, 14, device=d).to(**CHANNELS_LAST), *normal(2, BATCH, 48, 1, 1, device=d)
    return there_and_back(chain, h, s, b), there_and_back(torch.compile(chain), h, s, b)


def compiled_step(d):
    return Step(d), Step(d, forward=torch.compile)


RECIPES = {  # name -> (what is timed, recipe)
    'fold the image first (patch 2, not 1)': ('training step, batch 16', folding),
    'one fused kernel for AdamW, not a loop': ('update of the weights', fused_optimizer),
    'foreach for AdamW, not a loop': ('update of the weights', foreach_optimizer),
    'foreach for the average, not a loop': ('update of the average', average),
    'one product for what blocks are told': ('that product', told_at_once),
    'one product for q, k and v': ('that product', qkv_at_once),
    'double by a transposed convolution': ('the doubling', doubling),
    'attention in one kernel': ('attention, 196 places', attention_kernel),
    'channels_last': ('a residual block', channels_last),
    'bfloat16, one convolution': ('forward', bf16_forward),
    'bfloat16, one convolution, backward': ('backward', bf16_backward),
    'bfloat16 autocast': ('training step', bf16_step),
    'inference_mode, not no_grad': ('forward', inference),
    'never read the loss': ('training step, batch 8', no_reading),
    'images whole in memory': ('training step', in_memory),
    'both halves of guidance in one batch': ('two answers for 16 pictures', guided_batch),
    'keep activations, do not recompute': ('training step', keep_activations),
    'batch 64, not 8': ('64 pictures', partial(larger_batch, small=8, large=64)),
    'batch 256, not 64': ('256 pictures', partial(larger_batch, small=64, large=256)),
}
COMPILED = {  # compiling is timed, too
    'compile norm, scale, shift and SiLU': ('that chain', compiled_chain),
    'compile the network': ('training step', compiled_step),
}


def with_children(call):
    "Processor seconds of a call and of the programs that it starts, such as a compiler."
    begun = sum(os.times()[:4])
    call()
    return sum(os.times()[:4]) - begun


def compare(make, device, rounds, clock, least):
    "Times of both ways, in turns; each is repeated until it takes `least` seconds."
    ways = make(device)
    first = [with_children(way) for way in ways]
    times = [min(clock(way) for _ in range(2)) for way in ways]
    repeats = [max(1, round(least / max(t, 1e-7))) for t in times]
    spent = ([], [])
    for i in range(rounds):
        for j in (0, 1) if i % 2 else (1, 0):
            spent[j].append(clock(lambda j=j: [ways[j]() for _ in range(repeats[j])]) / repeats[j])
    gain = quartiles([a / b for a, b in zip(*spent)])
    return {'gain': gain, 'seconds': [quartiles(s) for s in spent], 'rounds': rounds}, first


def in_threads(device, rounds, threads):
    "One thread against several: by the clock on the wall, for their processor time adds up."
    step, clock = Step(device), Clock(device, wall=True)

    def run(n):
        torch.set_num_threads(n)
        step()

    row, _ = compare(lambda d: (partial(run, 1), partial(run, threads)), device, rounds, clock, 0)
    torch.set_num_threads(1)
    return row


class Meter(TorchDispatchMode):
    "Record arithmetic, bytes and seconds of every operation."

    def __init__(self, clock):
        super().__init__()
        self.clock, self.ops, self.formulas = clock, [], counter().flop_registry

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, out = kwargs or {}, []
        seconds = self.clock(lambda: out.append(func(*args, **kwargs)))
        if not func.is_view and func is not torch.ops.aten._unsafe_view.default:
            count = self.formulas.get(func.overloadpacket)
            work = count(*args, **kwargs, out_val=out[0]) if count else 0
            written = [a for a, s in zip(args, func._schema.arguments) if out[0] is None and s.alias_info and s.alias_info.is_write]
            touched = [t for t in tree_leaves((args, kwargs, out, written)) if isinstance(t, torch.Tensor)]
            size = sum(min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in touched)
            self.ops.append((str(func).removeprefix('aten.').removesuffix('.default'), work, size, seconds))
        return out[0]


def metered(call, clock, rounds):
    "Every operation of a call: name, FLOPs, bytes, median microseconds."
    runs = []
    for _ in range(rounds + 1):
        with Meter(clock) as meter:
            call()
        runs.append(meter.ops)
    return [[*row[0][:3], float(f'{1e6 * statistics.median(r[3] for r in row):.3g}')] for row in zip(*runs[1:])]


def by_name(ops):
    total = {}
    for name, *numbers in ops:
        total[name] = [a + b for a, b in zip(total.get(name, [0] * 4), [1, *numbers])]
    return {k: [*v[:3], round(v[3], 1)] for k, v in total.items()}


def rate(call, amount, clock, rounds):
    "The best `amount` a second: a ceiling is what the machine can do, not what it does on average under load."
    call()
    return float(f'{amount / min(clock(call) for _ in range(rounds)):.4g}')


def ceilings(device, clock, rounds):
    "What the machine can do at best: arithmetic, memory, and the price of one operation that does nothing."
    found, shapes = {}, ((96, 14), (128, 28), (256, 14))
    for dtype in (torch.float32, torch.bfloat16):
        forward, both = [], []
        for c, side in shapes:
            conv = nn.Conv2d(c, c, 3, padding=1).to(device, dtype, **CHANNELS_LAST)
            x, work = (
                normal(BATCH, c, side, side, device=device).to(dtype, **CHANNELS_LAST),
                2 * BATCH * side**2 * 9 * c**2,
            )
            with torch.no_grad():
                forward.append(rate(lambda conv=conv, x=x: conv(x), work, clock, rounds))
            both.append(rate(there_and_back(conv, x), 3 * work, clock, rounds))
        a, name = normal(1024, 1024, device=device).to(dtype), str(dtype).removeprefix('torch.')
        found[name] = {
            'convolution': max(forward),
            'convolution, forward and backward': max(both),
            'matrix product': rate(lambda a=a: a @ a, 2 * 1024**3, clock, rounds),
        }
    for where, n in (('memory', 2**26), ('cache', 2**18)):
        a, b = torch.zeros(n, device=device), torch.ones(n, device=device)
        found[f'bytes a second, {where}'] = rate(lambda a=a, b=b: [a.copy_(b) for _ in range(2**26 // len(a))], 2 * 4 * 2**26, clock, rounds)
    one = torch.zeros((), device=device)
    found['seconds an operation'] = 1 / rate(lambda: [one.add_(1.0) for _ in range(1000)], 1000, clock, rounds)
    return found


def against_others():
    "What `python -m benchmarks` measured, without the details: the chapter finds it in the package."
    rows = json.loads(ROWS.read_text())['rows'] if ROWS.exists() else {}
    return {name: {k: row[k] for k in ('what', 'status', 'goals')} for name, row in sorted(rows.items())}


def readable(value, depth=0):
    "JSON with a line for each entry of the outer three levels."
    if not isinstance(value, (dict, list)) or not value or depth == 3:
        return json.dumps(value)
    space = ' ' * (depth + 1)
    if isinstance(value, dict):
        body = [f'{json.dumps(k)}: {readable(v, depth + 1)}' for k, v in value.items()]
    else:
        body = [readable(v, 3) for v in value]
    first, last = '{}' if isinstance(value, dict) else '[]'
    return f'{first}\n{space}' + f',\n{space}'.join(body) + f'\n{space[1:]}{last}' + '\n' * (depth == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int, default=0, help='also compare one thread with so many')
    parser.add_argument('--compile', action='store_true', help='also compile, which takes minutes on a CPU')
    parser.add_argument(
        '--only',
        nargs='*',
        help='names of recipes; the others keep their rows. None: only copy the rows of python -m benchmarks',
    )
    parser.add_argument('--least', type=float, default=0.05, help='seconds that one measurement takes at least')
    parser.add_argument('--out', type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    fresh = {
        'TORCHINDUCTOR_CACHE_DIR': tempfile.mkdtemp(),
        'TORCHINDUCTOR_COMPILE_THREADS': '1',
        'TORCHINDUCTOR_FORCE_DISABLE_CACHES': '1',
    }
    os.environ |= fresh  # read at the first compilation, which finds nothing made before
    device = torch.device(args.device)
    clock = Clock(device)
    known = json.loads(args.out.read_text()) if args.out.exists() else {'cpu': 'not measured', 'cuda': 'not measured'}
    part = known[device.type] if isinstance(known[device.type], dict) else {}
    everything = args.only is None
    rows = {} if everything else part.pop('recipes', {})

    def save():
        known[device.type] = (part | {'recipes': rows}) or 'not measured'
        known['rows'] = against_others()
        args.out.write_text(readable(known))

    options = ' '.join(f'--{k} {v}' for k, v in (('device', args.device), ('rounds', args.rounds), ('threads', args.threads)))
    if everything:
        part['about'] = {
            'command': f'python -m benchmarks.recipes {options}' + ' --compile' * args.compile,
            **machine(),
        }
        part['ceilings'] = ceilings(device, clock, args.rounds)
        print(json.dumps(part['ceilings'], indent=1), flush=True)
        step = Step(device)
        step()
        with torch.no_grad():
            part['forward'] = metered(lambda: step.net(step.x, step.t), clock, args.rounds)
        arithmetic = flops(step)
        part['training'] = by_name(metered(step, clock, args.rounds))
        part['training, bfloat16'] = by_name(metered(Step(device, bf16=True), clock, args.rounds))
        part['step'] = {
            'pictures': BATCH,
            'flops': arithmetic,
            'seconds': quartiles([clock(step) for _ in range(args.rounds)]),
        }
        print(part['step'], flush=True)
        save()
    for name, (what, make) in (RECIPES | (COMPILED if args.compile else {})).items():
        if not everything and name not in args.only:
            continue
        row, first = compare(make, device, args.rounds, clock, args.least)
        extra = {'seconds to compile': float(f'{first[1]:.3g}')} if name in COMPILED else {}
        rows[name] = {'of': what, 'clock': 'wall' if clock.wall else 'processor', **row, **extra}
        print(f'{name:45} {row["gain"]["median"]:7.2f} {row["gain"]["quartiles"]} {extra or ""}', flush=True)
        save()
    if args.threads and everything:
        name = f'{args.threads} threads, not one'
        rows[name] = {'of': 'training step', 'clock': 'wall', **in_threads(device, args.rounds, args.threads)}
        print(name, rows[name]['gain'], flush=True)
    save()


if __name__ == '__main__':
    main()
