"""Whole walks of a tiny random U-Net: what a file names draws what diffusers draws, with its released schedulers as they are.

They keep levels in float32, and Euler's and its kin the state too, so the two agree to that rounding: a ten-thousandth of
the largest number. One rounding is larger: where exponential and beta levels become times, fractions are cut off after
float32, and with some tables the first row, 999, is told as 998. There our network is told the same for the comparison. In
`test_schedulers_parity.py`, where levels are in double precision, the same walks agree to 1e-8.
"""

import json
import warnings

import pytest
import torch
from torch import nn

from diffbook.core import noise
from diffbook.pretrained import load_schedule, load_unet
from diffbook.published.scheduler import TOLD
from diffbook.samplers import sample
from diffbook.stable_diffusion import published_plan

diffusers = pytest.importorskip('diffusers')

TABLE = {'beta_schedule': 'scaled_linear', 'beta_start': 0.00085, 'beta_end': 0.012}
LEADING = {'timestep_spacing': 'leading', 'steps_offset': 1}
CASES = {
    'ddim': ('DDIMScheduler', {'clip_sample': False, 'set_alpha_to_one': False} | LEADING),
    'pndm': ('PNDMScheduler', {'skip_prk_steps': True} | LEADING),
    'euler': ('EulerDiscreteScheduler', {}),
    'euler, Karras': ('EulerDiscreteScheduler', {'use_karras_sigmas': True}),
    'euler, beta': ('EulerDiscreteScheduler', {'use_beta_sigmas': True}),
    'heun': ('HeunDiscreteScheduler', LEADING),
    'lms': ('LMSDiscreteScheduler', {}),
    'lms, Karras': ('LMSDiscreteScheduler', {'use_karras_sigmas': True}),
    '2M': ('DPMSolverMultistepScheduler', {}),
    '2M, Karras': ('DPMSolverMultistepScheduler', {'use_karras_sigmas': True}),
    '2M, exponential': ('DPMSolverMultistepScheduler', {'use_exponential_sigmas': True, 'solver_type': 'heun'}),
    'unipc': ('UniPCMultistepScheduler', {'timestep_spacing': 'trailing'}),
    'unipc, Karras': ('UniPCMultistepScheduler', {'use_karras_sigmas': True}),
    '2M, flow': ('DPMSolverMultistepScheduler', {'use_flow_sigmas': True, 'flow_shift': 3.0, 'prediction_type': 'flow_prediction'}),
    'unipc, flow': ('UniPCMultistepScheduler', {'use_flow_sigmas': True, 'flow_shift': 5.0, 'prediction_type': 'flow_prediction'}),
    'unipc, beta': ('UniPCMultistepScheduler', {'use_beta_sigmas': True}),
}


@pytest.fixture(scope='module')
def nets(tmp_path_factory):
    "One network twice: as diffusers made it, and as we read its folder."
    folder = tmp_path_factory.mktemp('unet')
    torch.manual_seed(0)
    theirs = diffusers.UNet2DModel(
        sample_size=8, in_channels=2, out_channels=2, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        down_block_types=('DownBlock2D', 'AttnDownBlock2D'), up_block_types=('AttnUpBlock2D', 'UpBlock2D'),
    )  # fmt: skip
    theirs.save_pretrained(folder)
    return theirs.double().eval(), load_unet(folder, dtype=torch.float64)


class Cut(nn.Module):
    "A network that is told another row for row 999."

    def __init__(self, net, row):
        super().__init__()
        self.net, self.row = net, row

    def forward(self, x, level, cond=None):
        return self.net(x, torch.where(level == 999, self.row.to(level), level), cond)


@pytest.mark.parametrize('n', (3, 10))
@pytest.mark.parametrize('case', CASES)
def test_a_walk(case, n, nets, tmp_path):
    name, said = CASES[case]
    scheduler = getattr(diffusers, name)(**TABLE, **said)
    scheduler.set_timesteps(n)
    (tmp_path / 'scheduler_config.json').write_text(json.dumps({'_class_name': name} | TABLE | said))
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'n is .*sampling begins with pure noise')
        plan = load_schedule(tmp_path)
        times, walk = plan.times(n), published_plan(plan)
    start = noise(0, 'start', 0, range(2), (2, 8, 8))
    want = start * float(scheduler.init_noise_sigma)
    with torch.no_grad():
        for t in scheduler.timesteps:
            want = scheduler.step(nets[0](scheduler.scale_model_input(want, t), t).sample, t, want).prev_sample
    told, rows = TOLD[plan.told](plan.schedule, times[:-1]), scheduler.timesteps.double()
    if plan.told == 'row below':
        assert told[0] == 999 and rows[0] in (998, 999) and torch.equal(told[1:], rows[1:])
    denoise = plan.denoiser(Cut(nets[1], rows[0]) if plan.told == 'row below' else nets[1])
    *_, got = sample(denoise, plan.schedule, start * (1.0 if walk.unit else plan.schedule.sigma(times[0])), times, walk.solver)
    if name.startswith(('Euler', 'Heun', 'LMS')):  # these keep x / alpha
        got = got / plan.schedule.alpha(times[-1])
    if plan.flow:  # every level and every row
        assert torch.equal(told, rows)
        torch.testing.assert_close(times, scheduler.sigmas.double(), rtol=0, atol=1e-7)
    assert (got - want).abs().max() <= 1e-4 * want.abs().max()
    assert not plan.unmatched and want.std() > 0.1
