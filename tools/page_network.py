"""Write a denoiser of the zoo as text that a page can load: nbs/live/data/denoiser.js.

    python -m tools.page_network                                 # of fashion-mnist-small
    python -m tools.page_network --model runs/mine --out mine.js
    python -m tools.page_network --rounded runs/fashion-mnist-rounded  # also a model with the rounded weights, for tools/measure_zoo.py

Matrices and kernels become whole numbers of a byte, with a scale for each row (what makes one number of the answer); norms and
biases stay in single precision. `rounded(model)` is the model with the weights that the page computes with. Takes U-Nets of one channel
that predict v and read no condition.
"""

import argparse
import base64
import json
from pathlib import Path

import torch
from torch import Tensor

from diffbook.losses import Denoiser, scaled_time
from diffbook.nets.layers import Downsample, Upsample
from diffbook.nets.unet import UNet, UNetStep
from diffbook.predictions import predict_v
from diffbook.schedules import CosineSchedule
from diffbook.store.files import write_whole
from diffbook.training import load, read_model, save

OUT = Path(__file__).resolve().parents[1] / 'nbs' / 'live' / 'data' / 'denoiser.js'
MODEL = 'fashion-mnist-small'


def to_bytes(w: Tensor) -> tuple[Tensor, Tensor]:  # (rows, ...) -> whole numbers from -127 to 127 of that shape, scales (rows,)
    "Round each row to 255 even steps."
    w = w.float()
    scale = w.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
    by_row = scale.view(-1, *[1] * (w.ndim - 1))
    return (w / by_row).round().to(torch.int8), scale


@torch.no_grad()
def rounded(model: Denoiser) -> Denoiser:
    "Give the weights of the model the values that they have in the page."
    for p in model.parameters():
        if p.ndim > 1:
            whole, scale = to_bytes(p)
            p.copy_(whole * scale.view(-1, *[1] * (p.ndim - 1)))
    return model


def stages(parts: torch.nn.ModuleList, name: str) -> list[dict[str, object]]:
    "Say how a walk is wired: blocks with their share of what they are told, halvings and doublings."
    found: list[dict[str, object]] = []
    for i, part in enumerate(parts):
        if isinstance(part, UNetStep):
            heads = 0 if part.attn is None else part.attn.heads
            found.append({'name': f'{name}.{i}', 'from': part.columns.start, 'to': part.columns.stop, 'heads': heads})
        else:
            found.append({'name': f'{name}.{i}', 'half' if isinstance(part, Downsample) else 'twice': True})
            assert isinstance(part, Downsample | Upsample)
    return found


def packed(model: Denoiser) -> dict[str, object]:
    "Everything that the page needs to know of the model."
    net = model.net
    plain = isinstance(net, UNet) and net.in_channels == 1 and net.cond is None and not net.img_channels and not any(s.reads for s in net.mid)
    ours = type(model.schedule) is CosineSchedule and model.prediction is predict_v and model.noise_input is scaled_time and model.input_scale is None
    if not (plain and ours):
        raise ValueError('the page draws with U-Nets of one channel without a condition that predict v on the cosine schedule, and this is another')
    layout = {'patch': net.patch, 'groups': net.norm.num_groups, 'eps': net.norm.eps, 'shift': net.waves['shift'], 'channels': [net.waves['dim']]}
    layout |= {name: stages(getattr(net, name), name) for name in ('down', 'mid', 'up')}
    tensors, whole, floats = [], [], []
    for name, p in net.named_parameters():
        p = p.detach()
        tensors.append([name, len(p), p[0].numel() if p.ndim > 1 else 0])
        if p.ndim > 1:
            rows, scale = to_bytes(p)
            whole.append(rows.flatten())
            floats.append(scale)
        else:
            floats.append(p.float())
    text = [base64.b64encode(torch.cat(v).numpy().tobytes()).decode() for v in (whole, floats)]
    return {'layout': layout, 'tensors': tensors, 'bytes': text[0], 'floats': text[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default=MODEL, help='a name in the zoo, or a folder')
    parser.add_argument('--out', type=Path, default=OUT)
    parser.add_argument('--rounded', type=Path, help='a folder for the model with the weights of the page')
    a = parser.parse_args()
    say = f'// The weights of the model {Path(a.model).name}, a byte each; written by tools/page_network.py.'
    text = f"{say}\n'use strict';\n((globalThis.live ??= {{}}).data ??= {{}}).denoiser = {json.dumps(packed(load(a.model)), separators=(',', ':'))};\n"
    a.out.parent.mkdir(exist_ok=True)
    write_whole(a.out, text.encode())
    print(f'{a.out.name}: {len(text):,} bytes')
    if a.rounded:
        save(a.rounded, rounded(load(a.model)), read_model(a.model)[0]['about'], torch.float32)


if __name__ == '__main__':
    main()
