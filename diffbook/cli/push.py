"""`diffbook push`: a model on the Hub."""

from typing import Annotated

import typer

from diffbook.cli.app import app, report, say


@app.command()
def push(
    model: Annotated[str, typer.Argument(help='A folder that `train` wrote, or a name in the zoo.')],
    name: Annotated[str, typer.Argument(help='What it is to be called on the Hub: user/name.')],
    private: Annotated[bool, typer.Option('--private', help='Only for you and those whom you let in.')] = False,
    message: Annotated[str, typer.Option(help='What is said of this state.')] = 'A model of diffbook',
) -> None:
    """Put a model on the Hub of Hugging Face: weights, configuration and a card, in one commit.

    Example: `diffbook push runs/own somebody/own --private`

    It needs the package huggingface_hub, and a login (`hf auth login`). The README.md in the folder of the model is its card; without one, a card is written.

    Anybody then draws from it: `diffbook sample somebody/own --out out.png`, or, from this state for ever, by the name with @ and its revision, which is printed.
    """
    from diffbook.hub import push as publish

    done = publish(model, name, private=private, message=message)
    say(f'{model} is at {done.url}\nTo load this state, and no later one: load("{done.name}@{done.revision}")')
    report(name=done.name, revision=done.revision, url=done.url)
