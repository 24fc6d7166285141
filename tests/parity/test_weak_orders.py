"""The command that measures weak orders: where diffusers' random samplers are ours, so are their errors, to rounding."""

import pytest

pytest.importorskip('diffusers')

from benchmarks.weak_orders import OUR_ROWS, ours, their_rows, theirs
from diffbook.ledger import read_measured

OURS = {
    'DDPM': 'ancestral',
    'DDIM, eta 1': 'ancestral',
    'EulerAncestralDiscrete': 'ancestral',
    'DPMSolverMultistep, sde-dpmsolver++ 1': 'ancestral',
}


@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_the_same_method_has_the_same_errors_in_both_libraries():
    rows = their_rows()
    for name, mine in OURS.items():
        assert theirs(*rows[name], 12) == pytest.approx(ours(OUR_ROWS[mine], 12), abs=1e-9)


def test_the_file_holds_what_the_command_measures():
    found = read_measured('weak-orders')['rows']
    assert found['ours'].keys() == OUR_ROWS.keys() | {'heun, churn 40, S_noise 1.003'} and found['diffusers'].keys() == their_rows().keys()
    n = min(map(int, found['ours']['midpoint_sde']['errors']))
    mean, variance = ours(OUR_ROWS['midpoint_sde'], n)
    assert found['ours']['midpoint_sde']['errors'][str(n)]['variance'] == pytest.approx(variance, rel=1e-3) and abs(mean) < 1e-9
