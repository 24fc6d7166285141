"""`diffbook sample`: draw images from a trained model, or from a published one."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffbook.cli.app import Device, Seed, app, at_least, at_most, check_text, finite, note, report, say
from diffbook.cli.edits import draw, open_edit
from diffbook.cli.lora import LORA_HELP, change, changed
from diffbook.cli.models import CHURN_HELP, GRID_HELP, SOLVER_HELP, check_walk, churned, grid_named, open_model, sides, solver_named
from diffbook.cli.pictures import FILM, kind_of, write_files, write_film, write_grid
from diffbook.cli.prompts import count_agreement, listen, listen_class, reads_classes
from diffbook.cli.sound import speak, speaks
from diffbook.cli.steer import CONTROL_HELP, CONTROLNET_HELP, Steer, check_steer, steer_opened, steered
from diffbook.cli.upscale import upscale_images
from diffbook.runs import check_writable

if TYPE_CHECKING:
    from torch import Tensor

    from diffbook.core import Cond
    from diffbook.stages import Stage


STEPS = {'heun': 12, 'renoise': 2, 'jump': 4}  # two calls a step: 23 in all; few, for models that were trained for that; the other solvers make 20 steps of one call


@app.command()
def sample(
    model: Annotated[str, typer.Argument(help='A folder that `train` wrote, a name in the zoo, or the folder of a published model, such as Stable Diffusion.')],
    out: Annotated[Path, typer.Option(help='What to write: a grid (.png, .jpg, .webp), a film of the way from noise (.gif, or .mp4 where ffmpeg is), or a folder (no ending) of single files.')],
    n: Annotated[int | None, typer.Option('--n', help='Images to draw: 64 if not said, or 1 of Stable Diffusion.')] = None,
    steps: Annotated[int | None, typer.Option(help='Steps from noise to data: 12 of heun (which asks the network twice a step), 20 of the others.')] = None,
    solver: Annotated[str | None, typer.Option(help=f'{SOLVER_HELP}; heun by default, with --mask ancestral.')] = None,
    grid: Annotated[str | None, typer.Option(help=GRID_HELP)] = None,
    churn: Annotated[float, typer.Option(help=CHURN_HELP)] = 0.0,
    size: Annotated[str | None, typer.Option(help='Side of the images, or height and width as 48x64, where the model does not say or others are asked for.')] = None,
    each: Annotated[str | None, typer.Option(help='Write single files of this kind into the folder --out: png, jpg or webp.')] = None,
    columns: Annotated[int | None, typer.Option(help='Images a row: 8, or the number of classes.')] = None,
    zoom: Annotated[int | None, typer.Option(help='Pixels drawn for each pixel: 2 if not said, of large images 1.')] = None,
    prompt: Annotated[str | None, typer.Option(help='What to draw, for a model that reads text.')] = None,
    class_name: Annotated[str | None, typer.Option('--class', help='What to draw, for a model of classes: a name, or a number. All in turn if not said.')] = None,
    negative: Annotated[str | None, typer.Option(help='What to keep away from, for a model that reads text.')] = None,
    guidance: Annotated[float | None, typer.Option(help='How strongly to insist on the prompt: 1 is not at all beyond the model. 2 by default, of published models their own, such as 7.5.')] = None,
    lora: Annotated[list[str] | None, typer.Option(help=LORA_HELP)] = None,
    image: Annotated[Path | None, typer.Option(help='A picture to start from.')] = None,
    strength: Annotated[float | None, typer.Option(help='How much of --image to redo, over 0 up to 1: 0.6 by default, with --mask 1.')] = None,
    mask: Annotated[Path | None, typer.Option(help='A black and white picture as large as --image: white (from middle grey on) is drawn anew, black stays.')] = None,
    control: Annotated[Path | None, typer.Option(help=CONTROL_HELP)] = None,
    controlnet: Annotated[str | None, typer.Option(help=CONTROLNET_HELP)] = None,
    upscale: Annotated[str | None, typer.Option(help='Enlarge what was drawn by a second model: an upscaler of this book, or the folder of a published one.')] = None,
    ground: Annotated[str | None, typer.Option(help='Colour behind an --image that is transparent: a name, or #rrggbb. White if not said.')] = None,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Draw images from a trained model; the same seed draws the same images.

    Example: `diffbook sample fashion-mnist --n 64 --seed 1 --out garments.png`

    In eight calls of the network: `diffbook sample fashion-mnist --steps 8 --solver dpmpp_2m --grid karras --out garments.png`; with fresh noise on the way: `... --steps 30 --churn 0.2`

    A model of classes takes one: `diffbook sample runs/own --class three --out three.png`; single files: `... --n 100 --out threes`; a film: `... --out three.gif`

    A model that reads text takes a prompt: `diffbook sample shapes --prompt "a small red circle above a big blue square" --guidance 3 --n 16 --out out.png`

    So does the folder of a published Stable Diffusion: `diffbook sample stable-diffusion-v1-5 --prompt "a lighthouse in a storm" --out out.png`

    One that speaks writes sound: `diffbook sample spoken-digits --prompt seven --out seven.wav`

    What somebody taught it: `diffbook sample shapes --lora heart:0.8 --prompt "a big red heart" --out hearts.png`

    Any model takes --image to redo a picture, and with --mask only where that is white. A U-Net obeys a picture with `--control outline.png --controlnet FOLDER`.
    """
    for name, value in (('--n', n), ('--steps', steps), ('--columns', columns), ('--zoom', zoom)):
        at_least(name, value, 1)
    wanted = sides(size)
    check_walk(solver, grid, churn)
    if speaks(model):
        check_writable(out)
        others = {'--class': class_name, '--negative': negative, '--image': image, '--mask': mask, '--control': control, '--lora': lora, '--upscale': upscale, '--size': size, '--each': each, '--columns': columns, '--zoom': zoom}
        return speak(model, prompt, out, n, steps, (solver, grid, churn), guidance, device, seed, others)
    kind = kind_of(out, each)
    for name, value in (('--n', n), ('--steps', steps), ('--columns', columns), ('--zoom', zoom)):
        at_most(name, value, {'--n': 1 << 20, '--zoom': 64}.get(name, 10_000))
    for name, text in (('--prompt', prompt), ('--negative', negative)):
        check_text(name, text)
    for name, value in (('--mask', mask), ('--strength', strength), ('--ground', ground)):
        if value is not None and image is None:
            raise ValueError(f'{name} is {value}, and there is no picture to change; expected --image as well')
    if strength is not None and not 0 < strength <= 1:
        raise ValueError(f'--strength is {strength}, expected a number over 0, up to 1')
    for name, given in (('--image', image), ('--control', control)):
        if given is not None and wanted is not None and wanted[0] != wanted[1]:
            raise ValueError(f'--size is {size}, and {name} is {given}, of which the middle square is taken; expected one side')
    if kind == 'film' and ((n or 0) > FILM or image is not None or upscale is not None):
        raise ValueError(f'--out is {out}, a film; expected at most {FILM} images, and no --image or --upscale')
    steer = check_steer(control, controlnet)
    check_writable(out)
    own: list[dict[str, Any]] = []  # what each image alone was told
    if (Path(model) / 'model_index.json').is_file():
        if kind == 'film' or class_name is not None:
            raise ValueError(f'{model} is a published pipeline, of which no film is drawn and no class is asked; expected a picture of a --prompt')
        said, given = (prompt or '', negative or '', guidance), (image, mask, strength, ground or 'white')
        about, images = {}, draw_published(model, n or 1, steps, (solver, grid, churn), wanted, said, given, device, seed, steer, lora or ())
    else:
        solver = solver or ('ancestral' if mask else 'heun')
        opened = steer_opened(changed(open_model(model, device, wanted, solver, grid, churn), lora or ()), steer)
        steps, n = steps or STEPS.get(solver, 20), n or (64 if kind != 'film' else 16)
        if class_name is not None and not reads_classes(opened.model):
            raise ValueError(f'--class is {class_name}, and {model} knows no classes; a model is taught them by `diffbook train --data` with a folder of sub-folders')
        if reads_classes(opened.model) and prompt is None and negative is None:
            stage, cond, names = listen_class(opened, class_name, n, guidance)
            own = [{'class': name} for name in names]
            if class_name is None:
                columns = columns or min(16, opened.model.conditioner.classes)
                note(f'no --class: {", ".join(dict.fromkeys(names))} in turn')
        else:
            stage, cond = listen(opened, prompt, negative, guidance)
        edit = None if image is None else open_edit(image, mask, strength, opened.pictures, ground or 'white')
        about = opened.about
        if kind == 'film':
            images = watch(stage, n, cond, steps, seed, opened.device)
        else:
            images = draw(stage, n, cond, edit, steps=steps, seed=seed, device=opened.device)
    if upscale is not None:
        images = upscale_images(upscale, finite(images), (prompt or '', negative or ''), None, seed, device)
    out.parent.mkdir(parents=True, exist_ok=True)
    last, columns = finite(images[-1] if kind == 'film' else images), columns or 8
    zoom = zoom or (1 if kind == 'files' or last.shape[-1] >= 128 else 2)
    asked = {'model': model, 'prompt': prompt, 'class': class_name, 'negative': negative, 'guidance': guidance, 'steps': steps, 'solver': solver, 'seed': seed}
    asked = {key: value for key, value in asked.items() if value is not None}
    if kind == 'film':
        files = write_film(out, images, columns, zoom)
    elif kind == 'files':
        files = write_files(out, last, each or 'png', zoom, asked, own or [{}] * len(last))
    else:
        files = write_grid(out, last, columns, zoom, asked)
    say(f'{len(last)} image{"s" * (len(last) != 1)} in {out}')
    report(files=[str(file) for file in files], images=len(last), shape=list(last.shape[1:]), **asked)
    if prompt and prompt.strip():
        count_agreement(about, prompt, last)


