"""`diffbook sample`: draw images from a trained model, or from a published one."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from diffbook.cli.app import Device, Seed, app, at_least, at_most, check_text, finite, note, noted, say
from diffbook.runs import check_writable

if TYPE_CHECKING:
    from torch import Tensor

    from diffbook.conditioning import Conditional, TextConditioner
    from diffbook.core import DenoiseFn
    from diffbook.losses import Denoiser
    from diffbook.nets.vae import Codec


SOLVERS = ('ddim', 'ancestral', 'euler', 'heun')
STEPS = {'heun': 12}  # two calls a step: 23 in all; the other solvers make 20 steps of one call
ROUNDS = 3  # how often RePaint walks each step of an inpainting


@app.command()
def sample(
    model: Annotated[str, typer.Argument(help='A folder that `train` wrote, a name in the zoo, or the folder of a published Stable Diffusion.')],
    out: Annotated[Path, typer.Option(help='The picture to write, a .png file.')],
    n: Annotated[int | None, typer.Option('--n', help='Images to draw: 64 if not said, or 1 of Stable Diffusion.')] = None,
    steps: Annotated[int | None, typer.Option(help='Steps from noise to data: 12 of heun (which asks the network twice a step), 20 of the others.')] = None,
    solver: Annotated[str | None, typer.Option(help=f'One of {", ".join(SOLVERS)}; heun by default, with --mask ancestral.')] = None,
    size: Annotated[int | None, typer.Option(help='Side of the images, where the model does not say.')] = None,
    columns: Annotated[int, typer.Option(help='Images a row.')] = 8,
    zoom: Annotated[int | None, typer.Option(help='Pixels drawn for each pixel: 2 if not said, of large images 1.')] = None,
    prompt: Annotated[str | None, typer.Option(help='What to draw, for a model that reads text.')] = None,
    negative: Annotated[str | None, typer.Option(help='What to keep away from, for a model that reads text.')] = None,
    guidance: Annotated[float | None, typer.Option(help='How strongly to insist on the prompt: 1 is not at all beyond the model. 2 by default, of Stable Diffusion 7.5.')] = None,
    image: Annotated[Path | None, typer.Option(help='A picture to start from.')] = None,
    strength: Annotated[float | None, typer.Option(help='How much of --image to redo, over 0 up to 1: 0.6 by default, with --mask 1.')] = None,
    mask: Annotated[Path | None, typer.Option(help='A black and white picture as large as --image: white (from middle grey on) is drawn anew, black stays.')] = None,
    ground: Annotated[str | None, typer.Option(help='Colour behind an --image that is transparent: a name, or #rrggbb. White if not said.')] = None,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Draw images from a trained model; the same seed draws the same images.

    Example: `diffbook sample fashion-mnist --n 64 --seed 1 --out garments.png`

    A model that reads text takes a prompt: `diffbook sample shapes --prompt "a small red circle above a big blue square" --guidance 3 --n 16 --out out.png`

    So does the folder of a published Stable Diffusion: `diffbook sample stable-diffusion-v1-5 --prompt "a lighthouse in a storm" --out out.png`

    Any model takes --image to redo a picture, and with --mask only where that is white.
    """
    for name, value in (('--n', n), ('--steps', steps), ('--columns', columns), ('--zoom', zoom), ('--size', size)):
        at_least(name, value, 1)
    if solver is not None and solver not in SOLVERS:
        raise ValueError(f'--solver is {solver!r}, expected one of {", ".join(SOLVERS)}')
    if out.suffix.lower() != '.png' or out.is_dir():
        raise ValueError(f'--out is {out}, expected a file that ends in .png')
    for name, value in (('--n', n), ('--steps', steps), ('--columns', columns), ('--zoom', zoom), ('--size', size)):
        at_most(name, value, {'--n': 1 << 20, '--zoom': 64}.get(name, 10_000))
    for name, text in (('--prompt', prompt), ('--negative', negative)):
        check_text(name, text)
    for name, value in (('--mask', mask), ('--strength', strength), ('--ground', ground)):
        if value is not None and image is None:
            raise ValueError(f'{name} is {value}, and there is no picture to change; expected --image as well')
    if strength is not None and not 0 < strength <= 1:
        raise ValueError(f'--strength is {strength}, expected a number over 0, up to 1')
    check_writable(out)
    from diffbook.data import save_images

    if (Path(model) / 'model_index.json').is_file():
        about, images = {}, draw_published(model, n or 1, steps, solver, size, (prompt or '', negative or '', guidance), (image, mask, strength, ground or 'white'), device, seed)
    else:
        net, about = open_model(model, device)
        told = listen(net, about, model, prompt, negative, guidance)
        codec, solver = open_codec(about, model, device), solver or ('ancestral' if mask else 'heun')
        shape = describe_shape(about, net, size if codec is None else cells(codec, size))
        edit = None if image is None else open_edit(image, mask, strength, shape if codec is None else codec_shape(codec, shape), ground or 'white')
        start = edit if edit is None or codec is None else encode_edit(codec, edit)
        images = draw(net, shape, n or 64, steps or STEPS.get(solver, 20), solver, seed, told=told, edit=start)
        images = put_back(images if codec is None else decode(codec, images), edit)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_images(finite(images), out, columns=columns, zoom=zoom or (2 if images.shape[-1] < 128 else 1))
    say(f'{len(images)} image{"s" * (len(images) != 1)} in {out}')
    if prompt and prompt.strip():
        count_agreement(about, prompt, images)


