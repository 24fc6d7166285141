"""Rows E1 to E3 and the count of lines: what a library costs around the arithmetic."""

import argparse
import ast
import inspect
import statistics
import traceback
import warnings
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.measure import fresh, goal, summary
from benchmarks.peers import LUCIDRAINS
from benchmarks.rows import NotMeasured, row

IMPORTS = {
    'import diffbook': 'import diffbook',
    'sampling, as in the README': 'from diffbook import core, exact, samplers, schedules',
    'training a U-Net': 'from diffbook import losses, predictions, schedules, training; from diffbook.nets import unet',
    'data and metrics': 'from diffbook import data, metrics',
    'figures (matplotlib)': 'from diffbook import plots',
    'the command line': 'from diffbook import cli',
}
IMPORT = """
import json, sys, time
a = time.process_time()
import torch
b, there = time.process_time(), set(sys.modules)
exec(sys.argv[1])
c = time.process_time()
heavy = ('matplotlib', 'torchvision', 'PIL', 'typer', 'diffusers', 'transformers', 'scipy', 'IPython', 'nbdev')
print(json.dumps({'torch': b - a, 'both': c - a, 'brings along': [m for m in heavy if m in sys.modules and m not in there]}))
"""


class Reads(TorchDispatchMode):
    "Count how often the host reads a number out of a tensor; apart, where the line says that it does so on a CPU only."

    def __init__(self):
        super().__init__()
        self.any_device, self.cpu_only = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            lines = [frame.line for frame in traceback.extract_stack() if 'diffbook' in frame.filename]
            guarded = bool(lines) and "device.type == 'cpu'" in lines[-1]
            self.cpu_only += guarded
            self.any_device += not guarded
        return func(*args, **(kwargs or {}))


def waits(update, n: int) -> float:
    "How often CUDA reports that the host waits for it, in each of n updates."
    update()
    torch.cuda.set_sync_debug_mode('warn')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for _ in range(n):
            update()
    torch.cuda.set_sync_debug_mode('default')
    return sum('synchroniz' in str(w.message) for w in caught) / n


def our_update(device: str):
    "An update as the command line makes it, with the switches that a GPU has."
    from diffbook.data import Dataset
    from diffbook.recipes import plain
    from diffbook.training import SWITCHES, Trainer

    images = torch.randint(0, 256, (32, 1, 28, 28), dtype=torch.uint8, device=device)
    switches = {**SWITCHES['cuda'], 'bf16': device == 'cuda'}
    made = plain(16)
    trainer = Trainer(made.model(Dataset(images.cpu())), made.loss, device=device, **switches)
    return lambda: trainer.update((images,))


def lucidrains_update(device: str):
    "What the training loop of denoising-diffusion-pytorch does in one step, line by line: loss.item(), clipping, EMA."
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    model = GaussianDiffusion(Unet(dim=16, dim_mults=(1, 2), channels=1), image_size=28).to(device)
    optim, images = torch.optim.Adam(model.parameters(), lr=8e-5, betas=(0.9, 0.99)), torch.rand(32, 1, 28, 28, device=device)
    ema = EMA(model, beta=0.995, update_every=10)

    def update():
        loss = model(images)
        loss.item()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        optim.zero_grad()
        ema.update()

    return update


@row('E1', 'times that the host waits for the device in an update of training, between two looks for NaN')
def e1(args: argparse.Namespace) -> dict:
    n = 49  # updates between two looks
    if torch.cuda.is_available():
        detail = {'updates': n, 'diffbook': waits(our_update('cuda'), n)}
        try:
            detail[LUCIDRAINS] = waits(lucidrains_update('cuda'), n)
        except ImportError:
            detail[LUCIDRAINS] = 'not measured'
        return {'goals': [goal('none', detail['diffbook'], at_most=0.0)], 'detail': detail}
    update = our_update('cpu')
    update()
    with Reads() as reads:
        for _ in range(n):
            update()
    detail = {
        'updates': n,
        'reads of a number by the host, an update': reads.any_device / n,
        'and by checks of times that run on a CPU only': reads.cpu_only / n,
    }
    why = 'no CUDA device; counted instead: what the host reads in an update on a CPU with the switches of a GPU'
    return {'status': 'not measured', 'why': why, 'goals': [], 'detail': detail}


