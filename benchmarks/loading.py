"""How long opening Stable Diffusion 1.5 takes, and how much memory beyond its files: the book's loaders and diffusers'.

    python -m benchmarks.loading --out benchmarks/results/loading.json

Makes the published folder with random weights at full size in a temporary place (in float32 3.4 GB for the U-Net, 4.3 GB
for all). Each case opens it in fresh processes that take turns (ABBA...), with the files in the page cache, on one
thread. Imports are made before the clock starts. Meanwhile the parent reads what the kernel says of the child: anonymous
memory, which is the process's own, and pages of files, which are the weights themselves and can be dropped at any time.

Opening is not the same work in both: the book's loader copies what it keeps fused, and diffusers maps the file and copies
nothing; the book's looks at every number when a layer is first called, to refuse one that is not finite, and diffusers looks
at none. So each process then reads every number once, as the first picture would, and `opened and read` is the sum of both.
"""

import argparse
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

CASES = {  # what is opened -> who opens it -> what is imported before the clock, what is measured, the networks
    'the U-Net': {
        'diffbook': ('from diffbook.pretrained import load_unet', 'm = load_unet(folder + "/unet")', '[m]'),
        'diffusers': ('from diffusers import UNet2DConditionModel', 'm = UNet2DConditionModel.from_pretrained(folder + "/unet", torch_dtype=dtype, use_safetensors=True)', '[m]'),
    },
    'the whole model': {
        'diffbook': ('from diffbook.stable_diffusion import StableDiffusion', 'm = StableDiffusion.from_pretrained(folder)', '[m.denoiser.net, m.vae, m.conditioner]'),
        'diffusers': ('from diffusers import StableDiffusionPipeline; from transformers import CLIPTextModel, CLIPTokenizer; from diffusers import UNet2DConditionModel, AutoencoderKL, DDIMScheduler', 'm = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, use_safetensors=True)', '[m.unet, m.vae, m.text_encoder]'),
    },
}  # fmt: skip
CHILD = """
import sys, time, torch
torch.set_num_threads(1)
folder, dtype = sys.argv[1], getattr(torch, sys.argv[2])
{}
print('ready', flush=True); sys.stdin.readline()
a, c = time.perf_counter(), time.process_time()
{}
b, d = time.perf_counter(), time.process_time()
weights = [p for net in {} for p in net.parameters()]
print('opened', b - a, d - c, sum(p.numel() for p in weights), *sorted({{str(p.dtype) for p in weights}}), flush=True); sys.stdin.readline()
a = time.perf_counter()
for p in weights: torch.aminmax(p)
print('read', time.perf_counter() - a, flush=True); sys.stdin.readline()
"""