class Edit(NamedTuple):
    "A picture to start from, and what of it stays."

    picture: 'Tensor'  # (1, c, h, w) in [-1, 1]
    known: 'Tensor | None' = None  # (1, 1, h, w) bool: True where the picture stays
    strength: float = 1.0  # share of the steps that are walked


def draw(
    model: 'Denoiser | Conditional', shape: tuple[int, ...], n: int, steps: int, solver: str, seed: int, batch: int = 64, *,
    told: Callable[[int, int], 'DenoiseFn'] | None = None, edit: Edit | None = None,
) -> 'Tensor':  # fmt: skip
    "Sample n images in [-1, 1] with a progress bar; image i is the same whatever n is. `told(start, count)` gives the denoiser of some."
    import torch
    from tqdm import tqdm

    from diffbook import samplers
    from diffbook.core import noise, seeded_noise
    from diffbook.schedules import DiscreteSchedule

    schedule, images = model.schedule, []
    whole = isinstance(schedule, DiscreteSchedule) and steps <= schedule.t_max
    times = (samplers.trailing_times if whole else samplers.uniform_times)(schedule, steps)
    device = next(model.parameters()).device
    with tqdm(total=n * steps if edit is None else None, desc='sampling', unit='step') as bar, torch.inference_mode():
        for start in range(0, n, batch):
            count = min(batch, n - start)
            denoise = model if told is None else told(start, count)
            step = getattr(samplers, solver)
            step = partial(step, noise=seeded_noise(seed, 'sample', start)) if solver == 'ancestral' else step
            if edit is None:
                x = noise(seed, 'start', 0, range(start, start + count), shape).float().to(device)
                walk = samplers.sample(denoise, schedule, x * schedule.sigma(schedule.t_max).to(x), times, step)
            else:
                walk = revise(denoise, schedule, edit, count, times, step, lambda purpose, first=start: seeded_noise(seed, purpose, first), device)
            for x in walk:
                bar.update(count)
            images.append(x.cpu())
    return torch.cat(images)


