"""The command line: `diffbook train | sample | evaluate | export | push | data | convert | doctor | grade | completion`."""

from diffbook.cli import app, completion, data, evaluate, export, grade, push, sample, train  # noqa: F401  each adds its commands
from diffbook.cli.app import main

__all__ = ['main']

ORDER = ('train', 'sample', 'evaluate', 'export', 'push', 'data', 'convert', 'doctor', 'grade', 'completion')  # in which `--help` lists them
app.app.registered_commands.sort(key=lambda command: ORDER.index(command.callback.__name__))
