"""What a setting can be, before anybody asks what it means: of which kind, and how large at most.

A configuration is a text from a stranger: a width may be a text, a list endless, a number beyond all measure. Each setting
that is read is held against this table first, so that an error names the file, the setting and what it can be.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

Rule = tuple[Callable[[object], bool], str]  # whether a value is allowed, and how to say what is


def _is_whole(least: int, most: int = 1 << 20) -> Rule:
    return (lambda v: type(v) is int and least <= v <= most), f'a whole number from {least} to {most:,}'


def _is_number(least: float, most: float) -> Rule:
    return (lambda v: type(v) in (int, float) and least <= v <= most), f'a number from {least:g} to {most:g}'


def _each_is(rule: Rule, most: int = 64, alone: bool = False) -> Rule:
    "A list of up to `most` values, and if it may stand `alone` also one value."
    each, words = rule
    return (lambda v: isinstance(v, list | tuple) and 0 < len(v) <= most and all(map(each, v)) or alone and each(v)), f'a list, up to {most} long, each {words}' + ', or one' * alone


def _some_of(most: int) -> Rule:
    return (lambda v: isinstance(v, list | tuple) and len(v) <= most and all(type(i) is int and 0 <= i < most for i in v)), f'a list of whole numbers below {most}'


_IS_TEXT: Rule = (lambda v: isinstance(v, str) and len(v) < 200), 'a text'
_IS_FLAG: Rule = (lambda v: type(v) is bool), 'true or false'

PLAUSIBLE = {  # setting -> (what it can be, how to say so)
    **dict.fromkeys(('in_channels', 'out_channels', 'norm_num_groups', 'latent_channels', 'vocab_size', 'max_position_embeddings', 'hidden_size', 'projection_dim',
                     'intermediate_size', 'num_attention_heads', 'image_size', 'patch_size', 'num_channels', 'num_class_embeds', 'cross_attention_dim', 'num_embeds_ada_norm', 'joint_attention_dim', 'pooled_projection_dim',
                     'caption_projection_dim', 'pos_embed_max_size', 'd_model', 'd_ff', 'd_kv', 'num_heads', 'relative_attention_num_buckets', 'relative_attention_max_distance',
                     'addition_time_embed_dim', 'projection_class_embeddings_input_dim'), _is_whole(1)),
    **dict.fromkeys(('embedding_dim', 'num_embeddings', 'clip_extra_context_tokens', 'clip_embeddings_dim', 'time_embed_dim'), _is_whole(1)),
    **dict.fromkeys(('num_hidden_layers', 'num_layers', 'num_single_layers'), _is_whole(1, 1000)), 'axes_dims_rope': _each_is(_is_whole(1), 3), 'dual_attention_layers': _some_of(1000),
    'guidance_embeds': _IS_FLAG, **dict.fromkeys(('num_train_timesteps',), _is_whole(1, 100_000)),
    **dict.fromkeys(('eos_token_id', 'steps_offset', 'downsample_padding'), _is_whole(0)), 'block_out_channels': _each_is(_is_whole(1), 16),
    **dict.fromkeys(('layers_per_block', 'transformer_layers_per_block'), _each_is(_is_whole(1, 100), 16, alone=True)), 'attention_head_dim': _each_is(_is_whole(1), 16, alone=True),
    'sample_size': _each_is(_is_whole(1, 1 << 14), 2, alone=True), 'trained_betas': _each_is(_is_number(0, 1), 100_000),
    **dict.fromkeys(('latents_mean', 'latents_std'), _each_is(_is_number(-1e6, 1e6), 4096)),
    **dict.fromkeys(('down_block_types', 'up_block_types', 'architectures'), _each_is(_IS_TEXT)),
    **dict.fromkeys(('norm_eps', 'layer_norm_eps', 'layer_norm_epsilon', 'dropout', 'freq_shift', 'beta_start', 'beta_end'), _is_number(0, 1)),
    **dict.fromkeys(('scaling_factor', 'shift_factor', 'clip_sample_range'), _is_number(-1e6, 1e6)),
    **dict.fromkeys(('flip_sin_to_cos', 'add_attention', 'mid_block_add_attention', 'use_quant_conv', 'use_post_quant_conv', 'set_alpha_to_one', 'clip_sample',
                     'rescale_betas_zero_snr', 'is_gated_act'), _IS_FLAG),
    **dict.fromkeys(('_class_name', 'beta_schedule', 'prediction_type', 'timestep_spacing', 'hidden_act', 'act_fn', 'feed_forward_proj', 'dense_act_fn'), _IS_TEXT),
    **dict.fromkeys(('text_config', 'vision_config', 'text_config_dict', 'vision_config_dict'), ((lambda v: isinstance(v, dict)), 'an object')),
}  # fmt: skip
SILENT = (  # null says as much as nothing
    'num_class_embeds', 'attention_head_dim', 'mid_block_add_attention', 'downsample_padding', 'sample_size', 'trained_betas', 'latents_mean', 'latents_std',
    'shift_factor', 'cross_attention_dim', 'text_config_dict', 'vision_config_dict', 'num_train_timesteps', 'architectures', 'set_alpha_to_one', 'clip_sample',
    'rescale_betas_zero_snr', 'time_embed_dim', 'is_gated_act', 'dense_act_fn', 'addition_time_embed_dim', 'projection_class_embeddings_input_dim',
)  # fmt: skip


def plausible(config: Mapping, file: Path) -> None:
    "Refuse a setting that is of the wrong kind or beyond all measure."
    silent = (*SILENT, 'num_attention_heads' if 'block_out_channels' in config else 'out_channels')  # in a U-Net's the one is mostly null, in a transformer's the other
    for key, value in config.items():
        allowed, expected = PLAUSIBLE.get(key, (None, ''))
        if allowed and not allowed(value) and not (value is None and key in silent):
            raise ValueError(f'{file}: {key} is {repr(value)[:100]}, expected {expected}')
        if isinstance(value, dict) and key.endswith(('_config', '_config_dict')):
            plausible(value, file)
