"""Steer what is drawn by a picture: an outline, a depth map, a pose."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diffbook.cli.models import Opened
    from diffbook.control import ControlNet

CONTROL_HELP = 'A picture that says where things are to be, as --controlnet understands it: white outlines on black, say.'
CONTROLNET_HELP = 'The ControlNet that makes the model obey --control: a published folder, or one that `save` wrote.'


class Steer(NamedTuple):
    "A picture, and what makes a model obey it."

    image: Path
    folder: str


def check_steer(control: Path | None, controlnet: str | None) -> Steer | None:
    "Both or neither."
    if control is None and controlnet is None:
        return None
    if control is None or controlnet is None:
        given, value, lacking = ('--control', control, '--controlnet') if controlnet is None else ('--controlnet', controlnet, '--control')
        raise ValueError(f'{given} is {value}, and {lacking} is not given; expected both')
    return Steer(control, controlnet)


def steered(model: 'nn.Module', steer: Steer, side: int) -> 'nn.Module':
    "A model on the same weights, of pictures of so many pixels a side, that obeys; a ValueError, if the two do not belong together."
    from diffbook.control import with_control
    from diffbook.nets.unet import UNet

    net, control = getattr(model, 'denoiser', model).net, open_control(steer.folder)
    if not isinstance(net, UNet):
        raise ValueError(f'--controlnet is for U-Nets, and the network of this model is a {type(net).__name__}')
    mine, own = ((part.stem.weight.shape, part.seq_dim, part.cond_dim) for part in (control.encoder, net))
    if mine != own:
        raise ValueError(f'{steer.folder} was made for a network of other widths: it begins with {tuple(mine[0])} and the model with {tuple(own[0])}')
    return with_control(model, control.to(next(net.parameters())), hint=read_hint(steer.image, side, control.arguments['hint_channels']))


def open_control(folder: str) -> 'ControlNet':
    "Load a ControlNet, ours or a published one."
    from diffbook.control import ControlNet
    from diffbook.pretrained import load_controlnet
    from diffbook.store.files import read_json
    from diffbook.training import load

    said = Path(folder) / 'config.json'
    if not said.is_file() or 'model' not in read_json(said):
        return load_controlnet(folder)
    control = load(folder)
    if not isinstance(control, ControlNet):
        raise ValueError(f'{folder} holds a {type(control).__name__}, expected a ControlNet')
    return control


def read_hint(image: Path, side: int, channels: int) -> 'Tensor':  # (1, channels, side, side) in [0, 1]
    "Read a picture as a hint: its middle square, on black where it is transparent."
    from diffbook.store.pictures import grey, middle, read_picture

    pixels = middle(read_picture(image, ground='black'), side)
    return (pixels if channels == 3 else grey(pixels))[None].float() / 255


def steer_opened(opened: 'Opened', steer: Steer | None) -> 'Opened':
    "What was opened, steered."
    if steer is None:
        return opened
    model = steered(opened.model, steer, opened.pictures[-1])
    return opened._replace(model=model, stage=replace(opened.stage, denoise=model))
