"""`diffbook sample` of a model that speaks: a prompt becomes a WAV file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffbook.cli.app import note, report, say
from diffbook.cli.models import open_model

if TYPE_CHECKING:
    import torch

NAMES = {'digits': 'spoken-digits'}  # short for a model of the zoo
PAUSE, LOUDEST = 0.15, 0.9  # seconds between two sounds of one file; the largest sample


def speaks(model: str) -> bool:
    "Whether the name, or the folder, is that of a model of spoken digits."
    from diffbook.store.files import read_json
    from diffbook.training import find_model

    try:
        said: Any = read_json(find_model(NAMES.get(model, model)) / 'config.json')
    except (OSError, ValueError):  # said better where it is opened
        return False
    for part in ('model', 'conditioner', 'type'):
        said = said.get(part) if isinstance(said, dict) else None
    return said == 'SpokenConditioner'


def speak(
    model: str, prompt: str | None, out: Path, n: int | None, steps: int | None, walk: tuple[str | None, str | None, float],
    guidance: float | None, device: str | None, seed: int, others: dict[str, Any],
) -> None:  # fmt: skip
    "Draw n sounds of a prompt; one file holds them in a row, a folder each as a file of its own."
    import torch

    from diffbook.audio import DIGITS, RATE, SPEAKERS, LogMel, read_prompt
    from diffbook.guidance import guide
    from diffbook.store.files import make_folder
    from diffbook.store.sound import write_wave

    for option, value in others.items():
        if value:
            raise ValueError(
                f'{option} is {value}, and {model} speaks; expected --prompt, --n, --steps, --solver, --grid, --churn, --guidance, --seed and --out with a .wav file or a folder'
            )
    if out.suffix and (out.suffix.lower() != '.wav' or out.is_dir()):
        raise ValueError(f'--out is {out}, and {model} speaks; expected a file that ends in .wav, or the name of a folder, for single files')
    if prompt is None or not prompt.strip():
        raise ValueError(f'{model} waits for a word; expected --prompt with one of {", ".join(DIGITS)}, alone or with a speaker: "seven by theo"')
    if guidance is not None and not -1e6 < guidance < 1e6:
        raise ValueError(f'--guidance is {guidance}, expected a finite number: 1 is off, 2 to 4 are usual')
    n, (solver, grid, churn) = n or 1, walk
    pairs = torch.tensor([read_prompt(prompt, i) for i in range(n)])
    opened = open_model(NAMES.get(model, model), device, None, solver or 'dpmpp_2m', grid, churn)
    scale, steps = 2.0 if guidance is None else guidance, steps or 12
    with torch.inference_mode():
        cond, null = opened.model.condition(pairs), opened.model.null(1)
        stage = replace(opened.stage, denoise=guide(opened.model, null, scale)) if scale != 1 else opened.stage
        pictures = stage.draw(n, cond, steps=steps, seed=seed, device=opened.device, progress=n > 1)
        sounds = torch.cat([LogMel().decode(part.cpu().float()) for part in pictures.split(64)])
    if not torch.isfinite(sounds).all():
        raise FloatingPointError('the sound is not finite; try a smaller --guidance or more --steps')
    sounds = sounds * (LOUDEST / sounds.abs().amax(1, keepdim=True).clamp(min=1e-3)).clamp(max=6.0)
    told = [f'{DIGITS[d]}-{SPEAKERS[s]}' for d, s in pairs.tolist()]
    if out.suffix:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_wave(out, in_a_row(sounds, RATE), RATE)
        files = [out]
    else:
        make_folder(out)
        files = [out / f'{i:0{len(str(n - 1))}}-{name}.wav' for i, name in enumerate(told)]
        for file, sound in zip(files, sounds):
            write_wave(file, sound, RATE)
    if len(prompt.split()) == 1:
        note(f'no speaker is named: {", ".join(dict.fromkeys(SPEAKERS[s] for s in pairs[:, 1].tolist()))}' + ' in turn' * (n > 1))
    say(f'{n} sound{"s" * (n != 1)} in {out}')
    report(
        files=[str(file) for file in files],
        sounds=n,
        rate=RATE,
        samples=[sounds.shape[1]] * n,
        told=told,
        model=model,
        prompt=prompt,
        guidance=scale,
        steps=steps,
        seed=seed,
    )


def in_a_row(sounds: 'torch.Tensor', rate: int) -> 'torch.Tensor':  # (n, length) -> (m,)
    "Lay sounds one behind the other, with a pause between two."
    from torch.nn.functional import pad

    pause = round(PAUSE * rate) if len(sounds) > 1 else 0
    return pad(sounds, (0, pause)).flatten()[: len(sounds) * (sounds.shape[1] + pause) - pause]
