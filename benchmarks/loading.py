"""How long opening the U-Net of Stable Diffusion 1.5 takes, and how much memory beyond its file: the book's loader and diffusers'.

    python -m benchmarks.loading --out benchmarks/results/loading.json

Makes a folder of random weights at full size in a temporary place (3.4 GB in float32, 1.7 GB in float16). Each case opens
it in fresh processes that take turns (ABBA...), with the file in the page cache. Imports are made before the clock
starts. Meanwhile the parent reads what the kernel says of the child: anonymous memory, which is the process's own,
and pages of files, which are the weights themselves and can be dropped at any time. `read` then reads every number once,
as the first picture would.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

CASES = {  # what is imported before the clock, what is measured, the model
    'diffbook load_unet': ('from diffbook.pretrained import load_unet', 'net = load_unet(folder)'),
    'diffusers from_pretrained': ('from diffusers import UNet2DConditionModel', 'net = UNet2DConditionModel.from_pretrained(folder, torch_dtype=getattr(torch, kind), use_safetensors=True)'),
}
CHILD = """
import sys, time, torch
torch.set_num_threads(1)
folder, kind = sys.argv[1:]
{}
import diffbook.nets.unet, safetensors.torch
print('ready', flush=True); sys.stdin.readline()
a, c = time.perf_counter(), time.process_time()
{}
b, d = time.perf_counter(), time.process_time()
print('opened', b - a, d - c, sum(p.numel() for p in net.parameters()), next(net.parameters()).dtype, flush=True); sys.stdin.readline()
a = time.perf_counter()
for p in net.parameters(): torch.aminmax(p)
print('read', time.perf_counter() - a, flush=True); sys.stdin.readline()
"""


def memory(pid):
    "Bytes of its own and of files that a process holds now."
    said = dict(line.split(':', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines())
    return tuple(int(said[key].split()[0]) * 1024 for key in ('RssAnon', 'RssFile'))


def measure(code, folder, kind):
    "Seconds (clock and processor) to open, seconds to read once, and the most memory beyond what the imports took."
    child = subprocess.Popen([sys.executable, '-c', CHILD.format(*code), str(folder), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout.readline().startswith('ready')
    before, most = memory(child.pid), [0, 0]
    child.stdin.write('\n')
    child.stdin.flush()
    os.set_blocking(child.stdout.fileno(), False)
    while not (line := child.stdout.readline()):
        most = [max(m, now - b) for m, now, b in zip(most, memory(child.pid), before)]
        time.sleep(0.002)
    os.set_blocking(child.stdout.fileno(), True)
    _, clock, processor, count, dtype = line.split()
    after = [now - b for now, b in zip(memory(child.pid), before)]
    child.stdin.write('\n')
    child.stdin.flush()
    read = float(child.stdout.readline().split()[1])
    child.communicate('\n')
    return {
        'seconds': float(clock), 'processor seconds': float(processor), 'reading once, seconds': read, 'parameters': int(count), 'dtype': dtype,
        'peak own memory, GB': max(most[0], after[0]) / 1e9, 'own memory after, GB': after[0] / 1e9, 'peak of files, GB': max(most[1], after[1]) / 1e9,
    }  # fmt: skip


def make(folder, dtype):
    "The U-Net of version 1.5 with random weights, in the published layout."
    import torch

    from diffbook.nets.unet import UNet, published_arguments
    from diffbook.pretrained import save_published

    config = {'_class_name': 'UNet2DConditionModel', 'cross_attention_dim': 768, 'attention_head_dim': 8}
    with torch.device('meta'):
        net = UNet(**published_arguments(config))
    net.to_empty(device='cpu').to(dtype)
    g = torch.Generator().manual_seed(0)
    for p in net.parameters():
        p.data = torch.randn(1 << 16, generator=g).to(dtype).mul(0.02).repeat(p.numel() // (1 << 16) + 1)[: p.numel()].reshape(p.shape)
    save_published(folder, net)


def summary(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return {'median': round(middle, 3), 'quartiles': [round(low, 3), round(high, 3)]}


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
            size = sum(p.stat().st_size for p in folder.iterdir())
            measured = {case: [] for case in CASES}
            for i in range(args.rounds):
                for case in list(CASES)[:: -1 if i % 2 else 1]:
                    measured[case].append(measure(CASES[case], folder, name))
                    print(name, case, measured[case][-1], flush=True)
        finally:
            shutil.rmtree(folder)
        rows[name] = {'file, GB': round(size / 1e9, 3)}
        for case, runs in measured.items():
            rows[name][case] = {key: summary([r[key] for r in runs]) if isinstance(runs[0][key], float) else runs[0][key] for key in runs[0]}
        ours, theirs = measured.values()
        rows[name]['time of ours by theirs, round by round'] = summary([a['seconds'] / b['seconds'] for a, b in zip(ours, theirs)])
        rows[name]['processor time of ours by theirs'] = summary([a['processor seconds'] / b['processor seconds'] for a, b in zip(ours, theirs)])
    about = {
        'command': f'python -m benchmarks.loading --rounds {args.rounds}', 'python': platform.python_version(), 'torch': version('torch'),
        'diffusers': version('diffusers'), 'safetensors': version('safetensors'), 'cores': os.cpu_count(), 'threads': 1,
        'load at the start': round(load, 1), 'rounds': args.rounds, 'goal': 'peak own memory <= 0.3 GB; time <= 1.0 of diffusers',
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({'about': about, 'rows': rows}, indent=1) + '\n')
    print(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
