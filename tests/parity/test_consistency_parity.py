"""The scalings of consistency models in the diffusers library: one scheduler has those of the paper, the other lacks the spread of the data."""

import pytest
import torch
from torch.testing import assert_close

from diffbook.consistency import boundary_scalings

diffusers = pytest.importorskip('diffusers')
LEVELS = torch.tensor([0.002, 0.05, 0.5, 3.0, 80.0], dtype=torch.float64)


def test_consistency_models_have_the_scalings_of_the_paper():
    scheduler = diffusers.CMStochasticIterativeScheduler(sigma_min=0.002, sigma_data=0.5)
    assert_close(torch.stack(scheduler.get_scalings_for_boundary_condition(LEVELS)), torch.stack(boundary_scalings(LEVELS, 0.002, 0.5)), rtol=1e-12, atol=0)


def test_latent_consistency_models_are_too_loud():
    "c_out without sigma_data (LCM#82, #104, diffusers#8547), as the chapter says."
    scheduler, s = diffusers.LCMScheduler(timestep_scaling=1.0), 0.5
    skip, out = scheduler.get_scalings_for_boundary_condition_discrete(LEVELS)
    ours = boundary_scalings(LEVELS, 0.0, s)
    assert_close(skip, ours[0], rtol=1e-12, atol=0)
    assert_close(out, ours[1] / s, rtol=1e-12, atol=0)
