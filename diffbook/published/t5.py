"""The encoder of transformers' T5: which of a file's tensors are its, their names, and its settings in both directions."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..nets.t5 import T5
from .fill import Places, build, fill
from .networks import judged
from .reading import Published
from .writing import same_arguments

CLASSES = ('T5EncoderModel', 'T5ForConditionalGeneration')  # of the second the decoder is left out
TABLE = 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight'
NAMES = {'shared.weight': 'embed.weight', TABLE: 'bias.table.weight', 'encoder.final_layer_norm.weight': 'norm.weight'}
INSIDE = {  # a block, from within
    'layer.0.layer_norm': 'norm1', **{f'layer.0.SelfAttention.{name}': name for name in 'qkvo'},
    'layer.1.layer_norm': 'norm2', 'layer.1.DenseReluDense.wo': 'narrow',
}  # fmt: skip
WIDE = {True: {'layer.1.DenseReluDense.wi_0': 'gate', 'layer.1.DenseReluDense.wi_1': 'widen'}, False: {'layer.1.DenseReluDense.wi': 'widen'}}
WORDS = {  # argument -> setting
    'vocab_size': 'vocab_size', 'width': 'd_model', 'layers': 'num_layers', 'heads': 'num_heads', 'head_dim': 'd_kv', 'hidden': 'd_ff',
    'buckets': 'relative_attention_num_buckets', 'far': 'relative_attention_max_distance', 'eps': 'layer_norm_epsilon',
}  # fmt: skip
GATED, PLAIN = ('gelu_new', 'gelu_pytorch_tanh'), ('relu',)


def is_t5(config: Mapping[str, object]) -> bool:
    "Whether settings are those of a T5."
    return (config.get('architectures') or [None])[0] in CLASSES or not config.get('architectures') and config.get('model_type') == 't5'


def arguments(
    config: Mapping[str, object],  # the config.json of a T5
) -> dict[str, object]:  # arguments of T5
    "Translate a published configuration; refuse by name what our class does not do."
    c = judged('T5Config', config)
    words = str(c['feed_forward_proj']).split('-')
    gated = words[0] == 'gated' if c['is_gated_act'] is None else c['is_gated_act']
    activation = c['dense_act_fn'] or ('gelu_new' if c['feed_forward_proj'] == 'gated-gelu' else words[-1])
    if activation not in (GATED if gated else PLAIN):
        raise ValueError(f'the activation is {activation!r}, {"gated" if gated else "not gated"}, expected gated gelu_new or plain relu')
    return {ours: c[theirs] for ours, theirs in WORDS.items()} | {'gated': gated}


def places(t5: T5) -> Places:
    "The table of names for `t5`."
    inside = INSIDE | WIDE[t5.arguments['gated']]
    found = NAMES | {f'encoder.block.{i}.{theirs}.weight': f'blocks.{i}.{ours}.weight' for i in range(len(t5.blocks)) for theirs, ours in inside.items()}
    return {theirs: (ours, slice(None)) for theirs, ours in found.items()}


def encoder_tensors(found: Published) -> dict[str, Tensor]:
    "The tensors of the encoder; its table of tokens stands in files under one of two names, or twice."
    tensors = {k: v for k, v in found.tensors.items() if not k.startswith(('decoder.', 'lm_head.'))}
    twin = tensors.pop('encoder.embed_tokens.weight', None)
    if twin is not None and twin is not (kept := tensors.setdefault('shared.weight', twin)) and not (kept.is_meta or torch.equal(kept, twin)):
        raise ValueError(f"{found.where}: 'shared.weight' and 'encoder.embed_tokens.weight' differ, expected one table")
    return tensors


def read(found: Published, dtype: torch.dtype | None) -> T5:
    "The encoder that a file holds, in eval mode."
    t5 = build(T5, arguments, found)
    return fill(t5, encoder_tensors(found), places(t5), found.where, dtype)


def as_published(t5: T5) -> dict[str, Tensor]:
    "The tensors of an encoder by published name."
    own = t5.state_dict()
    return {theirs: own[ours] for theirs, (ours, _) in places(t5).items()}


def settings(
    t5: T5,
) -> dict[str, object]:  # in transformers' words
    "Describe an encoder as transformers does."
    a = t5.arguments
    config = {theirs: a[ours] for ours, theirs in WORDS.items()}
    config |= {'architectures': ['T5EncoderModel'], 'model_type': 't5', 'feed_forward_proj': 'gated-gelu' if a['gated'] else 'relu', 'is_encoder_decoder': False}
    same_arguments(arguments(config), a, t5)
    return config
