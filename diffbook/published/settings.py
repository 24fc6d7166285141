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
ENDS = 'no effect: a last step to no noise holds the estimate whatever it says, and where noise is left DDIM replaces the rule, with a warning'
LEVELS = 'refused: levels of noise that are placed by another rule'
FLOW = 'refused: for flows, which have no table of betas'
ESTIMATE = 'refused: estimates that are held by a quantile'
ONLY_THEN = 'no effect: read only beside a setting that is refused'

TABLE = dict.fromkeys(
    ('num_train_timesteps', 'beta_start', 'beta_end', 'beta_schedule', 'trained_betas', 'prediction_type', 'timestep_spacing', 'steps_offset'), FOLLOWED
)
THRESHOLD = {'thresholding': ESTIMATE, 'dynamic_thresholding_ratio': ONLY_THEN, 'sample_max_value': ONLY_THEN}
CLIP = dict.fromkeys(('clip_sample', 'clip_sample_range'), FOLLOWED)
KARRAS = dict.fromkeys(('use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'), FOLLOWED)
OFF_THE_ROWS = 'refused: levels between the rows, of which the network is told the nearest row'
NO_KARRAS = {'use_karras_sigmas': OFF_THE_ROWS, 'use_exponential_sigmas': OFF_THE_ROWS, 'use_beta_sigmas': LEVELS}
KARRAS_REFUSED = dict.fromkeys(KARRAS, LEVELS)
STRAIGHT = {'use_flow_sigmas': FOLLOWED, 'flow_shift': FOLLOWED}
FLOWS = {'use_flow_sigmas': FLOW, 'flow_shift': ONLY_THEN, 'use_dynamic_shifting': FLOW, 'time_shift_type': ONLY_THEN}
ZERO_SNR = {'rescale_betas_zero_snr': FOLLOWED}
DDIM = TABLE | THRESHOLD | CLIP | ZERO_SNR | {'set_alpha_to_one': FOLLOWED}
DDPM = TABLE | THRESHOLD | CLIP | ZERO_SNR | {'variance_type': FOLLOWED}
SOLVER = TABLE | THRESHOLD | KARRAS | FLOWS | {'solver_order': RULE, 'solver_type': RULE, 'lower_order_final': RULE}

SCHEDULERS: dict[str, Mapping[str, str]] = {
    'DDIMScheduler': DDIM,
    'DDIMParallelScheduler': DDIM,
    'DDPMScheduler': DDPM,
    'DDPMParallelScheduler': DDPM,
    'PNDMScheduler': TABLE | {'set_alpha_to_one': FOLLOWED, 'skip_prk_steps': FOLLOWED},
    'EulerDiscreteScheduler': TABLE | ZERO_SNR | KARRAS | {
        'interpolation_type': LEVELS, 'timestep_type': 'refused: times that are logarithms of levels', 'sigma_min': LEVELS, 'sigma_max': LEVELS,
        'final_sigmas_type': FOLLOWED},
    'EulerAncestralDiscreteScheduler': TABLE | ZERO_SNR,
    'HeunDiscreteScheduler': TABLE | CLIP | KARRAS,
    'KDPM2DiscreteScheduler': TABLE | NO_KARRAS,
    'LMSDiscreteScheduler': TABLE | KARRAS,
    'DPMSolverMultistepScheduler': SOLVER | STRAIGHT | ZERO_SNR | {
        'use_lu_lambdas': LEVELS, 'algorithm_type': FOLLOWED, 'solver_order': FOLLOWED, 'solver_type': FOLLOWED, 'lower_order_final': ENDS, 'euler_at_final': ENDS, 'final_sigmas_type': FOLLOWED, 'lambda_min_clipped': FOLLOWED,
        'variance_type': 'refused: a variance that the network says, for a step rule that has none'},
    'UniPCMultistepScheduler': SOLVER | STRAIGHT | ZERO_SNR | {
        **dict.fromkeys(('predict_x0', 'disable_corrector', 'solver_p', 'solver_order', 'solver_type', 'final_sigmas_type'), FOLLOWED), 'lower_order_final': ENDS, 'sigma_min': ONLY_THEN, 'sigma_max': ONLY_THEN,
        'shift_terminal': FLOW},
    'FlowMatchEulerDiscreteScheduler': KARRAS_REFUSED | dict.fromkeys(
        ('shift', 'use_dynamic_shifting', 'base_shift', 'max_shift', 'base_image_seq_len', 'max_image_seq_len'), FOLLOWED) | {
        'num_train_timesteps': 'refused: a network that is told more or less than thousandths', 'time_shift_type': 'refused: a shift that is written in another way', 'invert_sigmas': 'refused: for networks with the noise at 0', 'shift_terminal': LEVELS,
        'stochastic_sampling': 'refused: its step rule is not in this book'},
    'DEISMultistepScheduler': SOLVER | {'algorithm_type': RULE},
}  # fmt: skip

