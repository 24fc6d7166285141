"""Count what the judges hear in spoken digits: real ones by way of several representations, and those that are drawn.

    python tools/measure_audio.py                          # all parts below
    python tools/measure_audio.py representations          # what is lost between a recording and its way back
    python tools/measure_audio.py spectrum                 # the mean spectrum of the recordings, and the floors of its process
    python tools/measure_audio.py obedience --model spoken-digits
    python tools/measure_audio.py arms --spectrogram runs/spoken-digits-short --wave runs/spoken-digits-wave

Needs the data: diffbook data spoken-digits --download. Writes diffbook/measured/audio.json; a part that is measured again
replaces its own entry; obedience of the model of the zoo is its report too. Every drawn sound goes the whole way: picture, magnitudes, phases, samples of 16 bits, and only then
to a judge. Shares have n trials; a seed is one set of noises, of one model.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffbook.audio import DIGITS, LogMel, SoundJudge, StationaryProcess, compand, expand, griffin_lim, load, load_waves, stft, unfold_wave
from diffbook.conditioning import Conditional
from diffbook.data import from_model, to_model
from diffbook.guidance import guide
from diffbook.metrics import zoo_entry
from diffbook.multistep import dpmpp_2m
from diffbook.predictions import predict_x0
from diffbook.samplers import uniform_times
from diffbook.schedules import KarrasSchedule
from diffbook.stages import Stage
from diffbook.training import load as load_model
from diffbook.training import read_model

OUT = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured' / 'audio.json'
STEPS = 12
PAIRS = torch.cartesian_prod(torch.arange(10), torch.arange(6))  # every digit by every speaker


def through_bits(x: Tensor) -> Tensor:
    "Sound as a file of 16 bits keeps it."
    return (x.clamp(-1, 1) * 32767).round() / 32767


class Listener:
    "The two judges, and the shares that they hear rightly."

    def __init__(self) -> None:
        self.digit: SoundJudge = load_model('digit-judge').float()
        self.speaker: SoundJudge = load_model('speaker-judge').float()

    def __call__(self, x: Tensor, labels: Tensor) -> dict[str, Any]:
        good = x.abs().amax(1) > 1e-4  # what is silent is heard as nothing
        heard = [torch.full((len(x),), -1), torch.full((len(x),), -1)]
        for said, judge in zip(heard, (self.digit, self.speaker)):
            said[good] = judge.listen(through_bits(x[good]))
        right = [(said == labels[:, k]).float() for k, said in enumerate(heard)]
        return {'digit': right[0].mean().item(), 'speaker': right[1].mean().item(), 'both': (right[0] * right[1]).mean().item(), 'heard': heard[0]}


def plain(row: dict[str, Any]) -> dict[str, float]:
    return {k: round(v, 4) for k, v in row.items() if k != 'heard'}


@torch.inference_mode()
def representations(listen: Listener, a: argparse.Namespace) -> dict[str, Any]:
    "What the judges hear of the recordings of the test, after each way there and back."
    x, labels = (v[:: max(1, 300 // a.n)] for v in load_waves('test', a.data_root))
    view, magnitude = LogMel(), stft(x).abs()

    def back(magnitude: Tensor, steps: int = 32, momentum: float = 0.99) -> Tensor:
        *_, y = griffin_lim(magnitude, 192, steps, momentum=momentum)
        return y

    ways: dict[str, Callable[[], Tensor]] = {
        'samples': lambda: x,
        'companded to bytes': lambda: expand(to_model(from_model(compand(x)))),
        'magnitudes, phases found': lambda: back(magnitude),
        '32 bands': lambda: view.decode(view.encode(x)),
        '32 bands in bytes': lambda: view.decode(to_model(from_model(view.encode(x)))),
        '32 bands, random phases': lambda: view.decode(view.encode(x), steps=1),
    }
    for bins in (16, 8, 4):
        ways[f'{bins} bands'] = lambda bins=bins: LogMel(bins).decode(LogMel(bins).encode(x))
    off = LogMel(rate=16000)  # the filters of another rate: the mistake of a mel range that does not match
    ways['32 bands, decoded by the filters of another rate'] = lambda: off.decode(view.encode(x))
    rows = {name: plain(listen(way(), labels)) for name, way in ways.items()}
    return {'n': len(x), 'shares': rows, 'trained': {k: load_model(f'{k}-judge').about['test'] for k in ('digit', 'speaker')}}


def spectrum(listen: Listener, a: argparse.Namespace) -> dict[str, Any]:
    "The mean power of the recordings at each frequency, where there is sound, scaled to a variance of 1; and what floors it has beside white noise."
    x, _ = load_waves('train', a.data_root)
    power = stft(x).abs().square()
    power = power[power.sum(-1) > 1e-3 * power.sum(-1).amax()].mean(0).double()
    whole = StationaryProcess(power)
    power = power / whole.covariance()[0, 0]
    process, white = StationaryProcess(power), StationaryProcess(torch.ones_like(power))
    levels = [0.03, 0.1, 0.3, 1.0, 3.0]
    floors = {name: [round(law.loss_floor(KarrasSchedule(), s, predict_x0), 5) for s in levels] for name, law in (('speech', process), ('white', white))}
    ended = power.cumsum(0) / power.sum()
    kurtosis = ((x - x.mean(1, keepdim=True)) ** 4).mean(1) / x.var(1) ** 2
    return {
        'n': len(x), 'power': [float(f'{v:.4g}') for v in power.tolist()], 'levels': levels, 'floors': floors,
        'below_hertz': {'0.9': round(float((ended < 0.9).sum()) * 8000 / 512), '0.99': round(float((ended < 0.99).sum()) * 8000 / 512)},
        'kurtosis': round(kurtosis.median().item(), 2),
    }  # fmt: skip


def drawn(model: Conditional, pairs: Tensor, scale: float, seed: int, steps: int = STEPS) -> Tensor:
    "What the model draws, a sample for each pair of digit and speaker."
    with torch.inference_mode():
        cond, null = model.condition(pairs), model.null(1)
        denoise = guide(model, null, scale) if scale != 1 else model
        return Stage(denoise, model.schedule, tuple(model.about['shape']), uniform_times, dpmpp_2m).draw(len(pairs), cond, steps=steps, seed=seed, batch=60)


def decoder(model: Conditional) -> Callable[[Tensor], Tensor]:
    "What makes sound of what a model draws."
    return (lambda y: expand(unfold_wave(y.clamp(-1, 1)))) if model.about['shape'][0] > 1 else LogMel().decode


def nearest(x: Tensor, train: Tensor) -> Tensor:  # (n, d), (m, d) -> (n,)
    "The root mean square difference to the nearest of the training set."
    return torch.cat([torch.cdist(part, train).amin(1) for part in x.split(100)]) / x.shape[1] ** 0.5


@torch.inference_mode()
def obedience(listen: Listener, a: argparse.Namespace) -> dict[str, Any]:
    "How often the digit and the voice are heard that were asked for, by scale of guidance and by steps; and how near samples are to the training set."
    model = load_model(a.model).float()
    pairs, by_scale, heard = PAIRS.repeat(a.n // 60, 1), {}, {}
    pictures: dict[float, Tensor] = {}
    for scale in (1.0, 1.5, 2.0, 3.0, 5.0):
        rows = []
        for seed in range(a.seeds if scale == 2 else 1):
            y = drawn(model, pairs, scale, seed)
            pictures.setdefault(scale, y)
            rows.append(listen(decoder(model)(y), pairs))
            heard.setdefault(scale, rows[0]['heard'])
        by_scale[f'{scale:g}'] = {k: [round(row[k], 4) for row in rows] for k in ('digit', 'speaker', 'both')}
        print(scale, by_scale[f'{scale:g}'], flush=True)
    by_steps = {str(k): plain(listen(decoder(model)(drawn(model, pairs, 2.0, 0, k)), pairs)) for k in (4, 8)}
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    for asked, said in zip(pairs[:, 0].tolist(), heard[2.0].tolist()):
        confusion[asked, said] += said >= 0
    train, test = load('train', a.data_root), load('test', a.data_root)
    flat = to_model(train.images).flatten(1)
    far = {'test': nearest(to_model(test.images).flatten(1), flat)} | {f'{scale:g}': nearest(y.clamp(-1, 1).flatten(1), flat) for scale, y in pictures.items()}
    middle = {k: {'median': round(v.median().item(), 4), 'least': round(v.min().item(), 4)} for k, v in far.items()}
    about = {k: model.about[k] for k in ('steps', 'batch', 'images', 'processor_seconds', 'parameters')}
    return {'model': a.model, 'n': len(pairs), 'seeds': list(range(a.seeds)), 'steps': STEPS, 'solver': 'dpmpp_2m', 'by_scale': by_scale,
            'by_steps': by_steps, 'confusion': confusion.tolist(), 'digits': list(DIGITS), 'nearest': middle, 'about': about,
            'sha256': read_model(a.model)[0]['digest'][:16]}  # fmt: skip


@torch.inference_mode()
def arms(listen: Listener, a: argparse.Namespace) -> dict[str, Any]:
    "The same network on pictures of loudness and on the samples themselves, trained for the same time of the processor."
    rows: dict[str, Any] = {'n': a.n // 60 * 60, 'scale': 2.0, 'seeds': list(range(a.seeds))}
    pairs = PAIRS.repeat(a.n // 60, 1)
    for name, folder in (('spectrogram', a.spectrogram), ('wave', a.wave)):
        model = load_model(folder).float()
        found = [listen(decoder(model)(drawn(model, pairs, 2.0, seed)), pairs) for seed in range(a.seeds)]
        rows[name] = {k: [round(row[k], 4) for row in found] for k in ('digit', 'speaker', 'both')}
        rows[name] |= {k: model.about[k] for k in ('processor_seconds', 'images', 'steps', 'parameters')}
    return rows


PARTS = {part.__name__: part for part in (representations, spectrum, obedience, arms)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', choices=[*PARTS, []])
    parser.add_argument('--model', default='spoken-digits', help='a folder, or a name in the zoo')
    parser.add_argument('--spectrogram', default='runs/spoken-digits-short')
    parser.add_argument('--wave', default='runs/spoken-digits-wave')
    parser.add_argument('--n', type=int, default=300, help='recordings; samples for each scale, and at scale 2 for each seed, a multiple of 60')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--data-root')
    a = parser.parse_args()
    listen = Listener()
    for name in a.parts or PARTS:
        found = PARTS[name](listen, a)
        if name == 'obedience' and a.model == 'spoken-digits':
            report = {'command': 'python tools/measure_audio.py obedience', 'judge': zoo_entry('digit-judge')['sha256']} | found
            (OUT.parent.parent / 'zoo' / 'spoken-digits' / 'report.json').write_text(json.dumps(report, indent=1) + '\n')
        known = json.loads(OUT.read_text()) if OUT.exists() else {'command': 'python tools/measure_audio.py'}
        OUT.write_text(json.dumps({**known, name: found}, indent=1) + '\n')
        print(name, json.dumps(found)[:2000], flush=True)


if __name__ == '__main__':
    main()
