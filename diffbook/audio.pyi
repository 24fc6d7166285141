# Written by tools/stubs.py from the module beside it.

from collections.abc import Iterator, Sequence
from pathlib import Path
import torch
from torch import Tensor, nn
from .conditioning import Conditioner
from .core import Cond, DenoiseFn, Time
from .data import Dataset
from .predictions import Prediction
from .schedules import Schedule
from typing import Any

__all__ = ['RATE', 'DIGITS', 'SPEAKERS', 'even_clip', 'load_waves', 'load', 'stft', 'istft', 'mel_filters', 'LogMel', 'SoundJudge', 'griffin_lim', 'SpokenConditioner', 'read_prompt', 'StationaryProcess', 'compand', 'expand', 'fold_wave', 'unfold_wave']

def even_clip(x: Tensor, length: int=6144, loudness: float=0.1, floor: float=0.01) -> Tensor:
    """Cut silence off both ends, bring the rest to one loudness, and lay it in the middle of silence.

    x: (n,) samples
    length: of what is given back
    loudness: root mean square where there is sound
    floor: of the loudest moment: what is less stands for silence
    returns: (length,)
    """
    ...

RATE: int

DIGITS: tuple[Any, ...]

SPEAKERS: tuple[Any, ...]

def load_waves(split: str='train', root: str | Path | None=None) -> tuple[Tensor, Tensor]:
    """Read the spoken digits, each brought to one length and loudness; the first five of each digit and speaker are the test.

    returns: (n, 6144), (n, 2) digit and speaker
    """
    ...

def load(split: str='train', root: str | Path | None=None) -> Dataset:
    """Read the spoken digits as pictures of their loudness, in bytes."""
    ...

def stft(x: Tensor, size: int=512, hop: int=192) -> Tensor:
    """Cut sound into windows that overlap, fade each in and out, and give the Fourier coefficients of each (eq-audio-stft).

    x: (..., n) samples, n a multiple of hop
    size: samples that a window sees
    hop: samples from one window to the next
    returns: (..., n / hop, size / 2 + 1) complex
    """
    ...

def istft(X: Tensor, hop: int=192) -> Tensor:
    """Give the sound whose windows are nearest to these, in the least-squares sense (Griffin and Lim 1984; eq-audio-istft).

    X: (b, frames, size / 2 + 1) complex
    returns: (b, frames * hop)
    """
    ...

def mel_filters(bins: int=32, size: int=512, rate: int=8000) -> Tensor:
    """Give triangles that are evenly spaced on the mel scale, from 0 to half the rate (eq-audio-mel).

    bins: bands
    size: samples of a window
    rate: samples a second
    returns: (bins, size / 2 + 1) float64, each row sums to 1
    """
    ...

class LogMel(nn.Module):
    """Turn sound into pictures of loudness over time and pitch in [-1, 1], and such pictures into sound: a codec, without weights."""
    bins: int
    size: int
    hop: int
    rate: int
    top: float
    depth: float
    def __init__(self, bins: int=32, size: int=512, hop: int=192, rate: int=8000, top: float=24.0, depth: float=60.0) -> None:
        """rate: samples a second"""
        ...
    def encode(self, x: Tensor) -> Tensor:
        """Give the loudness of each band in decibels, scaled and clipped (eq-audio-log-mel).

        returns: (b, n) -> (b, 1, bins, n / hop), low pitch in the first row
        """
        ...
    def magnitude(self, picture: Tensor, steps: int=30) -> Tensor:
        """Find magnitudes, none below zero, that these bands would hear (updates of Lee and Seung 2000).

        returns: (b, 1, bins, frames) -> (b, frames, size / 2 + 1)
        """
        ...
    def decode(self, picture: Tensor, steps: int=32) -> Tensor:
        """Make a picture sound.

        returns: (b, 1, bins, frames) -> (b, frames * hop)
        """
        ...

