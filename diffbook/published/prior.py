"""The prior of unCLIP, diffusers' PriorTransformer, and what tells its decoder, UnCLIPTextProjModel: names and settings, both ways."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..unclip import DecoderConditions, PriorTransformer
from .fill import Places, build, fill
from .networks import judged
from .reading import Published
from .writing import same_arguments

CLASS, TOLD = 'PriorTransformer', 'UnCLIPTextProjModel'
WHOLE = {'positional_embedding': 'places', 'prd_embedding': 'query', 'clip_mean': 'mean', 'clip_std': 'std'}
NAMES = {  # diffusers -> ours, with a weight and a bias each
    'time_embedding.linear_1': 'time.0', 'time_embedding.linear_2': 'time.2', 'proj_in': 'noisy', 'embedding_proj': 'summary',
    'encoder_hidden_states_proj': 'words', 'norm_out': 'norm', 'proj_to_clip_embeddings': 'head',
}  # fmt: skip
BLOCK = {
    'norm1': 'norm1', 'attn1.to_q': 'q', 'attn1.to_k': 'k', 'attn1.to_v': 'v', 'attn1.to_out.0': 'out', 'norm3': 'norm2',
    'ff.net.0.proj': 'widen', 'ff.net.2': 'narrow',
}  # fmt: skip
TOLD_NAMES = {
    'embedding_proj': 'vec_text', 'clip_image_embeddings_project_to_time_embeddings': 'vec_image', 'clip_extra_context_tokens_proj': 'seq_image',
    'encoder_hidden_states_proj': 'seq_text', 'text_encoder_hidden_states_norm': 'norm',
}  # fmt: skip


def places(net: PriorTransformer) -> Places:
    "Fill the table of names for `net`."
    names = NAMES | {f'transformer_blocks.{k}.{theirs}': f'blocks.{k}.{ours}' for k in range(len(net.blocks)) for theirs, ours in BLOCK.items()}
    found = dict(WHOLE) | {f'{theirs}.{p}': f'{ours}.{p}' for theirs, ours in names.items() for p in ('weight', 'bias')}
    return {theirs: (ours, slice(None)) for theirs, ours in found.items()}


def arguments(config: Mapping[str, object]) -> dict[str, object]:
    "Translate a published configuration; refuse by name what our class does not do."
    c = judged(CLASS, config)
    heads = c['num_attention_heads']
    return {'dim': c['embedding_dim'], 'width': heads * c['attention_head_dim'], 'layers': c['num_layers'], 'heads': heads, 'context': c['num_embeddings']}


def load(found: Published, dtype: torch.dtype | None) -> PriorTransformer:
    "Build and fill the prior."
    net = build(PriorTransformer, arguments, found)
    return fill(net, found.tensors, places(net), found.where, dtype)


def as_published(net: PriorTransformer) -> dict[str, Tensor]:
    "The tensors of a prior by published name."
    own = net.state_dict()
    return {theirs: own[ours] for theirs, (ours, _) in places(net).items()}


def settings(net: PriorTransformer) -> dict[str, object]:
    "Describe a prior as diffusers does; refuse one that it does not have."
    a = net.arguments
    config = {'_class_name': CLASS, 'num_attention_heads': a['heads'], 'attention_head_dim': a['width'] // a['heads'], 'num_layers': a['layers'],
              'embedding_dim': a['dim'], 'num_embeddings': a['context'], 'additional_embeddings': 4}  # fmt: skip
    same_arguments(arguments(config) | {'seq_dim': a['dim'], 'eps': 1e-5}, a | {'seq_dim': net.seq_dim}, net)
    return config


def told_arguments(config: Mapping[str, object]) -> dict[str, object]:
    "Translate the configuration of what tells the decoder."
    c = judged(TOLD, config)
    return {'dim': c['clip_embeddings_dim'], 'vec_dim': c['time_embed_dim'], 'seq_dim': c['cross_attention_dim'], 'tokens': c['clip_extra_context_tokens']}


def load_told(found: Published, dtype: torch.dtype | None) -> DecoderConditions:
    "Build and fill what tells the decoder."
    names = {f'{theirs}.{p}': f'{ours}.{p}' for theirs, ours in TOLD_NAMES.items() for p in ('weight', 'bias')}
    names |= {'learned_classifier_free_guidance_embeddings': 'none'}
    return fill(build(DecoderConditions, told_arguments, found), found.tensors, {a: (b, slice(None)) for a, b in names.items()}, found.where, dtype)
