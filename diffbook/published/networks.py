"""Judge the settings of networks, VAEs and text encoders by class: each key is followed, or has no effect
for a reason, or is refused by name; what is silent is as the class of the other library has it.

The tables join those of the schedulers in `settings.py`, where the words of a verdict are explained. A refused key may
say what the class says when it is silent, and any other way of saying the same (`SAME`).
"""

from collections.abc import Mapping, Sequence

FOLLOWED = 'followed'
SHAPE = 'refused: a network of another build'
TIMES = 'refused: times that are told in another way'
EXTRA = 'refused: a condition of another kind'
IN_FILE = 'no effect: first weights are drawn by it, and the file holds the trained ones'
ROUNDING = 'no effect: it changes the kind of number within, not the formula'
SIZE = 'no effect: on the network; the pipeline draws pictures of this size'
AVERAGING = 'no effect: it says how the weights of this file were averaged'

BUILD = dict.fromkeys(('in_channels', 'out_channels', 'block_out_channels', 'layers_per_block', 'down_block_types', 'up_block_types', 'norm_num_groups'), FOLLOWED) | {
    'act_fn': 'refused: only SiLU is built'}  # fmt: skip
EMA = dict.fromkeys(('decay', 'min_decay', 'optimization_step', 'update_after_step', 'use_ema_warmup', 'inv_gamma', 'power'), AVERAGING)
UNETS = BUILD | EMA | dict.fromkeys(('flip_sin_to_cos', 'freq_shift', 'downsample_padding', 'attention_head_dim', 'num_class_embeds', 'norm_eps'), FOLLOWED) | {
    'sample_size': SIZE, 'center_input_sample': SHAPE, 'time_embedding_type': TIMES, 'time_embedding_dim': SHAPE, 'mid_block_type': SHAPE,
    'mid_block_scale_factor': SHAPE, 'class_embed_type': EXTRA, 'resnet_time_scale_shift': FOLLOWED}  # fmt: skip
JOINT = dict.fromkeys(
    ('in_channels', 'out_channels', 'num_layers', 'attention_head_dim', 'num_attention_heads', 'joint_attention_dim', 'pooled_projection_dim'), FOLLOWED)  # fmt: skip
