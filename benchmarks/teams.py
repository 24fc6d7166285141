"""Rows on runs of several processes: the same gradients and the same noise for 1, 2 and 4. What they run is tests/ranks.py."""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from benchmarks.reliability import QUIET, ROOT, row
from diffbook.store.processes import LAUNCHED

LIMITS = {'float32': 1e-6, 'float64': 2e-15}  # sums in another order: eight units of rounding and a little
CONTROL = '2 with one seed'  # the mistake on purpose: it must be far off


@cache
def measured() -> dict:
    "Run teams of 1, 2 and 4 gloo processes, once for all rows."
    alone = {k: v for k, v in os.environ.items() if k not in LAUNCHED and not k.startswith('ACCELERATE')}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        subprocess.run([sys.executable, str(ROOT / 'tests' / 'ranks.py'), folder], env=alone | QUIET | {'PYTHONPATH': str(ROOT)}, check=True)
        return json.loads((Path(folder) / 'report.json').read_text())


@row(
    'R6',
    'the number of processes does not matter: copies or split weights, in one part or several',
    goal='gradients within 1e-6 in float32 and 2e-15 in float64, 100 updates within 5e-7',
)
def r6(short: bool) -> dict:
    """Compute the gradient of one global batch with 1, 2 and 4 gloo processes, with copies and with split weights, whole and in three parts,
    and compare with one process; train for 100 updates; let one run go on from the same file with 1, 2, 4, 2 split and 1 processes.
    Processes that each draw with one seed are the negative control."""
    found = measured()
    worst = {kind: max(error for ways, error in found['gradients'][kind].items() if ways != CONTROL) for kind in LIMITS}
    control, updates, journey = found['gradients']['float64'][CONTROL], max(found['updates'].values()), found['journey']['error']
    good = all(worst[kind] <= LIMITS[kind] for kind in LIMITS) and control > 0.1 and updates <= 5e-7 and journey <= 5e-7
    figure = f'{worst["float32"]:.1e} and {worst["float64"]:.1e}, 100 updates {updates:.1e}'
    n = sum(len(ways) for ways in found['gradients'].values()) + len(found['updates'])
    return {
        'figure': figure,
        'met': good,
        'n': n,
        'gradients': found['gradients'],
        'updates': found['updates'],
        'a run at five sizes': journey,
        'control': control,
    }


@row('R8', 'processes draw different noise, and together that of one', goal='0 rows twice, the union equal to that of one process')
def r8(short: bool) -> dict:
    "Gather the noise that each of 2 and of 4 gloo processes draws for its rows of one batch; compare with what one process draws, and count the different rows."
    found = measured()['noise'].values()
    twice, n = sum(rows - different for _, rows, different in found), sum(rows for _, rows, _ in found)
    equal = all(same for same, _, _ in found)
    return {'figure': f'{twice} rows twice of {n}, union {"equal" if equal else "different"}', 'met': equal and twice == 0, 'n': n}
