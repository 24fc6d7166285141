"""The command line: `diffbook train | sample | evaluate | data | convert | doctor | grade`."""

from diffbook.cli import app, data, evaluate, grade, sample, train  # noqa: F401  each adds its commands
from diffbook.cli.app import main

__all__ = ['main']

ORDER = ('train', 'sample', 'evaluate', 'data', 'convert', 'doctor', 'grade')  # in which `--help` lists them
app.app.registered_commands.sort(key=lambda command: ORDER.index(command.callback.__name__))