NETWORKS: dict[str, Mapping[str, str]] = {
    'UNet2DModel': UNETS | {
        'dropout': FOLLOWED, 'add_attention': FOLLOWED, 'downsample_type': SHAPE, 'upsample_type': SHAPE, 'attn_norm_num_groups': FOLLOWED,
        'num_train_timesteps': 'no effect: read only by a learned table of times, which is refused'},
    'UNet2DConditionModel': UNETS | {
        'cross_attention_dim': FOLLOWED, 'use_linear_projection': 'no effect: a matrix and a convolution of one pixel are one map; both are read', 'upcast_attention': ROUNDING,
        'dropout': 'refused: a network that reads tokens is built without', 'only_cross_attention': FOLLOWED, 'mid_block_only_cross_attention': SHAPE, 'dual_cross_attention': SHAPE,
        'transformer_layers_per_block': FOLLOWED, 'reverse_transformer_layers_per_block': SHAPE, 'num_attention_heads': 'refused: diffusers refuses it too; heads are attention_head_dim',
        'attention_type': SHAPE, 'cross_attention_norm': SHAPE, 'conv_in_kernel': SHAPE, 'conv_out_kernel': SHAPE, 'resnet_skip_time_act': SHAPE, 'resnet_out_scale_factor': SHAPE,
        'time_embedding_act_fn': TIMES, 'timestep_post_act': TIMES, 'time_cond_proj_dim': TIMES, 'encoder_hid_dim': EXTRA, 'encoder_hid_dim_type': EXTRA,
        'addition_embed_type': FOLLOWED, 'addition_time_embed_dim': FOLLOWED, 'projection_class_embeddings_input_dim': FOLLOWED, 'class_embeddings_concat': EXTRA,
        'addition_embed_type_num_heads': 'no effect: of additions that are refused'},
    'DiTTransformer2DModel': dict.fromkeys(
        ('num_attention_heads', 'attention_head_dim', 'in_channels', 'out_channels', 'num_layers', 'sample_size', 'patch_size', 'num_embeds_ada_norm', 'norm_eps'), FOLLOWED) | {
        'dropout': 'refused: a DiT is built without', 'norm_num_groups': 'no effect: it has no norm of groups', 'attention_bias': SHAPE, 'activation_fn': SHAPE, 'upcast_attention': ROUNDING,
        'norm_type': SHAPE, 'norm_elementwise_affine': SHAPE},
    'SD3Transformer2DModel': JOINT | dict.fromkeys(
        ('sample_size', 'patch_size', 'caption_projection_dim', 'pos_embed_max_size', 'dual_attention_layers', 'qk_norm'), FOLLOWED),
    'FluxTransformer2DModel': JOINT | {
        'patch_size': 'refused: its latents are packed before', 'num_single_layers': FOLLOWED, 'guidance_embeds': FOLLOWED, 'axes_dims_rope': FOLLOWED},
    'AutoencoderKL': BUILD | {
        'latent_channels': FOLLOWED, 'scaling_factor': FOLLOWED, 'shift_factor': FOLLOWED, 'latents_mean': FOLLOWED, 'latents_std': FOLLOWED,
        'use_quant_conv': FOLLOWED, 'use_post_quant_conv': FOLLOWED, 'mid_block_add_attention': FOLLOWED, 'sample_size': SIZE, 'force_upcast': ROUNDING},
    'PriorTransformer': dict.fromkeys(('num_attention_heads', 'attention_head_dim', 'num_layers', 'embedding_dim', 'num_embeddings'), FOLLOWED) | {
        'dropout': 'refused: a prior is built without'} | dict.fromkeys(('additional_embeddings', 'time_embed_act_fn', 'norm_in_type', 'embedding_proj_norm_type', 'encoder_hid_proj_type',
        'added_emb_type', 'time_embed_dim', 'embedding_proj_dim', 'clip_embed_dim'), SHAPE),
    'UnCLIPTextProjModel': dict.fromkeys(('clip_extra_context_tokens', 'clip_embeddings_dim', 'time_embed_dim', 'cross_attention_dim'), FOLLOWED),
}  # fmt: skip

ANSWER = 'no effect: it says what the class gives back beside the states'
LABELS = 'no effect: of classifiers'
WRITING = 'no effect: of models that write text'
PATHS = 'no effect: where the file came from'
COMMON = {  # of every configuration of transformers
    'architectures': FOLLOWED, 'model_type': FOLLOWED, 'transformers_version': PATHS, 'name_or_path': PATHS, 'dtype': ROUNDING, 'torch_dtype': ROUNDING, 'use_bfloat16': ROUNDING,
    **dict.fromkeys(('output_hidden_states', 'output_attentions', 'return_dict', 'use_return_dict'), ANSWER), 'chunk_size_feed_forward': ROUNDING,
    **dict.fromkeys(('id2label', 'label2id', 'num_labels', 'problem_type', 'finetuning_task', 'task_specific_params'), LABELS),
    **dict.fromkeys(('is_encoder_decoder', 'is_decoder', 'add_cross_attention', 'cross_attention_hidden_size', 'tie_encoder_decoder', 'tie_word_embeddings', 'decoder_start_token_id',
                     'sep_token_id', 'prefix', 'tokenizer_class', 'torchscript', 'tf_legacy_loss', 'gradient_checkpointing', 'attn_implementation'), 'no effect: no tower of CLIP reads it'),
    **dict.fromkeys((
        'assistant_confidence_threshold', 'assistant_lookbehind', 'bad_words_ids', 'begin_suppress_tokens', 'diversity_penalty', 'do_sample', 'early_stopping',
        'encoder_no_repeat_ngram_size', 'encoder_repetition_penalty', 'epsilon_cutoff', 'eta_cutoff', 'exponential_decay_length_penalty', 'forced_bos_token_id',
        'forced_eos_token_id', 'length_penalty', 'max_length', 'min_length', 'no_repeat_ngram_size', 'num_assistant_tokens', 'num_assistant_tokens_schedule',
        'num_beam_groups', 'num_beams', 'num_return_sequences', 'output_scores', 'remove_invalid_values', 'repetition_penalty', 'return_dict_in_generate',
        'suppress_tokens', 'target_lookbehind', 'temperature', 'top_k', 'top_p', 'typical_p', 'use_cache'), WRITING),
    'pruned_heads': 'refused: heads that are left out', 'quantization_config': 'refused: weights of few bits', 'initializer_factor': IN_FILE,
}  # fmt: skip
TOWER = COMMON | dict.fromkeys(('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads', 'hidden_act', 'layer_norm_eps', 'projection_dim'), FOLLOWED) | {
    'attention_dropout': 'refused: the towers are built without', 'dropout': 'no effect: transformers reads it no more', 'initializer_range': IN_FILE}  # fmt: skip
