"""What `diffbook sample` writes: a grid, single files, or a film; in a PNG also what was asked for."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffbook.cli.video import encoder, write_mp4

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = {'.png': ('PNG', {}), '.jpg': ('JPEG', {'quality': 95}), '.jpeg': ('JPEG', {'quality': 95}), '.webp': ('WEBP', {'lossless': True})}
FILMS = ('.gif', '.mp4')
FILM = 64  # pictures of a film, at most
FRAMES = 0.08, 1.5  # seconds a frame is shown, and the last


def kind_of(out: Path, each: str | None) -> str:
    "What is to be written: grid, film or files."
    if each is not None and f'.{each}' not in FORMATS:
        raise ValueError(f'--each is {each}, expected png, jpg or webp')
    if out.suffix.lower() in FILMS and not out.is_dir():
        if each is not None:
            raise ValueError(f'--each is {each}, and --out is {out}, a film; expected a folder for single files')
        if out.suffix.lower() == '.mp4':
            encoder(out)  # says now if there is none
        return 'film'
    if each is not None or not out.suffix:
        if out.suffix.lower() in FORMATS and not out.is_dir():
            raise ValueError(f'--each is {each}, and --out is {out}, one file; expected a folder for single files')
        return 'files'
    if out.suffix.lower() not in FORMATS or out.is_dir():
        raise ValueError(f'--out is {out}, expected a file that ends in .png, .jpg or .webp, a film that ends in .gif or .mp4, or the name of a folder, for single files')
    return 'grid'


def picture_bytes(pixels: 'Tensor', suffix: str, about: Mapping[str, Any]) -> bytes:
    "A picture (h, w, 3) or (h, w) in bytes as a file; a PNG says in its text fields what was asked for."
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    name, options = FORMATS[suffix]
    if name == 'PNG':
        fields = PngInfo()
        for key, value in about.items():
            fields.add_itxt(key, str(value))
        options = {'pnginfo': fields}
    file = io.BytesIO()
    Image.fromarray(pixels.contiguous().cpu().numpy()).save(file, name, **options)
    return file.getvalue()


def flat(pixels: 'Tensor', grey: bool, zoom: int) -> 'Tensor':
    "Pixels (h, w, 3) as they are written: in grey (h, w), each as zoom by zoom."
    return (pixels[..., 0] if grey else pixels).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)


def write_grid(out: Path, images: 'Tensor', columns: int, zoom: int, about: Mapping[str, Any]) -> list[Path]:
    "Write all images in one picture."
    from diffbook.data import from_model
    from diffbook.store.files import write_whole
    from diffbook.store.pictures import lay_out

    grid = lay_out(from_model(images.float()), columns, gap=2)
    write_whole(out, picture_bytes(flat(grid, images.shape[1] == 1, zoom), out.suffix.lower(), about))
    return [out]


def write_files(folder: Path, images: 'Tensor', each: str, zoom: int, about: Mapping[str, Any], told: Iterable[Mapping[str, Any]]) -> list[Path]:
    "Write each image to a file of its own, named by its number; each is told of with `about` and its own `told`."
    from diffbook.data import from_model
    from diffbook.store.files import write_whole

    folder.mkdir(parents=True, exist_ok=True)
    digits, files = max(4, len(str(len(images) - 1))), []
    for k, (image, own) in enumerate(zip(from_model(images.float()).permute(0, 2, 3, 1), told)):
        files.append(folder / f'{k:0{digits}d}.{each}')
        write_whole(files[-1], picture_bytes(flat(image, image.shape[-1] == 1, zoom), f'.{each}', {**about, **own, 'number': k}))
    return files


def write_film(out: Path, states: Iterable['Tensor'], columns: int, zoom: int) -> list[Path]:
    "Write every state on the way as a frame of a film; the last stays."
    from PIL import Image

    from diffbook.data import from_model
    from diffbook.store.files import write_whole
    from diffbook.store.pictures import lay_out

    pixels = [flat(lay_out(from_model(x.float().cpu()), columns, gap=2), x.shape[1] == 1, zoom) for x in states]
    if out.suffix.lower() == '.mp4':
        write_mp4(out, pixels, *FRAMES)
        return [out]
    frames = [Image.fromarray(each.contiguous().numpy()) for each in pixels]
    file, (short, long) = io.BytesIO(), FRAMES
    times = [int(1000 * short)] * (len(frames) - 1) + [int(1000 * long)]
    frames[0].save(file, 'GIF', save_all=True, append_images=frames[1:], duration=times, loop=0)
    write_whole(out, file.getvalue())
    return [out]
