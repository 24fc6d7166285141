"""Write what is done with every setting of other libraries, by class and key, for the appendix to print.

    python tools/settings.py

reads the verdicts of diffbook.published and the signatures of the installed diffusers and transformers, and writes
diffbook/measured/settings.json. A key or a class without a verdict is an error, and the tests say so too.
"""

import inspect
import json
from pathlib import Path

import diffusers
import transformers

from diffbook.published.settings import SETTINGS, UNREAD

FILE = Path(__file__).parents[1] / 'diffbook' / 'measured' / 'settings.json'


def installed(name: str) -> set[str]:
    "The keys of a class, as the library that has it says today; nothing where no library has a class of this name."
    library = next((lib for lib in (diffusers, transformers) if name in dir(lib)), None)
    found = inspect.signature(getattr(library, name).__init__).parameters.values() if library else ()
    return {p.name for p in found if p.name != 'self' and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def table() -> dict:
    "What the file says, but for the versions."
    return {'classes': {name: dict(sorted(verdicts.items())) for name, verdicts in SETTINGS.items()}, 'refused': dict(sorted(UNREAD.items()))}


def main() -> None:
    "Write the table, with the versions whose signatures it covers."
    without = {name: sorted(installed(name) - set(verdicts)) for name, verdicts in SETTINGS.items()}
    if missing := {name: keys for name, keys in without.items() if keys}:
        raise SystemExit(f'no verdict for {missing}')
    versions = {lib.__name__: lib.__version__ for lib in (diffusers, transformers)}
    FILE.write_text(json.dumps({'command': 'python tools/settings.py', 'versions': versions, **table()}, indent=1) + '\n')


if __name__ == '__main__':
    main()
