"""Models for other programs: what a trained model is in the words of diffusers, of torch.export and of ONNX.

    export(model, 'runs/own-diffusers', 'diffusers')     a folder that `DiffusionPipeline.from_pretrained` opens
    export(model, 'runs/own-program', 'torch-export')    denoiser.pt2 and step.pt2, for torch.export.load
    export(model, 'runs/own-onnx', 'onnx')               denoiser.onnx and step.onnx

What has no counterpart is refused, with the way that is open. Each folder has a README.md that says how it is used. A folder
is made beside the place that is asked for and put there whole.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffbook.cards import PIPELINE, card_of, loading
from diffbook.conditioning import ClassConditioner, Conditional, TextConditioner
from diffbook.core import as_time
from diffbook.flow_maps import FlowMap
from diffbook.guidance import extrapolate
from diffbook.losses import Denoiser, quarter_log_noise, scaled_time, unit_input
from diffbook.nets.unet import UNet, UNetStep
from diffbook.predictions import predict_edm, predict_eps, predict_v, predict_velocity, predict_x0
from diffbook.pretrained import NoisePlan, save_published
from diffbook.samplers import ddim
from diffbook.schedules import DiscreteSchedule, KarrasSchedule, RectifiedFlowSchedule, Schedule
from diffbook.store.files import make_folder, write_whole

__all__ = ['KINDS', 'Program', 'Step', 'discrete', 'export', 'folded']

Model = Denoiser | Conditional | FlowMap
ROWS = 1000  # times of a table of betas
FIRST = 1e-9  # variance of its first row, where the model says there is no noise at all, and a table must have some


# diffusers


def folded(net: UNet, table: Tensor | None = None) -> UNet:  # table: a vector for each class
    """Write a U-Net as diffusers' UNet2DModel has it: squares of pixels are channels beforehand, each level has as many blocks,
    and what is told is the number of a class. Blocks that are added say nothing, so the function is the same."""
    a, most = net.arguments, max(net.arguments['blocks'])
    if a['seq_dim'] or a['img_channels'] or (a['cond_dim'] > 0) != (table is not None) or a['cond_layers'] != 1:
        raise ValueError('this U-Net reads a text, a picture or a vector; the class of diffusers reads the number of a class, or nothing')
    sizes = {'in_channels': a['in_channels'] * net.patch**2, 'out_channels': (a['out_channels'] or a['in_channels']) * net.patch**2}
    made = UNet(**a | sizes | {'patch': 1, 'blocks': (most,) * len(a['blocks']), 'cond_dim': 0 if table is None else len(table)}).to(net.stem.weight.dtype)
    for name in ('stem', 'norm', 'head', 'time'):
        getattr(made, name).load_state_dict(getattr(net, name).state_dict())
    with torch.no_grad():
        for value in made.tell.parameters():
            value.zero_()
        if table is not None:
            made.cond.weight.copy_((net.cond(table.to(net.cond.weight))).T)
            made.cond.bias.zero_()
        for k, own in enumerate(net.mid):
            _take(made.mid[k], own, made, net)
        extra = [most - count for count in a['blocks']]
        _walk(made.down, net.down, made, net, [[True] * n + [False] * more for n, more in zip(a['blocks'], extra)])
        _walk(made.up, net.up, made, net, [[True] + [False] * more + [True] * n for n, more in zip(a['blocks'], extra)][::-1])
    return made.eval().requires_grad_(False)


def _walk(made: nn.ModuleList, net: nn.ModuleList, whole: UNet, own: UNet, levels: list[list[bool]]) -> None:
    "Fill a way down or up: which blocks of each level are those of the net; the others pass on what comes from below."
    theirs, real = iter(net), iter([here for level in levels for here in level])
    for step in made:
        if not isinstance(step, UNetStep):
            step.load_state_dict(next(theirs).state_dict())
        elif next(real):
            _take(step, next(theirs), whole, own)
        elif isinstance(step.res.skip, nn.Conv2d):  # on the way up: the first half of the channels
            step.res.skip.bias.zero_()
            step.res.skip.weight.copy_(torch.eye(*step.res.skip.weight.shape[:2])[..., None, None])


def _take(step: UNetStep, own: UNetStep, whole: UNet, net: UNet) -> None:
    step.load_state_dict(own.state_dict())
    for name in ('weight', 'bias'):
        getattr(whole.tell, name)[step.columns] = getattr(net.tell, name)[own.columns]


def discrete(schedule: Schedule) -> DiscreteSchedule:
    "The table of betas whose row i, counted from 0, is the noise at i thousandths of the way."
    t = schedule.t_min + torch.arange(ROWS, dtype=torch.float64) / ROWS * (schedule.t_max - schedule.t_min)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    if not torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), rtol=0, atol=1e-9):
        raise ValueError(f'a {type(schedule).__name__} does not keep the variance, as tables of betas do')
    kept = alpha**2
    kept[0] = kept[0].clamp(max=1 - FIRST)
    return DiscreteSchedule(torch.cat([1 - kept[:1], 1 - kept[1:] / kept[:-1]]))


def _scheduler(denoiser: Denoiser) -> tuple[dict[str, Any] | NoisePlan, float]:
    "The scheduler of diffusers by which a denoiser is asked as it was trained."
    schedule, says, told = denoiser.schedule, denoiser.prediction, denoiser.noise_input
    if denoiser.variance is not None:
        raise ValueError('the model says a variance too')
    if isinstance(schedule, RectifiedFlowSchedule) and says is predict_velocity and told is scaled_time and denoiser.input_scale is None:
        return {'_class_name': 'FlowMatchEulerDiscreteScheduler', 'num_train_timesteps': ROWS, 'shift': 1.0}
    if (
        isinstance(schedule, KarrasSchedule)
        and isinstance(says, predict_edm)
        and told is quarter_log_noise
        and denoiser.input_scale == unit_input(says.sigma_data)
    ):
        low, high = max(schedule.t_min, 0.002), schedule.t_max
        return {'_class_name': 'EDMEulerScheduler', 'sigma_min': low, 'sigma_max': high, 'sigma_data': says.sigma_data, 'prediction_type': 'epsilon'}
    if says not in (predict_eps, predict_x0, predict_v) or told is not scaled_time or denoiser.input_scale is not None:
        raise ValueError(f'{getattr(says, "__name__", type(says).__name__)} on a {type(schedule).__name__} is no pair of a scheduler there')
    return NoisePlan(discrete(schedule), says, spacing='trailing')


def to_diffusers(model: Model, folder: Path, about: Mapping[str, Any]) -> None:
    "Write a U-Net, its scheduler and, where diffusers has no pipeline that draws so, a pipeline of thirty lines beside them."
    denoiser, reader = getattr(model, 'denoiser', model), getattr(model, 'conditioner', None)
    if isinstance(model, FlowMap) or not isinstance(denoiser.net, UNet) or not isinstance(reader, (ClassConditioner, type(None))) or about.get('codec'):
        what = 'a flow map' if isinstance(model, FlowMap) else 'a model of latents' if about.get('codec') else f'a {type(denoiser.net).__name__}' + (
            ' that reads text' if isinstance(reader, TextConditioner) else '' if reader is None else f' with a {type(reader).__name__}')  # fmt: skip
        raise ValueError(
            f'{what} has no counterpart in diffusers; expected a U-Net of pixels that is told classes, or nothing. Any model goes --to torch-export'
        )
    try:
        plan, net = _scheduler(denoiser), folded(denoiser.net, None if reader is None else reader.table.weight)
    except ValueError as error:
        raise ValueError(f'{error}, so the model has no counterpart in diffusers; it goes --to torch-export') from error
    patch, shape = denoiser.net.patch, about.get('shape')
    named = {'patch': patch, 'classes': None if reader is None else [str(n) for n in about.get('classes', range(reader.classes))]}
    size = {'sample_size': [side // patch for side in shape[1:]]} if shape else {}
    save_published(folder / 'unet', net, config=size)
    if isinstance(plan, NoisePlan):
        save_published(folder / 'scheduler', plan)
        kind = json.loads((folder / 'scheduler' / 'scheduler_config.json').read_text())['_class_name']
    else:
        write_whole(make_folder(folder / 'scheduler') / 'scheduler_config.json', (json.dumps(plan, indent=2) + '\n').encode())
        kind = plan['_class_name']
    own = patch > 1 or reader is not None or kind != 'DDIMScheduler'
    index = {
        '_class_name': ['pipeline', 'FoldedPipeline'] if own else 'DDIMPipeline',
        '_diffusers_version': '0.36.0',
        'unet': ['diffusers', 'UNet2DModel'],
        'scheduler': ['diffusers', kind],
    }
    write_whole(folder / 'model_index.json', (json.dumps(index | (named if own else {}), indent=2) + '\n').encode())
    if own:
        write_whole(folder / 'pipeline.py', PIPELINE.encode())


# Programs


class Program(nn.Module):
    "A model as a function of tensors alone: (x, t, told) -> x0, with `told` the number of a class (b,), the tokens of a text (b, length), or nothing."

    def __init__(self, model: Denoiser | Conditional):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        return self.model(x, t, None if told is None else self.model.condition(told))


class Step(Program):
    "A step of DDIM from t to s, guided if there is something to be told: (x, t, s, told, guidance) -> x_s. Of a flow map its own step."

    def forward(self, x: Tensor, t: Tensor, s: Tensor, told: Tensor | None = None, guidance: Tensor | None = None) -> Tensor:
        if isinstance(self.model, FlowMap):
            return self.model(x, t, s)
        if told is None:
            return ddim(self.model.schedule, self.model, x, t, s)
        cond, null = self.model.condition(told), self.model.null(x.shape[0])
        guided = lambda x, t, c: extrapolate(self.model(x, t, c), self.model(x, t, null), guidance)  # noqa: E731
        return ddim(self.model.schedule, guided, x, t, s, cond)


def programs(model: Model, shape: tuple[int, ...]) -> dict[str, tuple[nn.Module, dict[str, Tensor]]]:
    "What is written of a model: by name a function, and inputs for it."
    reader = getattr(model, 'conditioner', None)
    if reader is not None and not isinstance(reader, (ClassConditioner, TextConditioner)):
        raise ValueError(f'a model with a {type(reader).__name__} takes no class and no text; expected one that does, or that takes nothing')
    middle = (model.schedule.t_min + model.schedule.t_max) / 2
    x, t = torch.zeros(2, *shape), as_time(middle)
    told = {} if reader is None else {'told': torch.zeros(2, dtype=torch.int64) if isinstance(reader, ClassConditioner) else reader.tokenizer([''] * 2)}
    step = Step(model), {'x': x, 't': t, 's': t * 0.9 + 0.1 * model.schedule.t_min, **told, **({'guidance': torch.tensor(2.0)} if told else {})}
    return {'step': step} if isinstance(model, FlowMap) else {'denoiser': (Program(model), {'x': x, 't': t.expand(2).clone(), **told}), 'step': step}


def captured(program: nn.Module, given: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    "Take a function down for batches of any size."
    batch = torch.export.Dim('batch', min=1, max=1 << 16)
    shapes = {name: {0: batch} if value.ndim else None for name, value in given.items()}
    return torch.export.export(program.eval(), (), dict(given), dynamic_shapes=shapes)


def to_torch(model: Model, folder: Path, about: Mapping[str, Any]) -> None:
    "Write each program in the archive of torch.export."
    for name, (program, given) in programs(model, _shape(about)).items():
        torch.export.save(captured(program, given), folder / f'{name}.pt2')


def to_onnx(model: Model, folder: Path, about: Mapping[str, Any]) -> None:
    "Write each program as a graph of ONNX."
    for package in ('onnx', 'onnxscript'):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f'--to onnx needs the package {package}, which is not here: pip install onnx onnxscript')
    for name, (program, given) in programs(model, _shape(about)).items():
        made = torch.onnx.export(
            captured(program, given),
            (),
            kwargs=dict(given),
            input_names=list(given),
            output_names=['x0' if name == 'denoiser' else 'x_s'],
            dynamo=True,
            verbose=False,
        )
        made.save(folder / f'{name}.onnx')


def _shape(about: Mapping[str, Any]) -> tuple[int, ...]:
    if not isinstance(about.get('shape'), list):
        raise ValueError("the model does not say how large its pictures are; save it with save(..., about={'shape': [channels, height, width]})")
    return tuple(about['shape'])


KINDS: dict[str, Callable[[Model, Path, Mapping[str, Any]], None]] = {'diffusers': to_diffusers, 'onnx': to_onnx, 'torch-export': to_torch}


def export(
    model: Model,
    out: str | Path,  # a folder that is not there yet, or empty
    kind: str,  # one of KINDS
    name: str = 'a model',  # what it is called in its README.md
) -> Path:
    "Write a model for other programs; what fails leaves nothing behind."
    out = Path(out)
    if kind not in KINDS:
        raise ValueError(f'--to is {kind}, expected {", ".join(KINDS)}')
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f'--out is {out}, which is there already; expected a new or an empty folder')
    if not isinstance(model, (Denoiser, Conditional, FlowMap)):
        raise ValueError(f'{name} is a {type(model).__name__}, expected a model that draws')
    about = getattr(model, 'about', None) or {}
    make_folder(out.absolute().parent)
    beside = out.absolute().with_name(f'.{out.name}.{os.getpid()}.tmp')
    beside.mkdir()
    try:
        KINDS[kind](model.cpu().eval(), beside, about)
        write_whole(beside / 'README.md', (card_of(name, model, about) + loading(kind, model, about, beside)).encode())
        if out.exists():
            out.rmdir()
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out
