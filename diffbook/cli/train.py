"""`diffbook train`: train a model on images, and save it on the way, at the end and when it is stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from diffbook.cli.app import DataRoot, Device, Ground, Seed, app, at_least, at_most
from diffbook.cli.config import configured
from diffbook.cli.logs import LOGS, check_log
from diffbook.cli.running import run
from diffbook.runs import CHANGES

RECIPE_NAMES = ('fashion-mnist', 'fashion-mnist-flow', 'fashion-mnist-small', 'fashion-mnist-fine', 'shapes', 'shapes-first-tower', 'emoji-latent', 'emoji-64', 'spoken-digits', 'spoken-digits-wave', 'demo')
METHOD_NAMES = ('flow', 'edm', 'consistency', 'meanflow')
WORDS = {'fit': ('centre', 'pad', 'random'), 'captions': ('metadata', 'txt', 'names'), 'prediction': ('v', 'x0'), 'rate': ('falling', 'constant'), 'optimizer': ('adamw', 'muon')}
LEAST = {'steps': 1, 'batch_size': 1, 'save_every': 1, 'sample_every': 1, 'accumulate': 1, 'depth': 1, 'patch': 1, 'lora': 1, 'warmup': 0, 'weight_decay': 0, 'drop': 0, 'dropout': 0}


@app.command()
def train(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help='Folder for the model and its checkpoints.')],
    data: Annotated[str | None, typer.Option(help='shapes, fashion-mnist, mnist, cifar10, emoji, or a folder of images, which is looked at first: what is not said is chosen for it.')] = None,
    plan: Annotated[bool, typer.Option('--plan', help='Of a folder: say what was found and what would be trained, and stop.')] = False,
    config: Annotated[Path | None, typer.Option(help='Take options from a file, such as the run.toml of another run; what is typed beside it wins.')] = None,
    recipe: Annotated[str | None, typer.Option(help=f'A recipe of the zoo, by name: {", ".join(RECIPE_NAMES)}. Gives data, network, loss and optimiser; what is typed beside it wins.')] = None,
    method: Annotated[str | None, typer.Option(help=f'Another way to learn the same pictures, one of {", ".join(METHOD_NAMES)}: flow is the velocity of straight paths, edm the preconditioned target of EDM, consistency the end of each path (draw with --solver renoise), meanflow a flow map (draw with --solver jump). Default: v on the cosine schedule, of named data with --text x0, or as the recipe says.')] = None,
    steps: Annotated[int | None, typer.Option(help='Updates to make. Default 3000; of a folder, 15 minutes.')] = None,
    minutes: Annotated[float | None, typer.Option(help='Train for so long instead.')] = None,
    resume: Annotated[bool, typer.Option('--resume', help='Continue the run in --out, with the options that it has; a run that is done, for more --minutes or --steps.')] = False,
    change: Annotated[str, typer.Option(help=f'With --resume: options that are to differ from here on, some of {", ".join(CHANGES).replace("_", "-")}, with commas between.')] = '',
    init: Annotated[str | None, typer.Option(help='Begin with the weights of a model, a folder or a name in the zoo, as far as they fit (fine-tuning).')] = None,
    lora: Annotated[int | None, typer.Option(help='With --init: leave that model as it is, and train changes of this rank beside its layers (LoRA), which are all that is saved.')] = None,
    text: Annotated[bool | None, typer.Option('--text/--no-text', help='Learn to draw what captions say: of shapes, emoji and a folder. By default of a folder without classes that has a metadata table.')] = None,
    captions: Annotated[str | None, typer.Option(help='Where the captions of a folder are: metadata (metadata.jsonl or .csv with file_name and text), txt (a text file beside each image) or names (of the files).')] = None,
    class_folders: Annotated[bool | None, typer.Option('--class-folders/--no-class-folders', help='Learn to draw by class: sub-folders are classes. By default of a folder that has two or more, without --text.')] = None,
    size: Annotated[int | None, typer.Option(help='Side of drawn shapes (default 32), of emoji (64) or of the images of a folder (their own, up to 64, if there is time).')] = None,
    fit: Annotated[str, typer.Option(help='How images of a folder become squares: centre cuts out the middle, pad adds --ground, random sees another window each time.')] = 'centre',
    flip: Annotated[bool, typer.Option('--flip', help='See mirror images too.')] = False,
    grey: Annotated[bool | None, typer.Option('--grey/--no-grey', help='Read a folder in grey; by default if no image in it has colour.')] = None,
    ground: Ground = 'white',
    skip_broken: Annotated[bool, typer.Option('--skip-broken', help='Leave out the images of a folder that cannot be read, and count them.')] = False,
    width: Annotated[int, typer.Option(help='Channels of the finest level of the U-Net. Default 64; of a folder, what there is time for; of fashion-mnist 32.')] = 64,
    depth: Annotated[int | None, typer.Option(help='Residual blocks of the coarser level.')] = None,
    patch: Annotated[int | None, typer.Option(help='Side of the squares of pixels that the network sees as one cell.')] = None,
    batch_size: Annotated[int, typer.Option(help='Images an update. Default 64; of a folder 32 or more; of fashion-mnist 32.')] = 64,
    lr: Annotated[float, typer.Option(help='The highest learning rate. Default 0.001; of a folder 0.002, with --init 0.0005; of fashion-mnist 0.006.')] = 1e-3,
    rate: Annotated[str, typer.Option(help='falling: the learning rate falls to 0 at the end, along half a cosine; constant.')] = 'falling',
    warmup: Annotated[int | None, typer.Option(help='Updates on the way up to the highest rate: 100, or a tenth of fewer than 1000.')] = None,
    optimizer: Annotated[str | None, typer.Option(help='What moves the weights: adamw, or muon, which orthogonalises the steps of matrices and suits rates of about 0.006 (chapter 27). Default muon for fashion-mnist, unless a method, classes or another network is asked for; else adamw, or as the recipe says.')] = None,
    weight_decay: Annotated[float | None, typer.Option(help='Of the optimizer. Default 0; of a folder 0.01.')] = None,
    ema: Annotated[float, typer.Option(help='Decay of the averaged weights.')] = 0.999,
    prediction: Annotated[str | None, typer.Option(help='What the network predicts: v, or x0, the default of a folder.')] = None,
    snr_weight: Annotated[bool | None, typer.Option('--snr-weight/--no-snr-weight', help='Weigh the error by the signal-to-noise ratio, up to a limit; by default with x0.')] = None,
    drop: Annotated[float | None, typer.Option(help='How likely an image is to lose its class or caption, which guidance needs: 0.1.')] = None,
    dropout: Annotated[float, typer.Option(help='Share of activations silenced in training.')] = 0.0,
    save_every: Annotated[int, typer.Option(help='Updates between two checkpoints; the model is also published once a minute.')] = 500,
    sample_every: Annotated[int | None, typer.Option(help='Updates between two sheets of samples, in samples/; by default about eight in a run.')] = None,
    log: Annotated[str | None, typer.Option(help=f'Keep the log there besides: {", ".join(LOGS)}, by the package of that name; training.csv is always written.')] = None,
    bf16: Annotated[bool | None, typer.Option('--bf16/--no-bf16', help='Compute in bfloat16; by default on a GPU.')] = None,
    compile: Annotated[bool, typer.Option('--compile', help='Compile the network first (minutes).')] = False,
    accumulate: Annotated[int | None, typer.Option(help='Parts that a batch is computed in, one after the other, to save memory.')] = None,
    shard: Annotated[bool | None, typer.Option('--shard/--no-shard', help='Split the weights among the processes (FSDP2).')] = None,
    timeout: Annotated[float, typer.Option(help='Seconds after which a process gives up waiting for another.')] = 60.0,
    device: Device = None,
    data_root: DataRoot = None,
    seed: Seed = 0,
) -> None:
    """Train a model on images, and save it on the way, at the end and when it is stopped.

    Example: `diffbook train --data my/pictures --out runs/own --minutes 15`, on your own pictures; with --plan it only says what it would do. Sub-folders are classes: `diffbook sample runs/own --class three --out three.png`

    On published ones: `diffbook train --data fashion-mnist --out runs/mine --minutes 20`

    With captions: `diffbook train --data shapes --text --out runs/text --minutes 15`

    By a recipe of the zoo: `diffbook train --recipe fashion-mnist --out runs/garments`; by flow matching: `diffbook train --data fashion-mnist --method flow --out runs/flow --minutes 20`

    To draw in one to four steps: `... --method meanflow --out runs/map`, then `diffbook sample runs/map --solver jump --steps 2 --out out.png`

    To begin with a model: `diffbook train --data my/garments --init fashion-mnist --out runs/tuned --minutes 5`

    To change it in few numbers: `... --init shapes --lora 4 --out runs/style`, then `diffbook sample shapes --lora runs/style:0.8 --out out.png`

    To go on: `diffbook train --out runs/mine --resume --minutes 20`, `... --resume --steps 6000`, or `... --resume --lr 3e-4 --change lr`

    On several devices: `torchrun --nproc-per-node 2 -m diffbook.cli train --data shapes --out runs/two`, or `accelerate launch -m diffbook.cli train ...`

    Writes the averaged model (model.safetensors, config.json), which can be used from the first seconds on; training.csv; samples/, sheets from the same noise;
    run.toml, the options, for --config; and checkpoints/ from which --resume continues bit for bit.
    More --steps than a run had are made at the learning rate that a run of so many has at these steps.
    """
    given, values = configured(ctx, config)
    check(values)
    run(out, given, values)


def check(values: Mapping[str, Any]) -> None:
    "Refuse values that no run can have, before anything is read."
    if values['steps'] is not None and values['minutes'] is not None:
        raise ValueError('both --steps and --minutes are given, expected one of them')
    for name, least in LEAST.items():
        at_least(f'--{name.replace("_", "-")}', values[name], least)
    for name in ('drop', 'dropout'):
        at_most(f'--{name}', values[name], 1)
    for name, words in WORDS.items():
        if values[name] is not None and values[name] not in words:
            raise ValueError(f'--{name} is {values[name]}, expected {", ".join(words)}')
    if values['minutes'] is not None and not 0 < values['minutes'] < float('inf'):
        raise ValueError(f'--minutes is {values["minutes"]}, expected a positive number')
    check_log(values['log'])
    if values['lora'] and not values['resume'] and (values['init'] is None or values['shard']):
        raise ValueError(f'--lora is {values["lora"]}, expected a model to change as --init' + ', and no --shard' * bool(values['shard']))
    if values['captions'] is not None and values['text'] is False:
        raise ValueError(f'--captions is {values["captions"]}, and --no-text is given; expected one of them')
