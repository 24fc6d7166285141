"""What stands in the README.md beside a model: what it is, how it is used, and what is not known about it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffbook.conditioning import ClassConditioner, TextConditioner
from diffbook.flow_maps import FlowMap

__all__ = ['PIPELINE', 'card_of', 'loading']

PIPELINE = '''"""Draw with a U-Net that sees squares of pixels as channels, and that may be told a class. Written by diffbook."""

import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline, ImagePipelineOutput


class FoldedPipeline(DiffusionPipeline):
    def __init__(self, unet, scheduler, patch=1, classes=None):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(patch=patch, classes=classes)

    def labels(self, told, n):
        "The numbers of n classes, given as names or numbers, one for all or one each; all in turn if none is given."
        names = list(self.config.classes)
        told = [k % len(names) for k in range(n)] if told is None else told if isinstance(told, (list, tuple)) else [told] * n
        if len(told) != n:
            raise ValueError(f"class_labels has {len(told)} entries, expected one, or one for each of {n} pictures")
        return torch.tensor([names.index(v) if isinstance(v, str) else int(v) for v in told], device=self.device)

    @torch.no_grad()
    def __call__(self, batch_size=1, class_labels=None, guidance_scale=2.0, num_inference_steps=50, generator=None, latents=None, output_type="pil", return_dict=True):
        net, scheduler, patch = self.unet, self.scheduler, self.config.patch
        rows, columns = net.config.sample_size
        shape = (batch_size, net.config.in_channels // patch**2, rows * patch, columns * patch)
        x = torch.randn(shape, generator=generator, dtype=net.dtype).to(self.device) if latents is None else latents.to(self.device, net.dtype)
        told = None if self.config.classes is None else self.labels(class_labels, batch_size)
        none = None if told is None else torch.full_like(told, len(self.config.classes))

        def ask(x, t, told):
            return F.pixel_shuffle(net(F.pixel_unshuffle(x, patch), t, class_labels=told).sample, patch)

        scheduler.set_timesteps(num_inference_steps)
        x = x * getattr(scheduler, "init_noise_sigma", 1.0)
        for t in self.progress_bar(scheduler.timesteps):
            scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            y = ask(scaled, t, told)
            if told is not None and guidance_scale != 1:
                away = ask(scaled, t, none)
                y = away + guidance_scale * (y - away)
            x = scheduler.step(y, t, x).prev_sample
        images = (x / 2 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).float().numpy()
        images = self.numpy_to_pil(images) if output_type == "pil" else images
        return ImagePipelineOutput(images=images) if return_dict else (images,)
'''


def plain(value: Any) -> str:
    "A text that a stranger may have written, as one line of Markdown that does nothing."
    text = ' '.join(''.join(c if c.isprintable() else ' ' for c in str(value)).split())
    return ''.join(f'\\{c}' if c in '\\`*_{}[]<>()#!|~' else c for c in text)


def card_of(name: str, model: Any, about: Mapping[str, Any]) -> str:
    "The first half of a card: what the model is, from what it says about itself."
    denoiser, reader = getattr(model, 'denoiser', model), getattr(model, 'conditioner', None)
    shape, classes = about.get('shape'), about.get('classes')
    told = 'the name of a class' if isinstance(reader, ClassConditioner) else 'a text' if isinstance(reader, TextConditioner) else 'nothing'
    says = getattr(getattr(denoiser, 'prediction', None), '__name__', type(getattr(denoiser, 'prediction', None)).__name__)
    facts = {
        'Learned from': about.get('data', 'not said'),
        'Draws': f'pictures of {shape[1]} x {shape[2]}, {"grey" if shape[0] == 1 else "in colour" if shape[0] == 3 else f"{shape[0]} channels"}'
        if isinstance(shape, list) and len(shape) == 3
        else 'not said',
        'Is told': told,
        'Parameters': f'{sum(p.numel() for p in model.parameters()):,}',
        'Method': 'a flow map' if isinstance(model, FlowMap) else f'{says} on a {type(model.schedule).__name__}',
        'Trained for': f'{about["steps"]:,} updates of {about.get("batch_size", about.get("batch", "?"))} pictures, seed {about.get("seed", "?")}'
        if about.get('steps')
        else 'not said',
    }
    front = '---\nlibrary_name: diffbook\npipeline_tag: unconditional-image-generation\ntags:\n- diffbook\n- diffusion\n---\n\n'
    lines = [f'- **{key}:** {plain(value)}' for key, value in facts.items()]
    if isinstance(reader, ClassConditioner) and classes:
        lines.append(f'- **Classes:** {", ".join(map(plain, classes[:200]))}{", ..." if len(classes) > 200 else ""}')
    return front + f'# {plain(name)}\n\nA diffusion model, trained with diffbook.\n\n' + '\n'.join(lines) + (
        '\n\nNobody has said under which licence the pictures are that it learned from, nor whether it may be used for anything. '
        'A model of few pictures that each was seen often may draw copies of them.\n\n'
    )  # fmt: skip


def loading(kind: str, model: Any, about: Mapping[str, Any], folder: Path) -> str:
    "The second half: how it is used, by `kind`: `diffbook`, or one of `export.KINDS`."
    reader = getattr(model, 'conditioner', None)
    if kind == 'diffbook':
        first = json.dumps(str(about['classes'][0]), ensure_ascii=False) if isinstance(reader, ClassConditioner) and about.get('classes') else None
        asked = f' --class {first}' if first else ' --prompt "..."' if isinstance(reader, TextConditioner) else ''
        return f'## How it is used\n\n```sh\npip install "diffbook[hub]"\ndiffbook sample USER/NAME{asked.replace("`", "")} --n 16 --out out.png\n```\n\nIn Python: `diffbook.load("USER/NAME")`. The weights are safetensors, and opening them runs no code.\n'
    if kind == 'diffusers' and (folder / 'pipeline.py').exists():
        asked = ', class_labels="NAME", guidance_scale=2.0' if isinstance(reader, ClassConditioner) else ''
        side = getattr(model, 'denoiser', model).net.patch
        folds = f' It folds squares of {side} x {side} pixels into channels, as the network sees them.' if side > 1 else ''
        return (
            '## How it is used\n\n```python\nfrom diffusers import DiffusionPipeline\n\npipe = DiffusionPipeline.from_pretrained("FOLDER", custom_pipeline="FOLDER", trust_remote_code=True)\n'
            f'pipe(batch_size=4{asked}).images[0].save("out.png")\n```\n\n`pipeline.py` is short: read it before you let it run.{folds} The network alone is `UNet2DModel.from_pretrained("FOLDER/unet")`.\n'
        )
    if kind == 'diffusers':
        return '## How it is used\n\n```python\nfrom diffusers import DDIMPipeline\n\npipe = DDIMPipeline.from_pretrained("FOLDER")\npipe(batch_size=4, num_inference_steps=50).images[0].save("out.png")\n```\n'
    return _programs(kind, model, reader, folder)


def _programs(kind: str, model: Any, reader: Any, folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in ('.pt2', '.onnx'))
    given = {'x': 'float32 (batch, channels, height, width), the noisy pictures', 't': 'float64, the time now', 's': 'float64, the time after the step'}
    if isinstance(reader, ClassConditioner):
        given |= {'told': f'int64 (batch,), the number of a class, 0 to {reader.classes - 1}', 'guidance': 'float32 (), 1 is off'}
    elif isinstance(reader, TextConditioner):
        given |= {'told': 'int64 (batch, length), the tokens of a text: `diffbook.load(...).conditioner.tokenizer([text])`', 'guidance': 'float32 (), 1 is off'}
    low, high = model.schedule.t_min, model.schedule.t_max
    more = ', told=told, guidance=torch.tensor(2.0)' if 'told' in given else ''
    told = '    told = torch.zeros(4, dtype=torch.int64)\n' if isinstance(reader, ClassConditioner) else ''
    shape = (getattr(model, 'about', None) or {}).get('shape')
    if kind == 'torch-export':
        code = ('import torch\n\nstep = torch.export.load("step.pt2").module()\n' + told.strip(' ') + f'x = {_noise(model)} * torch.randn(4, *{shape})\ntimes = torch.linspace({high:g}, {low:g}, 21, dtype=torch.float64)\n'
                f'for t, s in zip(times, times[1:]):\n    x = step(x=x, t=t, s=s{more})\n')  # fmt: skip
    else:
        more = ', "told": told, "guidance": np.array(2, dtype=np.float32)' if 'told' in given else ''
        told = 'told = np.zeros(4, dtype=np.int64)\n' if isinstance(reader, ClassConditioner) else ''
        code = ('import numpy as np\nimport onnxruntime\n\nstep = onnxruntime.InferenceSession("step.onnx")\n' + told + f'x = {_noise(model)} * np.random.randn(4, *{shape}).astype(np.float32)\ntimes = np.linspace({high:g}, {low:g}, 21)\n'
                f'for t, s in zip(times, times[1:]):\n    (x,) = step.run(None, {{"x": x, "t": np.array(t), "s": np.array(s){more}}})\n')  # fmt: skip
    table = '\n'.join(f'- `{key}`: {value}' for key, value in given.items())
    which = f'{", ".join(names)}. `denoiser` takes x, t (batch,){" and told" if "told" in given else ""} and gives the clean picture that it expects; `step` goes from time t to s.'
    return f'## How it is used\n\n{which if len(names) > 1 else names[0] + " goes from time t to s."}\n\n```python\n{code}```\n\n{table}\n\nPictures are from -1 to 1. Times run from {high:g}, where all is noise, to {low:g}.\n'


def _noise(model: Any) -> str:
    return f'{float(model.schedule.sigma(model.schedule.t_max)):.6g}'
