"""Sound as files: WAV with samples of 16 bits, written whole or not at all, by the standard library."""

import base64
import io
import wave
from pathlib import Path

import torch
from torch import Tensor

from diffbook.store.files import write_whole

__all__ = ['wave_bytes', 'write_wave', 'read_wave', 'player']

LARGEST = 64 << 20  # bytes of a file that is read


def wave_bytes(x: Tensor, rate: int) -> bytes:
    "Sound (n,) as the bytes of a WAV file; what is beyond [-1, 1] is clipped."
    if x.ndim != 1 or not x.is_floating_point() or not len(x) or not torch.isfinite(x).all():
        raise ValueError(f'the sound is {x.dtype} of shape {tuple(x.shape)}, expected finite floating point of shape (n,)')
    file = io.BytesIO()
    with wave.open(file, 'wb') as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((x.detach().cpu().float().clamp(-1, 1) * 32767).round().to(torch.int16).numpy().astype('<i2').tobytes())
    return file.getvalue()


def write_wave(path: str | Path, x: Tensor, rate: int = 8000) -> None:
    "Write sound (n,) in [-1, 1] to a WAV file, whole or not at all."
    write_whole(path, wave_bytes(x, rate))


def read_wave(path: str | Path) -> tuple[Tensor, int]:  # (n,) in [-1, 1], and samples a second
    "Read a WAV file of one channel of 16 bits."
    path = Path(path)
    if path.stat().st_size > LARGEST:
        raise ValueError(f'{path} has {path.stat().st_size:,} bytes, expected at most {LARGEST:,}')
    try:
        with wave.open(str(path), 'rb') as file:
            if file.getparams()[:2] != (1, 2):
                raise ValueError(f'it has {file.getnchannels()} channels of {8 * file.getsampwidth()} bits, expected 1 of 16')
            data, rate = file.readframes(file.getnframes()), file.getframerate()
    except (wave.Error, EOFError, ValueError) as error:
        raise ValueError(f'{path} is not read: {error}') from error
    if not data:
        raise ValueError(f'{path} holds no samples')
    return torch.frombuffer(bytearray(data), dtype=torch.int16).float() / 32767, rate


def player(x: Tensor, rate: int, label: str) -> str:
    "A piece of HTML that plays a sound; the label is read to who does not see it."
    data = base64.b64encode(wave_bytes(x, rate)).decode()
    return f'<audio controls preload="none" aria-label="{label}" src="data:audio/wav;base64,{data}"></audio>'