@row('E2', 'processor time of importing, by that of import torch')
def e2(args: argparse.Namespace) -> dict:
    measured = {name: [] for name in IMPORTS}
    for i in range(args.rounds):
        for name in list(IMPORTS)[:: -1 if i % 2 else 1]:
            measured[name].append(fresh(IMPORT, IMPORTS[name]))
    rows = {}
    for name, runs in measured.items():
        rows[name] = {
            'of import torch': summary([r['both'] / r['torch'] for r in runs]), 'torch, seconds': summary([r['torch'] for r in runs]),
            'more, seconds': summary([r['both'] - r['torch'] for r in runs]), 'brings along': runs[0]['brings along'], 'code': IMPORTS[name],
        }  # fmt: skip
    return {'goals': [goal('import torch', rows['import diffbook']['of import torch'], at_most=1.10)], 'detail': rows}


MEMORY = """
import json, re, sys, torch
torch.set_num_threads(1)
from benchmarks import host
def status(key): return int(re.search(key + r':\\s+(\\d+)', open('/proc/self/status').read()).group(1)) / 1024
work = getattr(host, sys.argv[1])(*map(int, sys.argv[2:]))
before, mapped = status('VmRSS'), status('RssFile')
open('/proc/self/clear_refs', 'w').write('5')
work()
whole = status('VmHWM') - before
print(json.dumps({'MB': whole - (status('RssFile') - mapped), 'whole': whole}))  # pages of the library's files, read at first use, are the library
"""


def theirs_whole():
    from denoising_diffusion_pytorch import GaussianDiffusion

    from benchmarks.peers import make

    return GaussianDiffusion(make(LUCIDRAINS).inner, image_size=28, beta_schedule='cosine')


def train_ours(batch: int, updates: int):
    from benchmarks.peers import OURS, make
    from benchmarks.speed import denoiser
    from diffbook.losses import training_loss
    from diffbook.training import Trainer

    images = torch.rand(batch, 1, 28, 28)
    trainer = Trainer(denoiser(make(OURS)), training_loss, device='cpu')
    return lambda: [trainer.update(images) for _ in range(updates)]


def train_theirs(batch: int, updates: int):
    from ema_pytorch import EMA

    model, images = theirs_whole(), torch.rand(batch, 1, 28, 28)
    optim, ema = torch.optim.Adam(model.parameters(), lr=8e-5), EMA(model, beta=0.995, update_every=10)

    def work():
        for _ in range(updates):
            model(images).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optim.step()
            optim.zero_grad()
            ema.update()

    return work


def draw_ours(n: int, steps: int):
    from benchmarks.peers import OURS, make
    from benchmarks.speed import denoiser
    from diffbook.samplers import ancestral
    from diffbook.stages import Stage

    model = denoiser(make(OURS)).eval()
    stage = Stage(model, model.schedule, (1, 28, 28), solver=ancestral)
    return lambda: stage.draw(n, steps=steps, batch=n)


def draw_theirs(n: int, steps: int):
    model = theirs_whole().eval()
    model.num_timesteps = steps
    return lambda: model.sample(n)


