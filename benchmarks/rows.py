"""The table of rows: what each measures, what was wished, what came out; kept in one JSON file, drawn in one chart."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from diffbook.store.files import write_whole

ROWS: dict[str, 'Row'] = {}


class NotMeasured(Exception):
    "A library, a device or a file that a row needs is absent."


class Row(NamedTuple):
    id: str
    what: str
    measure: Callable[[argparse.Namespace], dict]  # -> goals (a list of `measure.goal`) and detail


def row(id: str, what: str) -> Callable:
    "Register a measurement: `@row('C1', 'training images a second, ...')`."

    def register(measure: Callable[[argparse.Namespace], dict]) -> Callable[[argparse.Namespace], dict]:
        ROWS[id] = Row(id, what, measure)
        return measure

    return register


def run(id: str, args: argparse.Namespace, about: dict) -> dict:
    "Measure one row."
    try:
        found = ROWS[id].measure(args)
    except NotMeasured as why:
        return {'row': id, 'what': ROWS[id].what, 'status': 'not measured', 'why': str(why), 'goals': []}
    return {'row': id, 'what': ROWS[id].what, 'status': 'measured', **found, 'about': about}


def merge(path: Path, rows: dict[str, dict]) -> dict:
    "Put rows into the file in the place of their former selves; what is not measured replaces nothing that was."
    known = json.loads(path.read_text())['rows'] if path.exists() else {}
    for id, found in rows.items():
        if found['status'] == 'measured' or known.get(id, found)['status'] != 'measured':
            known[id] = found
    report = {
        'about': {'made by': 'python -m benchmarks', 'a row': 'goals: figure, quartiles, goal, met; detail: all numbers; about: command, machine, versions'}
    }
    report['rows'] = {id: known[id] for id in ROWS if id in known}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(report, indent=1) + '\n').encode())
    return report


def reached(goal: dict) -> float:
    "What came out as a multiple of what was wished: 1 or more is good."
    return goal['figure'] / goal['goal']['at least'] if 'at least' in goal['goal'] else goal['goal']['at most'] / goal['figure']


def table(report: dict) -> str:
    "Write every comparison as a line of a table, for README.md."
    lines = ['| row | what | against | goal | measured (quartiles) | |', '|---|---|---|---|---|---|']
    for id, found in report['rows'].items():
        if not found['goals']:
            lines.append(f'| {id} | {ROWS[id].what} | | | {found["status"]} | |')
        for goal in found['goals']:
            ((side, wished),) = goal['goal'].items()
            spread = ' to '.join(f'{q:.3g}' for q in goal['quartiles']) if goal['quartiles'] else ''
            measured = f'{goal["figure"]:.3g}' + f' ({spread})' * bool(spread)
            lines.append(f'| {id} | {ROWS[id].what} | {goal["versus"]} | {side} {wished:g} | {measured} | {"reached" if goal["met"] else "missed"} |')
    return '\n'.join(lines)


def chart(report: dict, path: Path, top: float = 2.0) -> None:
    "Draw every comparison by its goal; bars end at `top`."
    from diffbook import plots

    short = {'denoising-diffusion-pytorch': 'lucid-\nrains', 'smalldiffusion': 'small', 'convolution': 'ceiling', 'import torch': 'torch'}
    values = {}
    for found in report['rows'].values():
        for goal in found['goals']:
            name = goal['versus'].split(',')[0].split(':')[0]
            label = '\n'.join(filter(None, (found['row'], short.get(name, name), goal.get('work'))))
            values[label] = min(reached(goal), top)
    with plots.panels(1, width=0.8 * len(values) + 0.6, height=2.8) as (ax,):
        plots.bars(values, 'multiple of the goal', f'What was measured, by its goal (1: reached; bars end at {top:g})', line=1, ax=ax)
        ax.set_ylim(0, top)
    plots.save(path)
