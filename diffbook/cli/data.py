"""`diffbook data`, `convert` and `doctor`: what is here, what to fetch, and what this machine can do."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from diffbook.cli.app import DataRoot, Device, Seed, app, note, quote, say


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help='fashion-mnist, mnist, cifar10, emoji or spoken-digits; without a name: all.')] = None,
    download: Annotated[bool, typer.Option('--download', help='Fetch it, checking its length and digest.')] = False,
    data_root: DataRoot = None,
) -> None:
    """Say which data sets are here, where they are looked for, and how to fetch them.

    Example: `diffbook data fashion-mnist --download`
    """
    from diffbook.data import SOURCES, fetch_data
    from diffbook.data import data_root as root_of

    if name is not None and name not in (*SOURCES, 'shapes'):
        raise ValueError(f'data set is {name!r}, expected shapes, {" or ".join(SOURCES)}')
    if download and name in (None, 'shapes'):
        raise ValueError(f'--download needs the name of a published set, expected {" or ".join(SOURCES)}')
    if download:
        say(f'{name} is in {fetch_data(name, data_root)}')
        return
    root = root_of(data_root)
    say(f'Data sets are looked for in {root}')
    for each in ('shapes', *SOURCES) if name is None else (name,):
        say(f'  {each:14} {status(each, root, data_root)}')


def status(name: str, root: Path, given: Path | None) -> str:
    "Say in a few words whether a data set is there, by name and length of its files."
    from diffbook.data import SOURCES

    if name == 'shapes':
        return 'drawn by the package, needs no file'
    source = SOURCES[name]
    missing = [f for f, (length, _) in source.files.items() if not (root / source.folder / f).is_file()]
    wrong = [f for f, (length, _) in source.files.items() if length and f not in missing and (root / source.folder / f).stat().st_size != length]
    if not missing and not wrong:
        return f'here, in {root / source.folder}'
    what = f'{missing[0]} is missing' if missing else f'{wrong[0]} is damaged'
    command = f'diffbook data {name} --download' + (f' --data-root {quote(given)}' if given is not None else '')
    return f'not here: {what} in {root / source.folder}; fetch it with: {command}'


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help='An old checkpoint: a .pt, .pth, .bin or .ckpt file.')],
    out: Annotated[Path, typer.Argument(help='The file to write, ending in .safetensors.')],
    part: Annotated[str | None, typer.Option(help='Take only this dictionary of the file; by default its state_dict, or all of it.')] = None,
) -> None:
    """Turn an old checkpoint, which can run code when it is read, into safetensors, which cannot.

    Example: `diffbook convert v1-5-pruned.ckpt v1-5-pruned.safetensors`

    A process of its own reads the file: it may open that file and write the other, gets no network where the system allows to take it away, and bounded memory, time and size.
    It needs torch 2.10 or later. Names of tensors in dictionaries within dictionaries are joined by dots; what is no tensor is left out.
    """
    from diffbook.store.convert import convert as convert_file

    report = convert_file(file, out, part=part)
    say(f'{report["tensors"]:,} tensors, {report["bytes"]:,} bytes, in {out}; the process that read {file.name} had {report["network"]}')
    if report['left']:
        note(f'left out, as no tensors: {", ".join(report["left"][:5])}' + (', ...' if len(report['left']) > 5 else ''))


@app.command()
def doctor(device: Device = None, data_root: DataRoot = None, seed: Seed = 0) -> None:
    """Print versions, devices, threads and data, and time one training step.

    Example: `diffbook doctor`
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from diffbook import __version__
    from diffbook.core import uniform
    from diffbook.data import SOURCES, Dataset
    from diffbook.data import data_root as root_of
    from diffbook.recipes import plain
    from diffbook.training import pick_device

    place = pick_device(device)
    say(f'diffbook {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}')
    for package in ('torch', 'torchvision', 'safetensors', 'numpy', 'matplotlib', 'fastcore', 'typer'):
        try:
            say(f'  {package:14} {version(package)}')
        except PackageNotFoundError:
            say(f'  {package:14} not installed')
    say(f'devices: cpu with {torch.get_num_threads()} threads on {os.cpu_count()} cores')
    for i in range(torch.cuda.device_count()):
        say(f'  cuda:{i}         {torch.cuda.get_device_name(i)}, {torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB')
    if torch.backends.mps.is_available():
        say('  mps            Apple GPU')
    root = root_of(data_root)
    say(f'data, looked for in {root}')
    for name in ('shapes', *SOURCES):
        say(f'  {name:14} {status(name, root, data_root)}')
    made = plain()
    images = (255 * uniform(seed, 'doctor', 0, range(64), (1, 28, 28))).to(torch.uint8)
    trainer = made.trainer(made.model(Dataset(images), seed), seed=seed, device=place)
    batch = (images.to(trainer.device),)
    for _ in range(2):  # the first warms up
        start = time.perf_counter()
        loss = trainer.update(batch).loss.item()
        seconds = time.perf_counter() - start
    say(f'one training step of the U-Net on {place.type}, 64 images of 28 x 28: {seconds:.2f} s, {64 / seconds:.0f} images/s, loss {loss:.3f}')