@row('E3', 'peak memory beyond the loaded library and its model, in fresh processes')
def e3(args: argparse.Namespace) -> dict:
    if not Path('/proc/self/clear_refs').exists():
        raise NotMeasured('this system does not tell the peak of a process')
    jobs = {'training': ('train', 64, 5), 'sampling': ('draw', 16, 1000)}
    detail = {'training': '5 updates of 64 images, optimizer and averaged weights included', 'sampling': '16 images in 1000 steps'}
    goals = []
    for (what, (verb, n, times)), wished in zip(jobs.items(), (0.5, 0.05)):
        try:
            pairs = [(fresh(MEMORY, f'{verb}_ours', n, times), fresh(MEMORY, f'{verb}_theirs', n, times)) for _ in range(args.processes)]
        except RuntimeError as why:
            raise NotMeasured(str(why)) from None
        for key, title in (('MB', f'{what}, MB'), ('whole', f'{what}, MB with the pages of the library that are read at first use')):
            own, theirs = ([side[key] for side in sides] for sides in zip(*pairs))
            detail[title] = {'diffbook': summary(own), LUCIDRAINS: summary(theirs), 'processes': args.processes}
        goals.append({**goal(f'{LUCIDRAINS}: {what}', statistics.median(a['MB'] / b['MB'] for a, b in pairs), at_most=wished), 'work': what})
    return {'goals': goals, 'detail': detail}


def code_lines(source: str) -> int:
    "Lines that hold code: no blank ones, comments or docstrings."
    tree = ast.parse(source)
    lines = {n for node in ast.walk(tree) if hasattr(node, 'lineno') and not isinstance(node, ast.Module) for n in (node.lineno, node.end_lineno)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr, ast.arg)):
            lines.update(range(node.lineno, node.end_lineno + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    text = source.splitlines()
    return sum(bool(text[n - 1].strip()) and not text[n - 1].strip().startswith('#') for n in lines)


def without(source: str, start: str | None, names: tuple[str, ...] = ()) -> str:
    "The source up to the definition of `start`, without the classes of these names and what is patched into them."
    drop, lines = set(), source.splitlines()
    for node in ast.parse(source).body:
        known = [getattr(node, 'name', ''), *(t.id for t in getattr(node, 'targets', [getattr(node, 'target', None)]) if isinstance(t, ast.Name))]
        first = min([node.lineno, *(d.lineno for d in getattr(node, 'decorator_list', []))])
        of = node.args.args[0].annotation if isinstance(node, ast.FunctionDef) and node.args.args else None
        if start in known:
            drop.update(range(first, len(lines) + 1))
        if set(known) & set(names) or getattr(of, 'id', None) in names:
            drop.update(range(first, node.end_lineno + 1))
    return '\n'.join(line for i, line in enumerate(lines, 1) if i not in drop)


BEYOND = {  # from where on, and which classes, a module does what their file does not
    'diffbook.nets.layers': (None, ('CrossAttention', 'TransformerBlock')),  # reading texts
    'diffbook.training': ('_state', ()),  # checkpoints that survive a kill
    'diffbook.samplers': ('expect', ()),  # tests of a reader's own solver
}


@row('LINES', 'lines of code of U-Net, trainer and samplers, by those of the file that holds all of denoising-diffusion-pytorch')
def lines(args: argparse.Namespace) -> dict:
    try:
        from denoising_diffusion_pytorch import denoising_diffusion_pytorch as theirs
    except ImportError:
        raise NotMeasured('denoising-diffusion-pytorch is not installed') from None
    from diffbook import samplers, training
    from diffbook.nets import layers, unet

    sources = {m.__name__: inspect.getsource(m) for m in (layers, unet, training, samplers)}
    whole = {name: code_lines(s) for name, s in sources.items()}
    core = {name: code_lines(without(s, *BEYOND.get(name, (None, ())))) for name, s in sources.items()}
    other = code_lines(inspect.getsource(theirs))
    detail = {
        LUCIDRAINS: other, 'the same tasks': {**core, 'together': sum(core.values())}, 'whole modules': {**whole, 'together': sum(whole.values())},
        'left out of the same tasks': {k: {'from': v[0], 'classes': v[1]} for k, v in BEYOND.items()},
    }  # fmt: skip
    return {'goals': [goal(f'{LUCIDRAINS}: the same tasks', sum(core.values()) / other, at_most=0.5)], 'detail': detail}
