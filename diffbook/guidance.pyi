# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator, Sequence
from torch import Tensor
from .core import Cond, Data, DenoiseFn, Noise, NoiseFn, Time
from .samplers import Solver
from .schedules import Schedule

__all__ = ['Rule', 'autoguide', 'classifier_guide', 'extrapolate', 'guide_away', 'within', 'unconditional', 'guide', 'scale_to_w', 'w_to_scale', 'langevin', 'resample', 'feynman_kac', 'rescale', 'dynamic_threshold', 'apg', 'cfg_plus_plus', 'lambda_to_scale', 'scale_to_lambda']

def classifier_guide(denoise: DenoiseFn, log_prob: Callable[[Tensor, Tensor, Cond | None], Tensor], schedule: Schedule, scale: float | Tensor=1.0) -> DenoiseFn:
    """Add the gradient of a noisy classifier at x_t to a denoiser's estimate (Dhariwal and Nichol 2021; eq-guidance-classifier).

    denoise: without the condition
    log_prob: (x_t, t, cond) -> log p(c | x_t), (b,): a classifier of noisy data
    schedule: alpha and sigma
    scale: 0 is unconditional, 1 is Bayes' rule, more is sharper
    returns: guided
    """
    ...

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

def extrapolate(x0: Data, away: Data, scale: Time, t: Time | None=None) -> Data:
    """Walk from one estimate through another and on (Ho and Salimans 2022; eq-guidance-cfg).

    x0: with the condition
    away: without it
    scale: 1 is off
    t: not used
    returns: away + scale (x0 - away)
    """
    ...

def guide_away(denoise: DenoiseFn, away: DenoiseFn, scale: float | Tensor, *, interval: tuple[float, float] | None=None, rule: Rule=...) -> DenoiseFn:
    """Guide a denoiser away from another (Ho and Salimans 2022; Karras et al. 2024).

    denoise: the model
    away: what to leave, asked about the same state, time and condition
    scale: 1 is off, more is guided; () or (b,)
    interval: guide only at these times
    rule: how the two estimates make one
    returns: guided
    """
    ...

def within(low: float, high: float, guided: DenoiseFn, otherwise: DenoiseFn) -> DenoiseFn:
    """Ask `guided` at times from `low` to `high`, both included, and `otherwise` elsewhere (Kynkaanniemi et al. 2024)."""
    ...

def unconditional(denoise: DenoiseFn, null: Cond) -> DenoiseFn:
    """Ask a denoiser under its null condition.

    denoise: trained with and without its condition
    null: no condition, or a negative one; a batch of 1 serves all
    returns: asked under `null`, whatever the condition
    """
    ...

def guide(denoise: DenoiseFn, null: Cond, scale: float | Tensor, *, interval: tuple[float, float] | None=None, rule: Rule=...) -> DenoiseFn:
    """Guide a denoiser away from `null`, by two calls a step (Ho and Salimans 2022).

    denoise: trained with and without its condition
    null: no condition, or a negative one; a batch of 1 serves all
    scale: 0 is unconditional, 1 is off, more is guided; () or (b,)
    interval: guide only at these times (Kynkaanniemi et al. 2024)
    rule: how the two estimates make one
    returns: guided
    """
    ...

def scale_to_w(scale: float | Tensor) -> float | Tensor:
    """Turn `scale`, off at 1, into w, off at 0: (1 + w) eps - w eps_null (Ho and Salimans 2022, equation 6; eq-guidance-w)."""
    ...

def w_to_scale(w: float | Tensor) -> float | Tensor:
    """Turn w, off at 0, into `scale`, off at 1."""
    ...

def langevin(solver: Solver, steps: int=1, size: float=0.3, noise: Noise | None=None) -> Solver:
    """Follow each step of `solver` by steps of Langevin's at the new time, under the same denoiser (Song et al. 2021, algorithm 3; eq-guidance-langevin).

    solver: the predictor
    steps: of the corrector, at each new time
    size: of a step, in units of sigma**2
    noise: which it forks; if not said, a fork of the noise that the solver gets
    returns: predictor and corrector
    """
    ...

def step_weight(schedule: Schedule, t: Tensor, s: Tensor, x: Data, moved: Data, *parts: tuple[Data, float | int]) -> Tensor:
    """Sum the powers of ancestral kernels: for each estimate of x0 its log-density of `moved` given x, times its exponent."""
    ...

def resample(x: Data, log_weight: Tensor, start: float=0.5) -> Data:
    """Copy each of b particles about b times its weight: systematic resampling, at evenly spaced points of which the first is `start` in [0, 1)."""
    ...

def feynman_kac(denoise: DenoiseFn, null: Cond, scale: float | int, schedule: Schedule, x: Data, times: Tensor, cond: Cond, *, drive: float=1.0, noise: NoiseFn=...) -> Iterator[tuple[Data, Tensor]]:
    """Walk ancestrally and weigh each step by what guidance leaves out (after Skreta et al. 2025).

    denoise: trained with and without its condition
    null: no condition
    scale: 1 is off
    schedule: alpha and sigma
    x: noise at times[0]: one population of particles
    times: (n + 1,) falling, fine
    cond: one condition, for each particle
    drive: the scale that moves the particles
    noise: where fresh noise comes from
    returns: every x_s and its log-weights; `resample(*last)` has the density p(x | c)**scale p(x)**(1 - scale)
    """
    ...

def rescale(share: float=0.7, rule: Rule=...) -> Rule:
    """Give the guided estimate back a `share` of the conditional one's standard deviation (Lin et al. 2024, section 3.4).

    The estimates are of x0. Published pipelines rescale what the network predicts, eps or v; that is another rule, for this one is not affine.
    """
    ...

def dynamic_threshold(denoise: DenoiseFn, quantile: float=0.995, bound: float=1.0, cap: float=...) -> DenoiseFn:
    """Clamp an estimate at a quantile of its own values and scale that to the bound (Saharia et al. 2022, section 2.3).

    denoise: guided
    quantile: of the absolute values of an estimate
    bound: data lies in [-bound, bound]
    cap: the quantile counts as at most so much; at the bound this is plain clipping
    returns: whose estimates lie there too
    """
    ...

autoguide = guide_away

def apg(x0: Data, away: Data, scale: Time, t: Time, *, along: float=0.0, longest: float=..., momentum: float=0.0, past: Sequence[tuple[Time, Data]]=...) -> Data:
    """Guide across the estimate, not along it: a rule (Sadat et al. 2025, algorithm 1).

    along: share kept of the part along the estimate; 1 keeps all
    longest: bound on the norm of the difference
    momentum: weight of the differences before; negative values push away from them
    past: the last time and difference; it writes its own there
    returns: x0, guided
    """
    ...

def cfg_plus_plus(schedule: Schedule, denoise: DenoiseFn, x: Data, t: Tensor, s: Tensor, cond: Cond | None=None, *, null: Cond, lam: float=0.6) -> Data:
    """Take a DDIM step with guided data but unconditional noise (Chung et al. 2025, algorithm 2): a solver, by `partial`.

    null: no condition
    lam: from 0, unconditional, to 1
    returns: x_s
    """
    ...

def lambda_to_scale(lam: float | Tensor, schedule: Schedule, t: Tensor | float, s: Tensor | float) -> Tensor:
    """Turn CFG++'s lambda into the scale that makes the same DDIM step from t to s (eq-guidance-cfgpp)."""
    ...

def scale_to_lambda(scale: float | Tensor, schedule: Schedule, t: Tensor | float, s: Tensor | float) -> Tensor:
    """Turn a scale into the lambda of CFG++ that makes the same DDIM step from t to s."""
    ...
