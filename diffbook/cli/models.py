"""What draws, by the name of a folder or of a model in the zoo."""

import importlib
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diffbook.cli.app import at_least, at_most

if TYPE_CHECKING:
    import torch

    from diffbook.conditioning import Conditional
    from diffbook.losses import Denoiser
    from diffbook.nets.vae import Codec
    from diffbook.samplers import Solver
    from diffbook.schedules import Schedule
    from diffbook.stages import Stage

    Grid = Callable[[Schedule, int], 'torch.Tensor']

SOLVERS: dict[str, tuple[str, str, tuple[int, ...]]] = {  # name of a step rule -> its module, its function, and the order that the function makes it from
    **{name: ('samplers', name, ()) for name in ('ddim', 'ancestral', 'euler', 'heun')}, 'dpmpp_2m': ('multistep', 'dpmpp_2m', ()),
    'dpmpp_3m': ('multistep', 'dpmpp_3m', ()), 'dpmpp_sde': ('multistep', 'dpmpp_sde', ()), **{name: ('sde', name, ()) for name in ('euler_maruyama', 'midpoint_sde')}, **{f'{name}_{order}': ('multistep', function, (order,)) for name, function in (
        ('unipc', 'unipc'), ('dpm_solver', 'dpm_solver'), ('deis', 'deis'), ('ab', 'adams_bashforth'), ('ipndm', 'ipndm')) for order in (2, 3)},
}  # fmt: skip
FEW = {'renoise': ('consistency', 'renoise', ()), 'jump': ('flow_maps', 'jump', ())}  # those of models that answer with the end of a path, or with any point of it
PICTURES = {'least': 0.02, 'most': 80.0}  # levels of noise to signal beyond which a picture in [-1, 1] hardly changes: a step leads there, and one on from there
GRIDS: dict[str, tuple[str, str, dict[str, float]]] = {  # name of a grid -> its module, its function, what it is told
    'uniform': ('samplers', 'uniform_times', {}), 'snr': ('samplers', 'snr_times', PICTURES), 'karras': ('samplers', 'karras_times', PICTURES),
    'angle': ('grids', 'angle_times', {'spread': 3.0}), 'beta': ('grids', 'beta_times', {}), 'shifted': ('grids', 'shifted_times', {}),
}  # fmt: skip
SOLVER_HELP = f'Step rule, one of {", ".join(SOLVERS)}; renoise for a consistency model, jump for a flow map'
GRID_HELP = f'Where the steps are, one of {", ".join(GRIDS)}; the own grid of the model if not said.'
CHURN_HELP = 'By what share the noise is raised again before each step: 0 is not at all, 0.1 to 0.4 are usual.'


class Opened(NamedTuple):
    "A model that draws, as it was found."

    name: str  # the folder, or the name in the zoo
    model: 'Denoiser | Conditional'
    about: dict[str, Any]  # what its configuration says of it
    stage: 'Stage'
    pictures: tuple[int, ...]  # their shape, which is that of the stage but for latents
    device: 'torch.device'


def check_walk(solver: str | None, grid: str | None, churn: float) -> None:
    "Refuse what is no name of a step rule or grid, and an amount of fresh noise that is none."
    for option, value, known in (('--solver', solver, SOLVERS | FEW), ('--grid', grid, GRIDS)):
        if value is not None and value not in known:
            near = get_close_matches(value, known, 1)
            raise ValueError(f'{option} is {value!r}, expected one of {", ".join(known)}' + (f'; did you mean {near[0]}?' if near else ''))
    if not 0 <= churn <= 1:
        raise ValueError(f'--churn is {churn}, expected a share from 0 to 1')
    if churn and solver is not None and solver.startswith('unipc'):
        raise ValueError(f'--churn is {churn}, and --solver is {solver}, which mends the step before by the next answer: fresh noise between them spoils that; expected one of them')


def solver_named(name: str, churn: float = 0.0) -> 'Solver':
    "Give the step rule of a name in SOLVERS or FEW, with fresh noise before each step if churn is more than 0."
    module, function, order = (SOLVERS | FEW)[name]
    made = getattr(importlib.import_module(f'diffbook.{module}'), function)
    return churned(made(*order) if order else made, churn)


