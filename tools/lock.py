"""Write requirements.lock: one exact version of every package that the book and its tests need, for each Python.

    make lock                                   the newest of everything, into requirements.lock
    make lock ARGS="'torch<2.16'"               the newest that obeys a bound
    make lock ARGS="--oldest --out oldest.lock" the oldest that settings.ini claims, and the tools that test them

`make demo` and `make test` install from the file, so they do the same next month; `make test LOCK=oldest.lock
VENV=.venv-oldest` takes another, and `make test LOCK=` none. Needs uv, which is fetched into a temporary environment if
it is not installed.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ('requirements', 'hub_requirements', 'scale_requirements', 'parity_requirements')


def wanted(*keys: str) -> list[str]:
    "The requirements under these keys of settings.ini."
    config = ConfigParser(delimiters=['='])
    config.read(ROOT / 'settings.ini', encoding='utf-8')
    return [word for key in keys for word in shlex.split(config['DEFAULT'][key])]


def oldest(requirements: list[str]) -> list[str]:
    "Each with its floor as the one version: torch>=2.5 becomes torch==2.5."
    return [re.sub(r'>=([\w.]+).*', r'==\1', word) for word in requirements]


def compiler(folder: str) -> str:
    "uv: the one on the path, or else one in a temporary environment."
    if found := shutil.which('uv'):
        return found
    venv.create(folder, with_pip=True)
    (bin,) = (p for name in ('bin', 'Scripts') if (p := Path(folder) / name).is_dir())
    subprocess.run([bin / 'python', '-m', 'pip', 'install', '--quiet', 'uv'], check=True)
    return str(bin / 'uv')


def lock(bounds: list[str], floors: bool) -> str:
    "The text of the file."
    options = ['--no-annotate', '--no-header', '--no-emit-index-url', '--no-python-downloads', '--quiet']
    options += [] if floors else ['--universal']  # the oldest are for the oldest Python alone
    with tempfile.TemporaryDirectory() as folder:
        bounds_file = Path(folder) / 'bounds.txt'
        bounds_file.write_text('\n'.join([*bounds, *(oldest(wanted(*LIBRARY)) if floors else [])]))
        done = subprocess.run(
            [compiler(f'{folder}/uv'), 'pip', 'compile', *options, '--python-version', wanted('min_python')[0], '-c', bounds_file, '-'],
            input='\n'.join(wanted(*LIBRARY, 'dev_requirements', 'web_requirements')), capture_output=True, text=True, cwd=folder,
        )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    words = 'make lock' + (f' ARGS="{shlex.join(bounds)}"' if bounds else '')
    return f'# Exact versions of everything, for each Python. Written by: {words}\n{done.stdout}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bounds', nargs='*', help='versions to keep to, such as "torch<2.16"')
    parser.add_argument('--oldest', action='store_true', help='the oldest versions that settings.ini claims')
    parser.add_argument('--out', default='requirements.lock', help='the file to write')
    args = parser.parse_args()
    text = lock(args.bounds, args.oldest)
    (ROOT / args.out).write_text(text, encoding='utf-8', newline='\n')
    print(f'{args.out}: {len(text.splitlines()) - 1} lines')


if __name__ == '__main__':
    main()