PLACES = 'no effect: the tokenizer says which token this is'
TEXTS: dict[str, Mapping[str, str]] = {
    'CLIPTextConfig': TOWER | {'vocab_size': FOLLOWED, 'max_position_embeddings': FOLLOWED, 'eos_token_id': FOLLOWED, 'pad_token_id': PLACES, 'bos_token_id': PLACES},
    'CLIPVisionConfig': TOWER | {'image_size': FOLLOWED, 'patch_size': FOLLOWED, 'num_channels': FOLLOWED}
    | dict.fromkeys(('pad_token_id', 'bos_token_id', 'eos_token_id'), 'no effect: it reads no tokens'),
    'CLIPConfig': COMMON | dict.fromkeys(('text_config', 'vision_config', 'text_config_dict', 'vision_config_dict', 'projection_dim'), FOLLOWED)
    | {'logit_scale_init_value': IN_FILE} | dict.fromkeys(('pad_token_id', 'bos_token_id', 'eos_token_id'), 'no effect: the part for texts says it'),
}  # fmt: skip

DECODER = 'no effect: of the decoder, which is not read'
TEXTS['T5Config'] = COMMON | dict.fromkeys(
    ('vocab_size', 'd_model', 'd_kv', 'd_ff', 'num_layers', 'num_heads', 'relative_attention_num_buckets', 'relative_attention_max_distance', 'layer_norm_epsilon',
     'feed_forward_proj', 'dense_act_fn', 'is_gated_act'), FOLLOWED) | dict.fromkeys(('num_decoder_layers', 'decoder_start_token_id', 'tie_word_embeddings', 'scale_decoder_outputs', 'output_past', 'is_encoder_decoder'), DECODER) | {
    'dropout_rate': 'no effect: the encoder is asked, not trained', 'classifier_dropout': LABELS, 'n_positions': 'no effect: distances have no end',
    **dict.fromkeys(('pad_token_id', 'eos_token_id', 'bos_token_id'), PLACES), 'hidden_size': 'refused: here it is called d_model', 'num_attention_heads': 'refused: here it is called num_heads', 'num_hidden_layers': 'refused: here it is called num_layers', 'head_dim': 'refused: here it is called d_kv'}  # fmt: skip

U_NET = {  # of both classes of U-Nets
    'norm_num_groups': 32, 'norm_eps': 1e-5, 'layers_per_block': 2, 'attention_head_dim': 8, 'dropout': 0.0, 'downsample_padding': 1, 'freq_shift': 0, 'flip_sin_to_cos': True,
    'num_class_embeds': None, 'act_fn': 'silu', 'center_input_sample': False, 'time_embedding_type': 'positional', 'mid_block_scale_factor': 1,
    'resnet_time_scale_shift': 'default'}  # fmt: skip