def churned(solver: 'Solver', churn: float) -> 'Solver':
    "A step rule with fresh noise before each step, or itself."
    from diffbook.samplers import churn as raised

    return raised(solver, churn) if churn else solver


def grid_named(name: str) -> 'Grid':
    "Give the times (schedule, n) of a name in GRIDS."
    module, function, told = GRIDS[name]
    return partial(getattr(importlib.import_module(f'diffbook.{module}'), function), **told)


def open_model(name: str, device: str | None, size: tuple[int, int] | None = None, solver: str = 'ddim', grid: str | None = None, churn: float = 0.0) -> Opened:
    "Load what draws, by folder or name."
    from diffbook.conditioning import Conditional
    from diffbook.flow_maps import FlowMap
    from diffbook.losses import Denoiser
    from diffbook.stages import Stage
    from diffbook.training import load, pick_device

    place = pick_device(device)
    model = load(name)
    if not isinstance(model, (Denoiser, Conditional, FlowMap)):
        raise ValueError(f'{name} holds a {type(model).__name__}, expected a Denoiser, a Conditional or a FlowMap, which draw images')
    if isinstance(model, FlowMap) != (solver == 'jump'):
        raise ValueError(f'--solver is {solver}, and {name} holds a {type(model).__name__}; jump, and no other, is for flow maps')
    if not isinstance(about := model.about, dict):
        raise ValueError(f'about in config.json of {name} is {repr(about)[:100]}, expected an object')
    codec = open_codec(about, name, place)
    shape = describe_shape(about, model, size if codec is None else cells(codec, size))
    pictures = shape if codec is None else (codec.in_channels, *(side * codec.factor for side in shape[1:]))
    own = {} if grid is None else {'times': grid_named(grid)}
    stage = Stage(model.to(place), model.schedule, shape, solver=solver_named(solver, churn), codec=codec, **own)
    return Opened(name, model, about, stage, pictures, place)


def open_codec(about: dict[str, Any], name: str, place: 'torch.device') -> 'Codec | None':
    "Load the autoencoder of a model that draws latents; it must be one of the zoo."
    from diffbook.nets.vae import Codec
    from diffbook.training import load

    if (codec := about.get('codec')) is None:
        return None
    if not isinstance(codec, str) or Path(codec).name != codec:
        raise ValueError(f'{name} draws latents of {codec!r}, expected the name of a model in the zoo')
    found = load(codec)
    if not isinstance(found, Codec):
        raise ValueError(f'{name} draws latents of {codec}, which is a {type(found).__name__}, expected an autoencoder')
    return found.to(place)


def describe_shape(about: dict[str, Any], model: 'Denoiser | Conditional', size: tuple[int, int] | None) -> tuple[int, int, int]:
    "The shape of what a model draws; `size` is height and width that are asked for."
    shape = about.get('shape')
    if size is None and shape is None:
        raise ValueError("the model does not say how large its images are; add --size, or save it with save(..., about={'shape': [channels, height, width]})")
    whole = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 0 < n <= 4096 for n in shape)
    if shape is not None and not whole:
        raise ValueError(f'about.shape of the model is {repr(shape)[:100]}, expected [channels, height, width], each from 1 to 4096')
    channels = shape[0] if shape else getattr(getattr(model, 'denoiser', model).net, 'in_channels', None)
    if channels is None:
        raise ValueError("the model does not say how many channels its images have; save it with save(..., about={'shape': [channels, height, width]})")
    return (channels, *size) if size is not None else tuple(shape)


def cells(codec: 'Codec', size: tuple[int, int] | None) -> tuple[int, int] | None:
    "How many latent cells stand along the sides of so many pixels."
    if size is None:
        return None
    for side in size:
        if side % codec.factor:
            raise ValueError(f'--size is {side}, expected a multiple of {codec.factor}, the pixels of one latent cell')
    return size[0] // codec.factor, size[1] // codec.factor


def sides(text: str | None) -> tuple[int, int] | None:
    "Height and width of 64 or 48x64."
    if text is None:
        return None
    parts = text.lower().split('x')
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f'--size is {text}, expected a side such as 64, or height and width such as 48x64')
    for part in parts:
        at_least('--size', int(part), 1)
        at_most('--size', int(part), 10_000)
    return int(parts[0]), int(parts[-1])