class SoundJudge(nn.Module):
    """Hear which digit is spoken, or who speaks: three convolutions on the picture of loudness, and a mean over time and pitch."""
    view: LogMel
    layers: nn.Sequential
    head: nn.Linear
    def __init__(self, answers: int=..., channels: tuple[int, ...]=...) -> None: ...
    def forward(self, picture: Tensor) -> Tensor:
        """returns: (b, 1, bins, frames) -> (b, answers)"""
        ...
    def listen(self, x: Tensor) -> Tensor:
        """Say what is heard, whatever the loudness of the sound.

        returns: (b, n) sound -> (b,) the number of the answer
        """
        ...

def griffin_lim(magnitude: Tensor, hop: int=192, steps: int=32, *, momentum: float=0.0, seed: int=0) -> Iterator[Tensor]:
    """Find a sound with these magnitudes: put them in, make it sound, listen, and again (Griffin and Lim 1984; eq-audio-griffin-lim).

    magnitude: (b, frames, size / 2 + 1)
    momentum: 0.99 arrives earlier (Perraudin et al. 2013), and may rise on its way
    seed: of the phases at the start
    returns: (b, frames * hop), a sound at each step
    """
    ...

class SpokenConditioner(Conditioner):
    """Add the vectors of a digit and of a speaker; one more row of each table says nothing."""
    digits: nn.Embedding
    speakers: nn.Embedding
    def __init__(self, dim: int) -> None: ...
    def forward(self, raw: Tensor | Sequence[str]) -> Cond:
        """returns: (b, 2) numbers of digit and speaker, or prompts -> vec (b, dim)"""
        ...
    def null(self, n: int) -> Cond: ...

def read_prompt(text: str, turn: int=0) -> tuple[int, int]:
    """Find the one digit and the speaker in a prompt; raise a ValueError that names what was not understood.

    text: such as `seven`, `7` or `seven by theo`
    turn: who speaks where the prompt names nobody: they take turns
    returns: numbers of the digit and of the speaker
    """
    ...

class StationaryProcess:
    """A Gaussian process on a circle of n samples, told by its power spectrum: the variance of each Fourier coefficient."""
    power: Any
    n: Any
    def __init__(self, power: Tensor) -> None: ...
    def sample(self, count: int, generator: torch.Generator | None=None) -> Tensor:
        """Draw sounds: filter white noise with the root of the spectrum.

        returns: (count, n)
        """
        ...
    def filter(self, x: Tensor, gain: Tensor) -> Tensor:
        """Multiply each frequency of a sound by a gain.

        returns: (b, n); (n / 2 + 1,), or a row for each
        """
        ...
    def covariance(self) -> Tensor:
        """The covariance of the samples: each row is the one before, moved by one (eq-audio-circulant).

        returns: (n, n)
        """
        ...
    def wiener(self, schedule: Schedule, t: Time) -> Tensor:
        """The gain of the exact denoiser at each frequency (Wiener 1949; eq-audio-wiener).

        returns: (n / 2 + 1,) or (b, n / 2 + 1)
        """
        ...
    def denoise(self, schedule: Schedule) -> DenoiseFn:
        """The exact E[x0 | x_t]."""
        ...
    def loss_floor(self, schedule: Schedule, t: Time, prediction: Prediction) -> float:
        """The loss that no denoiser can beat at time `t` (eq-audio-floor).

        returns: per sample
        """
        ...

def compand(x: Tensor, mu: float=255.0) -> Tensor:
    """Spread quiet samples out, as telephones do (eq-audio-compand).

    returns: [-1, 1] to [-1, 1]
    """
    ...

def expand(y: Tensor, mu: float=255.0) -> Tensor:
    """Undo `compand`."""
    ...

def fold_wave(x: Tensor, fold: int=16, rows: int=16) -> Tensor:
    """Lay samples out as a picture: `fold` neighbours are the channels of one place, and a row follows the one before.

    returns: (b, n) -> (b, fold, rows, n / fold / rows)
    """
    ...

def unfold_wave(x: Tensor) -> Tensor:
    """Undo `fold_wave`.

    returns: back to (b, n)
    """
    ...
