"""What is done with every setting of every class of other libraries that is read: one table, by class and key.

A verdict is 'followed', 'no effect: reason' or 'refused: reason'. A setting that is refused may say what the class says
when it is silent (`thresholding: false`); any other value raises, naming it. A key that no class here knows is refused
by name too. The tests read the signatures of the installed libraries and fail for a key, or a class, without a verdict.
"""

from collections.abc import Mapping

from .networks import NETWORKS, TEXTS
from .tokens import TOKENIZERS

FOLLOWED = 'followed'
RULE = 'no effect: it belongs to the step rule, which DDIM replaces, with a warning'
LEVELS = 'refused: levels of noise that are placed by another rule'
FLOW = 'refused: for flows, which have no table of betas'
ESTIMATE = 'refused: estimates that are held by a quantile'
ONLY_THEN = 'no effect: read only with a setting that is refused'

TABLE = dict.fromkeys(('num_train_timesteps', 'beta_start', 'beta_end', 'beta_schedule', 'trained_betas', 'prediction_type', 'timestep_spacing', 'steps_offset'), FOLLOWED)
THRESHOLD = {'thresholding': ESTIMATE, 'dynamic_thresholding_ratio': ONLY_THEN, 'sample_max_value': ONLY_THEN}
CLIP = dict.fromkeys(('clip_sample', 'clip_sample_range'), FOLLOWED)
OTHER_LEVELS = dict.fromkeys(('use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'), LEVELS)
FLOWS = {'use_flow_sigmas': FLOW, 'flow_shift': ONLY_THEN, 'use_dynamic_shifting': FLOW, 'time_shift_type': ONLY_THEN}
ZERO_SNR = {'rescale_betas_zero_snr': FOLLOWED}

SCHEDULERS: dict[str, Mapping[str, str]] = {
    'DDIMScheduler': TABLE | THRESHOLD | CLIP | ZERO_SNR | {'set_alpha_to_one': FOLLOWED},
    'DDPMScheduler': TABLE | THRESHOLD | CLIP | ZERO_SNR | {'variance_type': FOLLOWED},
    'PNDMScheduler': TABLE | {'set_alpha_to_one': FOLLOWED, 'skip_prk_steps': RULE},
    'EulerDiscreteScheduler': TABLE | ZERO_SNR | OTHER_LEVELS | {
        'interpolation_type': LEVELS, 'timestep_type': LEVELS, 'sigma_min': LEVELS, 'sigma_max': LEVELS, 'final_sigmas_type': FOLLOWED},
    'EulerAncestralDiscreteScheduler': TABLE | ZERO_SNR,
    'HeunDiscreteScheduler': TABLE | CLIP | OTHER_LEVELS,
    'KDPM2DiscreteScheduler': TABLE | OTHER_LEVELS,
    'LMSDiscreteScheduler': TABLE | OTHER_LEVELS,
    'DPMSolverMultistepScheduler': TABLE | THRESHOLD | ZERO_SNR | OTHER_LEVELS | FLOWS | {
        'use_lu_lambdas': LEVELS, 'solver_order': RULE, 'algorithm_type': RULE, 'solver_type': RULE, 'lower_order_final': RULE, 'euler_at_final': RULE,
        'final_sigmas_type': FOLLOWED, 'lambda_min_clipped': LEVELS, 'variance_type': 'refused: a learned variance'},
    'UniPCMultistepScheduler': TABLE | THRESHOLD | ZERO_SNR | OTHER_LEVELS | FLOWS | {
        'solver_order': RULE, 'predict_x0': RULE, 'solver_type': RULE, 'lower_order_final': RULE, 'disable_corrector': RULE, 'solver_p': RULE,
        'final_sigmas_type': FOLLOWED, 'sigma_min': ONLY_THEN, 'sigma_max': ONLY_THEN, 'shift_terminal': FLOW},
    'DEISMultistepScheduler': TABLE | THRESHOLD | OTHER_LEVELS | FLOWS | {
        'solver_order': RULE, 'algorithm_type': RULE, 'solver_type': RULE, 'lower_order_final': RULE},
}  # fmt: skip

SETTINGS: dict[str, Mapping[str, str]] = {**SCHEDULERS, **NETWORKS, **TEXTS, **TOKENIZERS}