def revise(
    denoise: 'DenoiseFn', schedule: Any, edit: Edit, count: int, times: 'Tensor', step: Callable, noises: Callable[[str], Callable], device: Any
) -> Iterator['Tensor']:
    "Start from a picture noised in part, and if some of it is to stay, put that back at every step."
    from diffbook import samplers
    from diffbook.editing import repaint, start_from

    picture = edit.picture.to(device).expand(count, -1, -1, -1)
    x, times = start_from(schedule, picture, times, edit.strength, noise=noises('start'))
    if edit.known is None:
        return samplers.sample(denoise, schedule, x, times, step)
    solver = getattr(step, 'func', step)  # RePaint gives the noise itself, another for each round
    return repaint(denoise, schedule, x, times, edit.picture.to(device), edit.known.to(device), rounds=ROUNDS, solver=solver, noise=noises)


def draw_published(
    folder: str, n: int, steps: int | None, solver: str | None, size: int | None,
    said: tuple[str, str, float | None], given: tuple[Path | None, Path | None, float | None, str], device: str | None, seed: int,
) -> 'Tensor':  # fmt: skip
    "Draw n images in [-1, 1] with a Stable Diffusion in the published layout, one after the other, to keep within memory."
    import torch

    from diffbook import samplers
    from diffbook.stable_diffusion import StableDiffusion
    from diffbook.training import pick_device

    place = pick_device(device)
    model = StableDiffusion.from_pretrained(folder, torch.float16 if place.type == 'cuda' else None).to(place)
    (prompt, negative, guidance), (image, mask, strength, ground) = said, given
    options: dict[str, Any] = {'height': size, 'width': size, 'solver': solver and getattr(samplers, solver)}
    if image is not None:
        side = size or model.size[0]
        edit = open_edit(image, mask, strength, (3, side, side), ground)
        options |= {'image': (edit.picture + 1) / 2, 'mask': None if edit.known is None else ~edit.known, 'strength': edit.strength}
    draw = partial(model, prompt, negative, steps=steps or 30, scale=7.5 if guidance is None else guidance, seed=seed, output='tensor', **options)
    return torch.cat([2 * draw(first=i).float().cpu() - 1 for i in range(n)])


def listen(
    net: Any, about: dict[str, Any], name: str, prompt: str | None, negative: str | None, guidance: float | None
) -> Callable[[int, int], 'DenoiseFn'] | None:
    "Make what is asked of a text model out of the options; refuse them for a model that reads no text."
    given = [(o, v) for o, v in (('--prompt', prompt), ('--negative', negative), ('--guidance', guidance)) if v is not None]
    if reader_of(net) is None:
        for option, value in given:
            raise ValueError(f'{option} is {value!r}, and {name} reads no text; `diffbook train --data shapes --text` makes a model that does')
        return None
    if guidance is not None and not -1e6 < guidance < 1e6:
        raise ValueError(f'--guidance is {guidance}, expected a finite number: 1 is off, 2 to 4 are usual')
    prompt, negative = (prompt or '').strip(), (negative or '').strip()
    known = known_words(about)
    for text in (prompt, negative):
        check_words(text, known)
    if not prompt and not negative:
        note('no prompt: images are drawn without a condition' + (', and --guidance does nothing' if guidance is not None else '; say what to draw with --prompt'))
        return None
    return tell(net, prompt, negative, 2.0 if guidance is None else guidance)


def count_agreement(about: dict[str, Any], prompt: str, images: 'Tensor') -> None:
    "Read drawn shapes, and say in how many images all that the prompt states is true."
    from diffbook.data import from_model
    from diffbook.recognise import caption_agrees, read_shapes

    if not str(about.get('data', '')).startswith('shapes') or images.shape[1] != 3:
        return
    try:
        held = caption_agrees(prompt, read_shapes(from_model(images)))
    except ValueError as error:
        note(f'the images are not counted, as the reader of shapes does not understand the prompt: {error}')
        return
    wrong = [f'{key} in {(~kept).sum().item()}' for key, kept in held.items() if key != 'all' and not kept.all()]
    say(f'{held["all"].sum().item()} of {len(images)} show what the prompt says' + (f' (wrong: {", ".join(wrong)})' if wrong else ''))