SILENT: dict[str, Mapping[str, object]] = {  # class -> key -> what the class means when it is silent; None, if the key is not here
    'UNet2DModel': U_NET | {
        'in_channels': 3, 'out_channels': 3, 'block_out_channels': (224, 448, 672, 896), 'add_attention': True, 'downsample_type': 'conv', 'upsample_type': 'conv',
        'mid_block_type': 'UNetMidBlock2D', 'down_block_types': ('DownBlock2D',) + ('AttnDownBlock2D',) * 3, 'up_block_types': ('AttnUpBlock2D',) * 3 + ('UpBlock2D',), 'attn_norm_num_groups': None},
    'UNet2DConditionModel': U_NET | {
        'in_channels': 4, 'out_channels': 4, 'block_out_channels': (320, 640, 1280, 1280), 'cross_attention_dim': 1280, 'mid_block_type': 'UNetMidBlock2DCrossAttn',
        'down_block_types': ('CrossAttnDownBlock2D',) * 3 + ('DownBlock2D',), 'up_block_types': ('UpBlock2D',) + ('CrossAttnUpBlock2D',) * 3, 'only_cross_attention': False,
        'dual_cross_attention': False, 'transformer_layers_per_block': 1, 'attention_type': 'default', 'addition_embed_type_num_heads': 64, 'class_embeddings_concat': False,
        'conv_in_kernel': 3, 'conv_out_kernel': 3, 'resnet_skip_time_act': False, 'resnet_out_scale_factor': 1.0},
    'DiTTransformer2DModel': {
        'num_attention_heads': 16, 'attention_head_dim': 72, 'in_channels': 4, 'out_channels': None, 'num_layers': 28, 'sample_size': 32, 'patch_size': 2, 'num_embeds_ada_norm': 1000,
        'norm_eps': 1e-5, 'dropout': 0.0, 'norm_num_groups': 32, 'attention_bias': True, 'activation_fn': 'gelu-approximate', 'upcast_attention': False, 'norm_type': 'ada_norm_zero',
        'norm_elementwise_affine': False},
    'SD3Transformer2DModel': {
        'in_channels': 16, 'out_channels': 16, 'num_layers': 18, 'attention_head_dim': 64, 'num_attention_heads': 18, 'joint_attention_dim': 4096, 'pooled_projection_dim': 2048,
        'sample_size': 128, 'patch_size': 2, 'caption_projection_dim': 1152, 'pos_embed_max_size': 96, 'dual_attention_layers': (), 'qk_norm': None},
    'FluxTransformer2DModel': {
        'in_channels': 64, 'out_channels': None, 'num_layers': 19, 'attention_head_dim': 128, 'num_attention_heads': 24, 'joint_attention_dim': 4096, 'pooled_projection_dim': 768,
        'patch_size': 1, 'num_single_layers': 38, 'guidance_embeds': False, 'axes_dims_rope': (16, 56, 56)},
    'AutoencoderKL': {
        'in_channels': 3, 'out_channels': 3, 'block_out_channels': (64,), 'layers_per_block': 1, 'latent_channels': 4, 'norm_num_groups': 32, 'act_fn': 'silu',
        'down_block_types': ('DownEncoderBlock2D',), 'up_block_types': ('UpDecoderBlock2D',), 'use_quant_conv': True, 'use_post_quant_conv': True, 'mid_block_add_attention': True,
        'scaling_factor': 0.18215},
    'PriorTransformer': {
        'num_attention_heads': 32, 'attention_head_dim': 64, 'num_layers': 20, 'embedding_dim': 768, 'num_embeddings': 77, 'additional_embeddings': 4, 'dropout': 0.0,
        'time_embed_act_fn': 'silu', 'encoder_hid_proj_type': 'linear', 'added_emb_type': 'prd'},
    'UnCLIPTextProjModel': {'clip_extra_context_tokens': 4, 'clip_embeddings_dim': 768},
    'CLIPTextConfig': {
        'hidden_size': 512, 'intermediate_size': 2048, 'num_hidden_layers': 12, 'num_attention_heads': 8, 'hidden_act': 'quick_gelu', 'layer_norm_eps': 1e-5, 'projection_dim': 512,
        'vocab_size': 49408, 'max_position_embeddings': 77, 'eos_token_id': 49407, 'attention_dropout': 0.0},
    'CLIPVisionConfig': {
        'hidden_size': 768, 'intermediate_size': 3072, 'num_hidden_layers': 12, 'num_attention_heads': 12, 'hidden_act': 'quick_gelu', 'layer_norm_eps': 1e-5, 'projection_dim': 512,
        'image_size': 224, 'patch_size': 32, 'num_channels': 3, 'attention_dropout': 0.0},
    'CLIPConfig': {'projection_dim': 512},
    'T5Config': {
        'vocab_size': 32128, 'd_model': 512, 'd_kv': 64, 'd_ff': 2048, 'num_layers': 6, 'num_heads': 8, 'relative_attention_num_buckets': 32, 'relative_attention_max_distance': 128,
        'layer_norm_epsilon': 1e-6, 'feed_forward_proj': 'relu'},
}  # fmt: skip
SAME = {'act_fn': {'swish': 'silu'}, 'mid_block_only_cross_attention': {False: None}, 'pruned_heads': {}}  # other ways of saying it
OLD_BLOCKS = 'UNetRes'  # how the names of blocks began in the first files


