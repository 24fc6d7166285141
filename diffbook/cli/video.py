"""MP4 films, by the encoder ffmpeg, where it is there."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def encoder(out: Path) -> str:
    "The program that encodes: ffmpeg on PATH, or that of the package imageio-ffmpeg."
    if found := shutil.which('ffmpeg'):
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        raise ValueError(f'--out is {out}, and no encoder is here; install ffmpeg, or pip install imageio-ffmpeg, or let the film end in .gif') from None
    return imageio_ffmpeg.get_ffmpeg_exe()


def write_mp4(out: Path, frames: Sequence['Tensor'], short: float, long: float) -> None:
    "Write frames (h, w, 3) or (h, w) of bytes as H.264, each shown for `short` seconds and the last for `long`; sides become even."
    import torch

    from diffbook.store.files import replacing

    frames = [frame if frame.ndim == 3 else frame[..., None].expand(-1, -1, 3) for frame in frames]
    height, width = (side + side % 2 for side in frames[0].shape[:2])
    even = torch.full((len(frames), height, width, 3), 255, dtype=torch.uint8)
    for k, frame in enumerate(frames):
        even[k, : frame.shape[0], : frame.shape[1]] = frame
    rows = [*even, *[even[-1]] * (round(long / short) - 1)]
    with replacing(out) as file:
        words = [encoder(out), '-loglevel', 'error', '-y', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-video_size', f'{width}x{height}', '-framerate', f'{1 / short:g}', '-i', 'pipe:0',
                 '-c:v', 'libx264', '-crf', '12', '-pix_fmt', 'yuv420p', '-movflags', '+faststart', '-f', 'mp4', str(file)]  # fmt: skip
        done = subprocess.run(words, input=b''.join(row.numpy().tobytes() for row in rows), capture_output=True)
        if done.returncode or not file.stat().st_size:
            said = done.stderr.decode('utf-8', 'replace').strip().splitlines()
            raise ValueError(
                f'{out} could not be encoded: {said[-1] if said else f"ffmpeg ended with {done.returncode}"}; a film that ends in .gif needs no encoder'
            )