def open_edit(image: Path, mask: Path | None, strength: float | None, shape: tuple[int, ...], ground: str = 'white') -> Edit:
    "Read a picture, and a mask of the same size, as a model of images of `shape` takes them."
    import torch

    from diffbook.data import to_model
    from diffbook.store.pictures import middle, read_picture

    channels, side = shape[0], shape[1]
    whole = read_picture(image, ground=ground)
    pixels, given = middle(whole, side), whole.size
    grey = (pixels * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True).round().to(torch.uint8)
    picture = to_model(pixels if channels == 3 else grey)[None]
    known = None if mask is None else ~read_mask(mask, image, given, side)
    if given != (side, side):
        cut = 'its middle square is' if given[0] != given[1] else 'it is'
        note(f'{image} has {given[0]} x {given[1]} pixels: {cut} scaled to {side} x {side}, the size of the images that the model draws')
    return Edit(picture, known, (0.6 if mask is None else 1.0) if strength is None else strength)


def read_mask(mask: Path, image: Path, given: tuple[int, int], side: int) -> 'Tensor':
    "Where a mask is white, (1, 1, side, side), rounded outwards; it must be as large as the picture was."
    from diffbook.store.pictures import cover, middle_box, read_picture, white_of

    picture = read_picture(mask)
    if picture.size != given:
        raise ValueError(f'--mask {mask} has {picture.width} x {picture.height} pixels, expected {given[0]} x {given[1]} as --image {image}')
    left, top, right, bottom = middle_box(given)
    white = white_of(picture)[top:bottom, left:right]
    if not white.any():
        where = 'all over' if given[0] == given[1] else 'all over its middle square'
        raise ValueError(f'--mask {mask} is black {where}, which leaves nothing to draw; white marks what is drawn anew')
    if white.all():
        note(f'{mask} is white all over, or transparent, which counts as white: nothing of {image} stays')
    return cover(white, (side, side))[None, None]


def put_back(images: 'Tensor', edit: Edit | None) -> 'Tensor':
    "Put back, to the pixel, what was to stay."
    import torch

    return images if edit is None or edit.known is None else torch.where(edit.known, edit.picture, images)


def open_model(name: str, device: str | None) -> tuple['Denoiser | Conditional', dict[str, Any]]:
    "Load a denoiser by folder or name, and what is said about it."
    from diffbook.conditioning import Conditional
    from diffbook.losses import Denoiser
    from diffbook.training import load, pick_device, read_model

    place = pick_device(device)
    model, about = load(name), read_model(name)[0].get('about')
    if not isinstance(model, (Denoiser, Conditional)):
        raise ValueError(f'{name} holds a {type(model).__name__}, expected a Denoiser or a Conditional, which draw images')
    if not isinstance(about, dict):
        raise ValueError(f'about in config.json of {name} is {repr(about)[:100]}, expected an object')
    return model.to(place), about


def open_codec(about: dict[str, Any], name: str, device: str | None) -> 'Codec | None':
    "Load the autoencoder of a model that draws latents; it must be one of the zoo."
    from diffbook.nets.vae import Codec
    from diffbook.training import load, pick_device

    if (codec := about.get('codec')) is None:
        return None
    if not isinstance(codec, str) or Path(codec).name != codec:
        raise ValueError(f'{name} draws latents of {codec!r}, expected the name of a model in the zoo')
    found = load(codec)
    if not isinstance(found, Codec):
        raise ValueError(f'{name} draws latents of {codec}, which is a {type(found).__name__}, expected an autoencoder')
    return found.to(pick_device(device))


def cells(codec: 'Codec', size: int | None) -> int | None:
    "How many latent cells stand along a side of so many pixels."
    if size is not None and size % codec.factor:
        raise ValueError(f'--size is {size}, expected a multiple of {codec.factor}, the pixels of one latent cell')
    return size and size // codec.factor