def judged(name: str, config: Mapping[str, object]) -> dict[str, object]:
    "All settings that are followed, as a class means them; refuse by name one that is refused, or that the class does not have."
    verdicts, silent = NETWORKS.get(name) or TEXTS[name], SILENT[name]
    said = {key: _plain(key, value) for key, value in config.items() if not key.startswith('_')}
    for key, value in said.items():
        if key not in verdicts:
            raise ValueError(f'the configuration holds the unknown key {key!r}; {name} has none of this name')
        if verdicts[key].startswith('refused') and value != silent.get(key) and value not in ({}, []):
            raise ValueError(f'{key} is {config[key]!r}, expected {silent.get(key)!r} ({verdicts[key].removeprefix("refused: ")})')
    found = {key: said.get(key, silent.get(key)) for key, verdict in verdicts.items() if verdict == FOLLOWED}
    _fits_class(name, found)
    return found


ONE = {'UNet2DModel': ('attention_head_dim', 'layers_per_block'), 'AutoencoderKL': ('layers_per_block',)}  # one value for all levels
NEEDED = {'UNet2DConditionModel': ('cross_attention_dim', 'attention_head_dim'), 'CLIPTextConfig': ('eos_token_id',)}  # never null


def _fits_class(name: str, said: Mapping[str, object]) -> None:
    "Refuse what this class cannot mean, though another class can."
    for key in ONE.get(name, ()):
        if isinstance(said.get(key), Sequence):
            raise ValueError(f'{key} is {said[key]!r}, expected one value for all levels of a {name}')
    for key in NEEDED.get(name, ()):
        if said[key] is None:
            raise ValueError(f'{key} is null, expected a value: a {name} has no other meaning for it')
    by_channel = [said.get(key) is not None for key in ('latents_mean', 'latents_std')]
    if by_channel[0] != by_channel[1]:
        raise ValueError(f'latents_mean is {said.get("latents_mean")!r} and latents_std {said.get("latents_std")!r}, expected both or neither: pipelines pass over one alone')
    if all(by_channel) and said.get('shift_factor'):
        raise ValueError(f'shift_factor is {said["shift_factor"]!r} beside latents_mean and latents_std, expected one or the other: pipelines differ in which they read')
    for key in ('latents_mean', 'latents_std'):
        if all(by_channel) and len(said[key]) != said['latent_channels']:
            raise ValueError(f'{key} holds {len(said[key])} numbers, expected one for each of {said["latent_channels"]} channels')


def network_class(config: Mapping[str, object]) -> str:
    "The class of a U-Net: the one that is said, else the one whose settings these are."
    return str(config.get('_class_name') or ('UNet2DConditionModel' if 'cross_attention_dim' in config else 'UNet2DModel'))


def text_settings(config: Mapping[str, object], part: str = 'text') -> dict[str, object]:
    "The settings of one tower, of a configuration of its own or within that of both; as in transformers the older `_dict` replaces the newer one."
    name = {'text': 'CLIPTextConfig', 'vision': 'CLIPVisionConfig'}[part]
    if not config.keys() & {'text_config', 'vision_config', 'text_config_dict', 'vision_config_dict'}:
        return judged(name, config)
    judged('CLIPConfig', config)
    said = config.get(f'{part}_config_dict')
    said = config.get(f'{part}_config') if said is None else said
    if not isinstance(said, Mapping):
        raise ValueError(f'{part}_config is {said!r}, expected an object')
    return judged(name, said)


def _plain(key: str, value: object) -> object:
    "One way of saying a thing: a list of equal values is the value, and old words are new ones."
    if key in ('only_cross_attention', 'transformer_layers_per_block') and isinstance(value, Sequence) and value and all(v == value[0] for v in value):
        return value[0]
    if key in ('down_block_types', 'up_block_types') and isinstance(value, Sequence):
        return [v.removeprefix(OLD_BLOCKS) if isinstance(v, str) else v for v in value]
    return SAME[key].get(value, value) if key in SAME and isinstance(value, str | bool) else value