def watch(stage: 'Stage', n: int, cond: 'Cond | None', steps: int, seed: int, device: Any) -> list['Tensor']:
    "Every state on the way of n images, as pictures; the noise at the start is shown as large as it can be seen."
    import torch

    with torch.inference_mode():
        cond = cond and cond.map(lambda v: v.expand(n, *v.shape[1:]))
        states = list(stage.sample(n, cond, steps=steps, seed=seed, device=device))
        return [stage.decode(x).clamp(-1, 1).cpu() for x in states[:-1]] + [stage.decode(states[-1]).cpu()]


def draw_published(
    folder: str, n: int, steps: int | None, walk: tuple[str | None, str | None, float], size: tuple[int, int] | None,
    said: tuple[str, str, float | None], given: tuple[Path | None, Path | None, float | None, str], device: str | None, seed: int, steer: Steer | None = None,
    lora: Sequence[str] = (),
) -> 'Tensor':  # fmt: skip
    "Draw n images in [-1, 1] with a model in the published layout, one after the other, to keep within memory."
    import torch

    from diffbook.stable_diffusion import load_pipeline
    from diffbook.training import pick_device

    place = pick_device(device)
    model = load_pipeline(folder, torch.float16 if place.type == 'cuda' else None).to(place)
    change(model, lora)
    (solver, grid, churn), (prompt, negative, guidance), (image, mask, strength, ground) = walk, said, given
    if steer is not None:
        model.denoiser = steered(model.denoiser, steer, (size or model.size)[0])
    if grid is not None:
        model.plan = replace(model.plan, times=grid_named(grid), sized=False)
    step = solver_named(solver, churn) if solver else churned(model.plan.solver, churn)
    options: dict[str, Any] = {'height': size and size[0], 'width': size and size[1], 'solver': step}
    if image is not None:
        side = (size or model.size)[0]
        edit = open_edit(image, mask, strength, (3, side, side), ground)
        options |= {'image': (edit.picture + 1) / 2, 'mask': None if edit.known is None else ~edit.known, 'strength': edit.strength}
    draw = partial(model, prompt, negative, steps=steps or 30, scale=guidance, seed=seed, output='tensor', **options)
    return torch.cat([2 * draw(first=i).float().cpu() - 1 for i in range(n)])


