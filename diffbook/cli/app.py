"""The command line: its app, what its commands share, and how it ends."""

import json
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from diffbook.data import Dataset


app = typer.Typer(
    name='diffbook', add_completion=False, rich_markup_mode='markdown', pretty_exceptions_enable=False,
    context_settings={'help_option_names': ['-h', '--help']},
)  # fmt: skip
ROOT_HELP = 'Where data sets lie; else DIFFBOOK_DATA, else a cache folder.'
Seed = Annotated[int, typer.Option(help='Seed of everything random.')]
Device = Annotated[str | None, typer.Option(help='cuda, mps or cpu; by default the best there is.')]
Ground = Annotated[str, typer.Option(help='Colour behind pictures that are transparent: a name, or #rrggbb.')]
DataRoot = Annotated[Path | None, typer.Option(help=ROOT_HELP)]


VOICE = {'quiet': False, 'json': False}  # what --quiet and --json ask of `say`


def say(text: str) -> None:
    "Print a line at once, unless it was asked for silence or for JSON."
    if not any(VOICE.values()):
        print(text, flush=True)


def quiet() -> bool:
    "Whether nothing but results and errors is to be shown."
    return any(VOICE.values())


def report(**found: Any) -> None:
    "Print what a command did as one JSON object on a line, if --json is given."
    if VOICE['json']:
        print(json.dumps(found, ensure_ascii=False, default=str), flush=True)


def note(text: str) -> None:
    "Print a line that is no result: what was assumed, cut off or not understood. Also under --quiet: it may matter."
    print(f'note: {" ".join(text.split())}', file=sys.stderr, flush=True)


@contextmanager
def noted() -> Iterator[None]:
    "Print warnings as notes, each once."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', UserWarning)
        yield
    for text in dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)):
        note(text.replace('text 0: ', 'the prompt: ', 1))


def quote(text: object) -> str:
    "A word of a command, for a shell: a caption that a stranger wrote is no command."
    return shlex.quote(str(text))


def at_least(name: str, value: float | None, least: float) -> None:
    "Refuse an option that is too small."
    if value is not None and not value >= least:
        raise ValueError(f'{name} is {value}, expected at least {least}')


def at_most(name: str, value: float | None, most: float) -> None:
    "Refuse an option that is too large."
    if value is not None and not value <= most:
        raise ValueError(f'{name} is {value}, expected at most {most:,}')


def check_text(name: str, text: str | None) -> None:
    "Refuse a text that no model should be given."
    if text is not None:
        from diffbook.store.captions import check_caption

        check_caption(text, name)


def show_version(wanted: bool) -> None:
    if wanted:
        from diffbook import __version__

        print(f'diffbook {__version__}')
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option('--debug', help='Show the whole traceback of an error.')] = False,
    quiet: Annotated[bool, typer.Option('--quiet', help='Show no bars and no lines: only notes, errors and what was asked for.')] = False,
    json: Annotated[bool, typer.Option('--json', help='Of train, sample, evaluate, export and push: print one JSON object of what was done, and no lines.')] = False,
    version: Annotated[bool, typer.Option('--version', help='Print the version.', is_eager=True, callback=show_version)] = False,
) -> None:
    """Learn diffusion models: train one, sample from it, measure it.

    Example: `diffbook train --data shapes --out runs/shapes --minutes 5`, then `diffbook sample runs/shapes --out shapes.png`

    --debug, --quiet and --json may stand anywhere.
    """


def finite(images: 'Tensor') -> 'Tensor':
    "Refuse samples that are no pictures."
    import torch

    if not torch.isfinite(images).all():
        raise ValueError(f'{(~torch.isfinite(images)).flatten(1).any(1).sum().item()} of {len(images)} samples are not finite; the model is broken')
    return images


def load_images(name: str, split: str, root: Path | None, size: int | None, **own: Any) -> 'Dataset':
    "Load a data set for a command; `own` says how a folder is read."
    from diffbook.data import load_data

    at_least('--size', size, 8)
    if size is not None and name in ONE_SIZE:
        raise ValueError(f'--size is {size}, and {name} has one size; expected --size only with shapes, emoji or a folder')
    with noted():
        return load_data(name, split, root, size=size, **own)
ONE_SIZE = ('fashion-mnist', 'mnist', 'cifar10')


ANYWHERE = ('--debug', '--quiet', '--json')


def main(argv: list[str] | None = None) -> None:
    "Run the command line: exit code 2 and one line on bad input, the traceback with --debug, 130 on Ctrl-C."
    argv = sys.argv[1:] if argv is None else list(argv)
    debug, VOICE['quiet'], VOICE['json'] = (flag in argv for flag in ANYWHERE)
    try:
        code = app([a for a in argv if a not in ANYWHERE] or ['--help'], prog_name='diffbook', standalone_mode=False)
        raise SystemExit(code if isinstance(code, int) else 0)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f'diffbook: {message(error, argv)}', file=sys.stderr)
        raise SystemExit(2) from None


def message(error: Exception, argv: list[str]) -> str:
    "One line that says what went wrong."
    usage = callable(getattr(error, 'format_message', None))  # typer's own errors
    text = error.format_message() if usage else str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f'{error.filename}: {error.strerror}' if error.filename else error.strerror
    given = [v for option, v in zip(argv, argv[1:]) if option in getattr(getattr(error, 'param', None), 'opts', ())]
    text = f'{text}, got {given[0]!r}' if usage and given else text
    expected = usage or isinstance(error, (ValueError, OSError, ArithmeticError))
    text = ' '.join(text.split()) if expected and text else f'{type(error).__name__}: {" ".join(str(error).split())} (--debug shows where)'
    shown = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)  # a file must not speak to the terminal
    return shown if len(shown) <= 2000 else f'{shown[:1000]} ... {shown[-900:]}'