def codec_shape(codec: 'Codec', shape: tuple[int, ...]) -> tuple[int, int, int]:
    "The shape of the images whose latents have `shape`."
    return codec.in_channels, shape[1] * codec.factor, shape[2] * codec.factor


def encode_edit(codec: 'Codec', edit: Edit) -> Edit:
    "The same edit in latents; a cell stays if all its pixels do."
    import torch
    import torch.nn.functional as F

    with torch.inference_mode():
        latent = codec.encode(edit.picture.to(next(codec.parameters()).device)).cpu()
    return Edit(latent, None if edit.known is None else F.avg_pool2d(edit.known.float(), codec.factor) == 1, edit.strength)


def decode(codec: 'Codec', latents: 'Tensor', batch: int = 32) -> 'Tensor':
    "Turn latents into images in [-1, 1]."
    import torch

    place = next(codec.parameters()).device
    with torch.inference_mode():
        return torch.cat([codec.decode(z.to(place)).cpu() for z in latents.split(batch)]).clamp(-1, 1)


def describe_shape(about: dict[str, Any], model: 'Denoiser', size: int | None) -> tuple[int, int, int]:
    "The shape of the images that a model draws."
    shape = about.get('shape')
    if size is None and shape is None:
        raise ValueError('the model does not say how large its images are; add --size')
    whole = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 0 < n <= 4096 for n in shape)
    if shape is not None and not whole:
        raise ValueError(f'about.shape of the model is {repr(shape)[:100]}, expected [channels, height, width], each from 1 to 4096')
    channels = shape[0] if shape else getattr(model, 'denoiser', model).net.in_channels
    return (channels, size, size) if size is not None else tuple(shape)


def reader_of(model: Any) -> 'TextConditioner | None':
    "The part of a model that reads text, if it has one."
    from diffbook.conditioning import Conditional, TextConditioner

    reads = isinstance(model, Conditional) and isinstance(model.conditioner, TextConditioner)
    return model.conditioner if reads else None


def tell(model: 'Conditional', prompts: str | Sequence[str], negative: str, guidance: float) -> Callable[[int, int], 'DenoiseFn']:
    "Make denoisers that are asked for prompts, one for all images or one each, and guided away from `negative`."
    import torch

    from diffbook.guidance import guide

    with torch.inference_mode():
        everything = [prompts] if isinstance(prompts, str) else list(prompts)
        with noted():
            cond = model.condition(everything)
            null = model.condition([negative]) if negative else model.null(1)
    guided = guide(model, null, guidance) if guidance != 1 else model

    def told(start: int, count: int) -> 'DenoiseFn':
        rows = slice(start, start + count) if len(everything) > 1 else slice(None)
        mine = cond.map(lambda v: v[rows].expand(count, *v.shape[1:]))
        return lambda x, t, _=None: guided(x, t, mine)

    return told


def split_words(text: str) -> list[str]:
    "The words of a text, in small letters."
    import re

    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())


def known_words(about: dict[str, Any]) -> set[str]:
    "The words that a text model was trained on; none if it does not say."
    from diffbook.shapes import draw_split

    name = str(about.get('data', ''))
    captions = draw_split(2000, 8, brief=0.2).captions if not about.get('words') and name.startswith('shapes') else ()
    return set(about.get('words') or ()) | {word for text in captions for word in split_words(text)}


def check_words(text: str, known: set[str]) -> None:
    "Say which words of a prompt the model has never read, and which it has."
    from difflib import get_close_matches

    strange = [word for word in dict.fromkeys(split_words(text)) if known and word not in known]
    if not strange:
        return
    near = sorted({other for word in strange for other in get_close_matches(word, known, 3, 0.7)})
    what = f'it knows {", ".join(sorted(known))}' if len(known) <= 60 else f'it knows {len(known):,} words' + (f', such as {", ".join(near)}' if near else '')
    note(f'the model was never shown {" or ".join(repr(word) for word in strange)}, and may not draw what is meant; {what}')
