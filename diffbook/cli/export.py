"""`diffbook export`: a trained model for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from diffbook.cli.app import app, quote, report, say
from diffbook.runs import check_writable

TO = ('diffusers', 'onnx', 'torch-export')


@app.command()
def export(
    model: Annotated[str, typer.Argument(help='A folder that `train` wrote, or a name in the zoo.')],
    to: Annotated[str, typer.Option(help=f'For whom: {", ".join(TO)}.')],
    out: Annotated[Path, typer.Option(help='Folder to make; one that holds something is not touched.')],
) -> None:
    """Write a model for other programs, with a README.md that says how it is used there.

    Example: `diffbook export runs/own --to diffusers --out runs/own-diffusers`

    diffusers: a U-Net of pixels that is told classes or nothing becomes a UNet2DModel with its scheduler, and, where that library has no pipeline that draws so, a short pipeline.py.
    By the methods flow and edm, too. The function is the same; what is told has the precision of the table there, a thousandth of the time.

    torch-export: any model that draws, as denoiser.pt2 and step.pt2, one step of DDIM with guidance, for batches of any size; `torch.export.load` opens them without this package.

    onnx: the same as denoiser.onnx and step.onnx. It needs the packages onnx and onnxscript.
    """
    if to not in TO:
        raise ValueError(f'--to is {to}, expected {", ".join(TO)}')
    check_writable(out)
    from diffbook.export import export as write
    from diffbook.training import load

    write(load(model), out, to, Path(model).name)
    files = sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file())
    say(f'{out}    {", ".join(files)}\nHow it is used: {quote(out / "README.md")}')
    report(out=str(out), to=to, files=files)
