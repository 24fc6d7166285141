"""The command line: `diffbook train | sample | evaluate | data | convert | doctor`."""

from diffbook.cli import app, data, evaluate, sample, train  # noqa: F401  each adds its commands
from diffbook.cli.app import main

__all__ = ['main']

ORDER = ('train', 'sample', 'evaluate', 'data', 'convert', 'doctor')  # in which `--help` lists them
app.app.registered_commands.sort(key=lambda command: ORDER.index(command.callback.__name__))
