"""Teach the zoo's shapes to obey an outline, as the chapter on control shows it.

    python tools/train_control.py copy --out runs/control-copy       # a ControlNet: a copy of the way down, and zero convolutions
    python tools/train_control.py fresh --out runs/control-fresh     # the same, but what learns begins with random weights
    python tools/train_control.py light --out runs/control-light     # a few convolutions on the hint alone

The network that draws stays as it is; of the copy the way down learns, and the middle and what is told the blocks stay as
copied, so that a file need not hold them. Data, order, times and noise are functions of the seed and the step, the same for all.
Half of the captions are dropped, as Zhang et al. did, so that the outline has to be read. Writes OUT/log.csv, a line every
EVERY updates: the mean loss since the line before, and which share of 64 new scenes has the outline's layout (shapes, sizes
and cells of all objects) and the colours of a caption that leaves out sizes and places, drawn in eight steps without guidance. At the end the averaged weights,
of what learned, half precision: OUT/control.safetensors, and OUT/about.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from diffbook.conditioning import Conditional, drop
from diffbook.control import ControlNet, HintNet, edges, with_control
from diffbook.core import Cond, noise
from diffbook.data import batches, from_model, to_model
from diffbook.losses import training_loss
from diffbook.nets.layers import Downsample, zero
from diffbook.nets.unet import UNet
from diffbook.recipes import recipe
from diffbook.recognise import caption_agrees, read_shapes
from diffbook.samplers import ddim, sample, uniform_times
from diffbook.shapes import caption, draw_split
from diffbook.training import Trainer, load

WIDTHS = (16, 32)  # of the layers that shrink the outline by two


class HintAdapter(nn.Module):
    "Say what to add from the hint alone, by a few convolutions: no copy, and one call serves all steps. After Mou et al. 2024 (T2I-Adapter)."

    def __init__(self, widths: tuple[int, ...], halves: tuple[bool, ...], hint_channels: int = 3, hint_widths: tuple[int, ...] = (16, 32)):
        super().__init__()  # widths of what the network sees on its way down and in the middle; which steps halve the picture
        self.hint = HintNet(hint_channels, tuple(hint_widths), widths[0])
        steps = zip(widths[:-1], widths[1:], (*halves, False))
        self.steps = nn.ModuleList(nn.Conv2d(a, b, 3, stride=1 + half, padding=1) for a, b, half in steps)
        self.zeros = nn.ModuleList(zero(nn.Conv2d(c, c, 1)) for c in widths)

    def forward(self, x: Tensor, noise_level: Tensor, cond: Cond | None, hint: Tensor) -> list[Tensor]:
        seen = [self.hint(hint)]
        for step in self.steps:
            h = step(F.silu(seen[-1]))
            seen.append(seen[-1] + h if h.shape == seen[-1].shape else h)
        return [layer(F.silu(v)) for layer, v in zip(self.zeros, seen)]

    @classmethod
    def of(cls, net: UNet, hint_channels: int = 3, hint_widths: tuple[int, ...] = (16, 32)) -> 'HintAdapter':
        "Make the adapter of a network."
        widths = [net.stem.out_channels]
        for step in net.down:
            widths.append(step.conv.out_channels if isinstance(step, Downsample) else step.res.conv2.out_channels)
        return cls((*widths, widths[-1]), tuple(isinstance(step, Downsample) for step in net.down), hint_channels, hint_widths)


def copied(net: UNet, fresh: bool = False) -> ControlNet:
    "A ControlNet of which the way down learns, and the middle and what is told the blocks stay as copied."
    control = ControlNet.of(net, 1, WIDTHS)
    if fresh:
        other = ControlNet(1, WIDTHS, **net.arguments).encoder
        control.encoder.stem, control.encoder.down = other.stem, other.down
    control.requires_grad_(False)
    for part in (control.encoder.stem, control.encoder.down, control.hint, control.zeros):
        part.requires_grad_(True)
    return control


MAKE: dict[str, Callable[[UNet], nn.Module]] = {
    'copy': copied,
    'fresh': partial(copied, fresh=True),
    'light': lambda net: HintAdapter.of(net, 1, WIDTHS),
}


def trained(net: UNet, name: str, folder: Path) -> nn.Module:
    "What a run has trained; what did not learn is the network's own."
    control = MAKE[name](net)
    control.load_state_dict(load_file(folder / 'control.safetensors'), strict=False)
    return control.eval()


def same_layout(labels: torch.Tensor, read: torch.Tensor) -> torch.Tensor:  # (n, 13) of the scenes outlined, and as drawn -> (n,) bool
    "Whether a drawing has the shapes, sizes and cells of its outline, no more and no fewer; colours are not the outline's."
    columns = [k for k in range(1, 13) if k % 4 != 2]
    return (labels[:, columns] == read[:, columns]).all(1)


@torch.inference_mode()
def watch(model: Conditional, control: torch.nn.Module, n: int = 64, steps: int = 8) -> tuple[float, float]:
    "Which share of new scenes has the layout of its outline, and which the colours of its caption."
    scenes = draw_split(n, 32, 'new scenes', 7, objects=(1, 2, 2, 3))
    captions = [caption(scene, i, omit=('size', 'place')) for i, scene in enumerate(scenes.labels)]
    cond = replace(model.condition(captions), img=edges(scenes.images))
    start = noise(0, 'watch', 0, range(n), (3, 32, 32)).float()
    *_, x = sample(with_control(model, control), model.schedule, start, uniform_times(model.schedule, steps), ddim, cond)
    read = read_shapes(from_model(x))
    return same_layout(scenes.labels, read).float().mean().item(), caption_agrees(captions, read)['colour'].float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=MAKE)
    parser.add_argument('--out', type=Path)
    parser.add_argument('--steps', type=int, default=600)
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--lr', type=float, default=1e-3)
    parser.add_argument('--minutes', type=float, default=9.0, help='of the clock, after which a run stops; the same command goes on')
    parser.add_argument('--every', type=int, default=50, help='updates between two lines of the log')
    parser.add_argument('--images', type=int, default=30_000)
    parser.add_argument('--seed', type=int, default=0)
    a = parser.parse_args()
    out = a.out or Path('runs') / f'control-{a.name}'
    out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    model, made = load('shapes'), recipe('shapes')
    model.requires_grad_(False)
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(a.seed)
        control = MAKE[a.name](model.denoiser.net)
    scenes = draw_split(a.images, 32, 'train', a.seed, objects=(1, 2, 2, 3), brief=0.6)
    tokens = model.conditioner.tokenizer(scenes.captions)

    def loss(control: torch.nn.Module, batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> torch.Tensor:
        images, words = batch
        cond = drop(model.condition(words), model.null(len(words)), 0.5, generator)
        cond = replace(cond, img=edges(images))
        return training_loss(with_control(model, control).denoiser, to_model(images), generator, cond, draw=made.draw, weight=made.weight)

    trainer = Trainer(control, loss, lr=a.lr, warmup=50, weight_decay=0.01, ema=0.98, seed=a.seed)
    trainer.resume(out / 'checkpoints')
    path, begun, losses = out / 'log.csv', time.time(), []
    rows = path.read_text().splitlines() if trainer.step else ['step,images,processor_seconds,loss,layout,colour']
    spent, clock = (float(rows[-1].split(',')[2]) if trainer.step else 0.0), time.process_time()
    stream = batches((scenes.images, tokens), a.batch, a.seed, trainer.step)
    with tqdm(total=a.steps, initial=trainer.step, unit='step') as bar:
        for step in trainer.fit(islice(stream, max(0, a.steps - trainer.step))):
            losses.append(float(step.loss))
            bar.update()
            if step.step % a.every == 0 or step.step == 1 or step.step == a.steps:
                spent += time.process_time() - clock
                layout, colour = watch(model, trainer.ema.model)
                rows.append(f'{step.step},{step.step * a.batch},{spent:.0f},{sum(losses) / len(losses):.5f},{layout:.3f},{colour:.3f}')
                path.write_text('\n'.join(rows) + '\n')
                losses, clock = [], time.process_time()
            if time.time() - begun > 60 * a.minutes:
                break
    (out / 'checkpoints').mkdir(exist_ok=True)
    trainer.save(out / 'checkpoints')
    about = {
        'base': 'shapes',
        'hint': 'edges',
        'steps': trainer.step,
        'batch': a.batch,
        'seed': a.seed,
        'rate': a.lr,
        'processor_seconds': round(spent),
        'data': 'shapes',
    }
    about |= {'parameters': sum(p.numel() for p in control.parameters() if p.requires_grad), 'torch': torch.__version__.split('+')[0]}
    learned = {name for name, p in control.named_parameters() if p.requires_grad}
    tensors = {k: v.half().contiguous() for k, v in trainer.ema.model.state_dict().items() if k in learned}
    save_file(tensors, out / 'control.safetensors')
    (out / 'about.json').write_text(json.dumps(about, indent=1) + '\n')


if __name__ == '__main__':
    main()
