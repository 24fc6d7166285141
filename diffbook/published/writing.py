"""Write the published layout: the files that diffusers and transformers read, each written whole."""

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from ..store.files import make_folder, replacing, write_whole
from ..store.tensors import refuse_nan
from ..text import SPECIAL, Tokenizer
from .folders import DIFFUSERS
from .tokens import FLAGS


def same_arguments(read: Mapping, own: Mapping, model: nn.Module) -> None:
    "Refuse what would come back changed."
    plain = lambda v: tuple(v) if isinstance(v, (list, tuple)) else v  # noqa: E731
    flat = lambda a: {k: v for key, value in a.items() for k, v in (asdict(value).items() if is_dataclass(value) else [(key, value)])}  # noqa: E731
    read = flat(read)
    for key, value in flat(own).items():
        back = read.get(key, 0 if key in ('seq_dim', 'img_channels', 'cond_dim') else value)
        if key == 'out_channels' and value is None:
            value = own['in_channels']
        if plain(back) != plain(value):
            raise ValueError(f'{key} is {value!r}; in the published layout a {type(model).__name__} like this one can only have {back!r}')


def save_settings(folder: Path, said: Mapping[str, object], name: str = 'config.json') -> None:
    "Write settings as a published file has them."
    write_whole(make_folder(folder) / name, (json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + '\n').encode())


def save_network(folder: Path, said: Mapping[str, object], tensors: dict[str, Tensor]) -> None:
    "Write the tensors and settings of a part; the file of tensors may be the one that they are mapped from."
    refuse_nan(tensors)
    name = 'model' if 'architectures' in said else DIFFUSERS  # in transformers, and in diffusers
    with replacing(make_folder(folder) / f'{name}.safetensors') as temporary:
        save_file(tensors, temporary, {'format': 'pt'})
    save_settings(folder, said)


def save_index(folder: Path, said: Mapping[str, Mapping]) -> None:
    "Write the index by which diffusers finds its pipeline, from the settings of the parts."
    classes: dict[str, object] = {part: ['diffusers', said[part]['_class_name']] for part in ('unet', 'scheduler')}
    if 'vae' in said:
        classes |= {'vae': ['diffusers', said['vae']['_class_name']], 'text_encoder': ['transformers', said['text_encoder']['architectures'][0]], 'tokenizer': ['transformers', 'CLIPTokenizer'],
                    'safety_checker': [None, None], 'feature_extractor': [None, None], 'requires_safety_checker': False}  # fmt: skip
    kind = 'StableDiffusionPipeline' if 'vae' in said else 'DDIMPipeline'
    save_settings(folder, {'_class_name': kind, '_diffusers_version': '0.30.0', **classes}, 'model_index.json')


def save_tokenizer(folder: Path, tokenizer: Tokenizer, more: Mapping) -> None:
    "Write a tokenizer in the layout of vocab.json and merges.txt."
    make_folder(folder)
    pad = tokenizer.pieces[tokenizer.pad]
    special = {'bos_token': SPECIAL[0], 'eos_token': SPECIAL[1], 'unk_token': SPECIAL[1], 'pad_token': pad}
    settings = {'tokenizer_class': 'CLIPTokenizer', 'model_max_length': tokenizer.context, 'do_lower_case': True, 'errors': 'replace', **special}
    if words := tokenizer.arguments['added']:
        settings['added_tokens_decoder'] = {str(w.number): {'content': w.text, 'special': w.text in special.values(), **{k: getattr(w, k) for k in FLAGS}} for w in words}
    write_whole(folder / 'merges.txt', '\n'.join(['#version: 0.2', *tokenizer.arguments['merges'], '']).encode())
    save_settings(folder, {piece: i for i, piece in enumerate(tokenizer.pieces[: tokenizer.end + 1])}, 'vocab.json')
    save_settings(folder, special, 'special_tokens_map.json')
    save_settings(folder, settings | dict(more), 'tokenizer_config.json')
