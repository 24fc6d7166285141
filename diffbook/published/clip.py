"""The CLIP of transformers and its towers: which of a file's tensors are theirs, and their settings in both directions."""

from collections.abc import Mapping

from torch import Tensor

from ..nets.clip import TextTower, gelu, quick_gelu
from .networks import text_settings
from .reading import Published

ACTIVATIONS = {'quick_gelu': quick_gelu, 'gelu': gelu}
SHARED = {'width': 'hidden_size', 'hidden': 'intermediate_size', 'layers': 'num_hidden_layers', 'heads': 'num_attention_heads', 'activation': 'hidden_act', 'eps': 'layer_norm_eps'}
WORDS = {  # part -> argument of its tower -> setting
    'text': SHARED | {'vocab_size': 'vocab_size', 'context': 'max_position_embeddings', 'end': 'eos_token_id'},
    'vision': SHARED | {'size': 'image_size', 'patch': 'patch_size', 'channels': 'num_channels'},
}


def arguments(
    config: Mapping[str, object],  # the config.json of a tower, or of both
    part: str = 'text',  # 'text' or 'vision'
) -> dict[str, object]:  # arguments of TextTower or ImageTower
    "Translate a published configuration; refuse by name what our classes do not do."
    c = text_settings(config, part)
    found = {ours: c[theirs] for ours, theirs in WORDS[part].items()}
    if found['activation'] not in ACTIVATIONS:
        raise ValueError(f'hidden_act is {found["activation"]!r}, expected {" or ".join(ACTIVATIONS)}')
    found['activation'] = ACTIVATIONS[found['activation']]
    if found.get('end') == 2:  # a slip in early files: the end of a text was then found as its largest token
        found['end'] = None
    return found


def both(found: Published) -> Published:
    "Give back what is a whole CLIP; raise a ValueError for a tower alone."
    if not all({f'{part}_config', f'{part}_config_dict'} & found.config.keys() for part in ('text', 'vision')):
        raise ValueError(f'{found.where}: config.json has no text_config and vision_config; for a text tower alone take load_text_encoder')
    return found


def tower_tensors(found: Published) -> tuple[dict[str, Tensor], int | None]:
    "The tensors of the text tower, and the width of its projection, if its class has one; what the class does not have is left out, as in transformers."
    whole = 'text_config' in found.config or 'text_config_dict' in found.config
    tensors = {k.removeprefix('text_model.'): v for k, v in without_buffers(found).items() if not whole or k.startswith('text_model.')}
    said = (found.config.get('architectures') or [None])[0]
    if said == 'CLIPTextModelWithProjection' or said is None and 'text_projection.weight' in tensors:
        return tensors, found.config.get('projection_dim', 512)
    tensors.pop('text_projection.weight', None)
    return tensors, None


def without_buffers(found: Published) -> dict[str, Tensor]:
    "Very old files hold the numbers 0, 1, 2 ... as a tensor."
    return {k: v for k, v in found.tensors.items() if not k.endswith('.position_ids')}


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of OpenAI's training images


def clip_pixels(
    x: Tensor,  # (b, 3, h, w) in [-1, 1]
) -> Tensor:  # as OpenAI's image tower expects them
    "Turn images in the units of this book into those of OpenAI's CLIP."
    mean, std = (x.new_tensor(v)[:, None, None] for v in (MEAN, STD))
    return ((x + 1) / 2 - mean) / std


def as_published(tower: TextTower) -> dict[str, Tensor]:
    "The tensors of a text tower by published name."
    return {k if k.startswith('text_projection') else f'text_model.{k}': v for k, v in tower.state_dict().items()}


def settings(
    tower: TextTower,
) -> dict[str, object]:  # in transformers' words
    "Describe a text tower as transformers does."
    a = tower.arguments
    activation = next((name for name, f in ACTIVATIONS.items() if f is a['activation']), None)
    if activation is None:
        raise ValueError(f'activation is {a["activation"]}, expected {" or ".join(ACTIVATIONS)}')
    return {
        'architectures': ['CLIPTextModelWithProjection' if a['dim'] else 'CLIPTextModel'], 'model_type': 'clip_text_model', 'vocab_size': a['vocab_size'],
        'max_position_embeddings': a['context'], 'hidden_size': a['width'], 'num_hidden_layers': a['layers'], 'num_attention_heads': a['heads'],
        'intermediate_size': a['hidden'] or 4 * a['width'], 'hidden_act': activation, 'layer_norm_eps': a['eps'],
        'eos_token_id': 2 if a['end'] is None else a['end'], 'projection_dim': a['dim'] or 512,
    }  # fmt: skip