TOKENS = 'refused: for tokens, not for numbers with noise'
FLOW_CLASS = 'refused: for flows, which have no table of betas'
EDM_CLASS = 'refused: for networks that are told levels and not times'
HALF_STEPS = 'refused: between its steps it asks at times of its own, and its step rule is not in this book'
UNREAD: dict[str, str] = {
    **dict.fromkeys(('AmusedScheduler', 'BlockRefinementScheduler', 'DiscreteDDIMScheduler', 'EntropyBoundScheduler', 'VQDiffusionScheduler'), TOKENS),
    **dict.fromkeys(('FlowMapEulerDiscreteScheduler', 'FlowMatchHeunDiscreteScheduler', 'FlowMatchLCMScheduler',
                     'HeliosDMDScheduler', 'HeliosScheduler', 'LTXEulerAncestralRFScheduler', 'MiniMaxH3Scheduler', 'PiflowScheduler', 'SCMScheduler'), FLOW_CLASS),
    **dict.fromkeys(('CMStochasticIterativeScheduler', 'ConsistencyDecoderScheduler', 'CosineDPMSolverMultistepScheduler', 'EDMDPMSolverMultistepScheduler',
                     'EDMEulerScheduler', 'KarrasVeScheduler', 'ScoreSdeVeScheduler', 'ScoreSdeVpScheduler'), EDM_CLASS),
    **dict.fromkeys(('DPMSolverSinglestepScheduler', 'DPMSolverSDEScheduler', 'KDPM2AncestralDiscreteScheduler'), HALF_STEPS),
    **dict.fromkeys(('DDIMInverseScheduler', 'DPMSolverMultistepInverseScheduler'), 'refused: it walks from data to noise'),
    **dict.fromkeys(('CogVideoXDDIMScheduler', 'CogVideoXDPMScheduler'), 'refused: for films, with a table that is shifted'),
    **dict.fromkeys(('LCMScheduler', 'TCDScheduler'), 'refused: for consistency models, which begin anew at every step'),
    **dict.fromkeys((f'Flax{name}Scheduler' for name in ('DDIM', 'DDPM', 'DPMSolverMultistep', 'EulerDiscrete', 'KarrasVe', 'LMSDiscrete', 'PNDM', 'ScoreSdeVe')),
                    'refused: a class for JAX, of older releases; its twin without Flax is read'),
    'DDPMWuerstchenScheduler': 'refused: its times are shares of a cosine, and it has no table of betas',
    'IPNDMScheduler': 'refused: it has times of its own and its step rule is not in this book',
    'RFD4ProteinaScheduler': 'refused: for proteins',
    'RePaintScheduler': 'refused: it jumps back and forth; take `repaint` of the chapter on editing',
    'SASolverScheduler': 'refused: its step rule is not in this book',
    'UnCLIPScheduler': 'refused: its network says a variance, in a way of its own',
}  # fmt: skip
OLD: dict[str, str] = {  # keys of releases that are no longer supported
    'tensor_format': 'no effect: tensors have one format today',
    'predict_epsilon': 'refused: today it is called prediction_type, and false is sample',
}
ELSEWHERE = frozenset().union(*SCHEDULERS.values()) | {  # left over from a class that has them, a key changes nothing in one that has not
    'alpha_cum_end', 'alpha_cum_start', 'base_image_seq_len', 'base_shift', 'beta_max', 'beta_min', 'block_length', 'clip_denoised', 'correct_steps',
    'corrector_k', 'corrector_order', 'corrector_selection', 'corrector_selection_tau', 'corrector_steps', 'editing_threshold', 'entropy_bound', 'eps', 'eta',
    'final_step_size_scale', 'gamma', 'gamma_cum_end', 'gamma_cum_start', 'invert_sigmas', 'mask_token_id', 'masking_schedule', 'max_image_seq_len', 'max_shift',
    'minimal_topk', 'n_grid', 'noise_mode', 'noise_sampler_seed', 'num_inference_steps', 'num_policy_substeps', 'num_vec_classes', 'original_inference_steps',
    'predictor_order', 'rho', 's', 's_churn', 's_max', 's_min', 's_noise', 'sampling_eps', 'scale_factors', 'scaler', 'schedule_mode', 'scheduler_type', 'shift',
    'sigma_data', 'sigma_schedule', 'snr', 'snr_shift_scale', 'stage_range', 'stages', 'stochastic_sampling', 't_lim_ode', 't_lim_ode_below', 't_max', 't_min',
    'tail_step_multiplier', 'tail_steps', 'tau_func', 'threshold', 'timestep_scaling', 'tsr_k', 'tsr_sigma', 'upscale_mode',
}  # fmt: skip

SETTINGS: dict[str, Mapping[str, str]] = {**SCHEDULERS, **NETWORKS, **TEXTS, **TOKENIZERS}
