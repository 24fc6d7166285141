"""The options of a run in a file: `run.toml`, which every run writes, and which `--config` reads.

A table of one level, `name = value`: texts in quotes, numbers, true and false. That much of TOML is read here, on every
Python that the book runs on; anything else is refused with its line.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

LINE = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(.+?)\s*')
LITERAL = re.compile(r"'([^']*)'\s*(?:#.*)?")
LONGEST = 1 << 20
KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', Path: 'a text in quotes', str: 'a text in quotes'}
NEVER = ('out', 'resume', 'change', 'config', 'plan', 'timeout')  # what a file does not say: where to write, and what is done this once


def read_config(path: Path) -> dict[str, Any]:
    "Read the options in a file, by the names that they have in Python."
    if (size := path.stat().st_size) > LONGEST:
        raise ValueError(f'--config is {path}, which has {size:,} bytes; expected at most {LONGEST:,}')
    try:
        lines = path.read_bytes().decode('utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f'--config is {path}, which is not UTF-8: {error}') from error
    found: dict[str, Any] = {}
    for k, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        where = f'{path}, line {k}'
        if not (match := LINE.fullmatch(line.strip())):
            raise ValueError(f'{where} is {line[:60]!r}, expected name = value')
        name = match[1].replace('-', '_')
        if name in found:
            raise ValueError(f'{where} says {match[1]} again')
        found[name] = value_of(match[2], where)
    return found


def value_of(text: str, where: str) -> Any:
    "A text, a number, true or false."
    if literal := LITERAL.fullmatch(text):
        return literal[1]
    try:
        value, end = json.JSONDecoder().raw_decode(text.replace('+', '', 1) if text.startswith('+') else text)
        rest = text[end:].strip()
    except (ValueError, RecursionError):
        value, rest = None, 'x'
    if (rest and not rest.startswith('#')) or not isinstance(value, (str, int, float, bool)):
        raise ValueError(f'{where} has the value {text[:60]!r}, expected a text in quotes, a number, true or false')
    return value


def configured(ctx: typer.Context, path: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:  # what was said, and the value of every option
    "Join the options that were typed with those of a file; what is typed wins."
    given = {name: value for name, value in ctx.params.items() if ctx.get_parameter_source(name).name != 'DEFAULT'}
    if path is None:
        return given, dict(ctx.params)
    known = {name: kind for name, kind in get_type_hints(ctx.command.callback).items() if name not in (*NEVER, 'ctx', 'return')}
    said = {}
    for name, value in read_config(path).items():
        if name not in known:
            raise ValueError(f'{path} says {name.replace("_", "-")}, expected some of {", ".join(sorted(known)).replace("_", "-")}')
        kind = next(k for k in (bool, int, float, Path, str) if k in {known[name], *get_args(known[name])})
        fits = isinstance(value, {float: (int, float), Path: str}.get(kind, kind)) and isinstance(value, bool) == (kind is bool)
        if not fits:
            raise ValueError(f'{path} says {name.replace("_", "-")} = {json.dumps(value)}, expected {KINDS[kind]}')
        said[name] = kind(value)
    joined = said | given
    rivals = {'steps': 'minutes', 'minutes': 'steps'}
    for name, other in rivals.items():  # of the two, one: that which was typed
        if name in given and other not in given:
            joined.pop(other, None)
    return joined, ctx.params | {'steps': None, 'minutes': None} | joined


def write_config(options: Mapping[str, Any]) -> str:
    "The text of a file that says these options."
    lines = [f'{name} = {json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)}' for name, value in options.items()]
    return '\n'.join(['# What `diffbook train` made of this run. Again: diffbook train --config run.toml --out ANOTHER_FOLDER', *lines, ''])