def memory(pid):
    "Bytes of its own and of files that a process holds now."
    said = dict(line.split(':', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines())
    return tuple(int(said[key].split()[0]) * 1024 for key in ('RssAnon', 'RssFile'))


def warm(file):
    "Read a file, so that it lies in the page cache."
    with open(file, 'rb', buffering=0) as data:
        block = bytearray(1 << 24)
        while data.readinto(block):
            pass


def measure(code, folder, dtype):
    "Seconds (clock and processor) to open, seconds to read once, and the most memory beyond what the imports took."
    child = subprocess.Popen(
        [sys.executable, '-c', CHILD.format(*code), str(folder), dtype], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    if not child.stdout.readline().startswith('ready'):
        raise RuntimeError(f'this did not start: {code[0]}')
    for file in Path(folder).rglob('*.safetensors'):
        warm(file)
    before, most = memory(child.pid), [0, 0]
    child.stdin.write('\n')
    child.stdin.flush()
    while not select.select([child.stdout], [], [], 0.002)[0]:
        most = [max(m, now - b) for m, now, b in zip(most, memory(child.pid), before)]
    _, clock, processor, count, *dtypes = child.stdout.readline().split()
    after = [now - b for now, b in zip(memory(child.pid), before)]
    child.stdin.write('\n')
    child.stdin.flush()
    read = float(child.stdout.readline().split()[1])
    child.communicate('\n')
    return {
        'seconds': float(clock), 'processor seconds': float(processor), 'opened and read, seconds': float(clock) + read, 'parameters': int(count),
        'dtypes': dtypes, 'peak own memory, GB': max(most[0], after[0]) / 1e9, 'own memory after, GB': after[0] / 1e9, 'peak of files, GB': max(most[1], after[1]) / 1e9,
    }  # fmt: skip


def random_weights(make, arguments, dtype):
    import torch

    with torch.device('meta'):
        model = make(**arguments)
    model.to_empty(device='cpu').to(dtype)
    some = torch.randn(1 << 16, generator=torch.Generator().manual_seed(0)).to(dtype).mul(0.02)
    for p in model.parameters():
        p.data = some.repeat(p.numel() // len(some) + 1)[: p.numel()].reshape(p.shape)
    return model


def make(folder, dtype):
    "Version 1.5 with random weights and a vocabulary of the published size, in the published layout."
    from itertools import islice, product

    from diffbook.nets.clip import TextTower
    from diffbook.nets.unet import UNet
    from diffbook.nets.vae import AutoencoderKL
    from diffbook.pretrained import NoisePlan, save_pipeline
    from diffbook.published.unet import arguments
    from diffbook.schedules import DiscreteSchedule, scaled_linear_betas
    from diffbook.text import END, LETTERS, Tokenizer

    config = {'_class_name': 'UNet2DConditionModel', 'cross_attention_dim': 768, 'attention_head_dim': 8}
    letters = list(LETTERS.values())
    merges = islice((f'{a} {b}' for a, b in product(letters, letters + [letter + END for letter in letters])), 49408 - 514)
    save_pipeline(
        folder, config={'unet': {'sample_size': 64}}, unet=random_weights(UNet, arguments(config), dtype), vae=random_weights(AutoencoderKL, {}, dtype),
        text_encoder=random_weights(TextTower, {}, dtype), tokenizer=Tokenizer(list(merges)), scheduler=NoisePlan(DiscreteSchedule(scaled_linear_betas()), offset=1, last=1.0),
    )  # fmt: skip


def summary(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return {'median': round(middle, 3), 'quartiles': [round(low, 3), round(high, 3)]}


def report(ours, theirs):
    "Both sides, and what the time of ours is of theirs, round by round."
    said = {
        who: {key: summary([r[key] for r in runs]) if isinstance(runs[0][key], float) else runs[0][key] for key in runs[0]}
        for who, runs in (('diffbook', ours), ('diffusers', theirs))
    }
    for key in ('seconds', 'processor seconds', 'opened and read, seconds'):
        said[f'{key}: ours of theirs'] = summary([a[key] / b[key] for a, b in zip(ours, theirs)])
    return said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='a .json file')
    parser.add_argument('--rounds', type=int, default=5, help='processes for each case and kind of number, at least 2')
    parser.add_argument('--dtypes', nargs='+', default=['float32', 'float16'])
    parser.add_argument('--folder', type=Path, help='where the weights are made; a temporary place')
    args = parser.parse_args()
    import torch

    rows, load = {}, os.getloadavg()[0]
    for name in args.dtypes:
        folder = Path(tempfile.mkdtemp(dir=args.folder))
        try:
            make(folder, getattr(torch, name))
            for what, sides in CASES.items():
                runs = {who: [] for who in sides}
                for i in range(args.rounds):
                    for who in list(sides)[:: -1 if i % 2 else 1]:
                        runs[who].append(measure(sides[who], folder, name))
                        print(name, what, who, runs[who][-1], flush=True)
                rows[f'{what}, {name}'] = report(*runs.values())
        finally:
            shutil.rmtree(folder)
    about = {
        'command': f'python -m benchmarks.loading --rounds {args.rounds}', 'python': platform.python_version(), 'torch': version('torch'),
        'diffusers': version('diffusers'), 'transformers': version('transformers'), 'safetensors': version('safetensors'), 'cores': os.cpu_count(),
        'threads': 1, 'load at the start': round(load, 1), 'rounds': args.rounds, 'goal': 'peak own memory <= 0.35 GB; the whole model in <= 1.3 of the time of diffusers',
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({'about': about, 'rows': rows}, indent=1) + '\n')
    print(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
