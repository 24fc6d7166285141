"""Where a published part lies: which folder, which of several files, here or on the Hub.

Of several files that hold a part, one is preferred, always in this order: the variant that was asked for by name; else
the file without a variant; else half precision, `fp16`; else the one other variant that is there. Of two others none is
chosen. One whole file is preferred to shards. The folder `unet` is preferred to `unet_ema`, and both to the top.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ..store.files import read_json
from .foreign import refuse_file, refuse_folder

DIFFUSERS = 'diffusion_pytorch_model'
VOCABULARY = ('merges.txt', 'tokenizer.json', 'bpe_simple_vocab_16e6.txt.gz', 'spiece.model')  # a tokenizer is any of these


@dataclass(frozen=True)
class Kind:
    "What the published folder of one part is called and holds."

    folder: str  # within the folder of the whole model
    config: str  # the file that says what it is
    weights: str | None  # the file of its weights, without ending
    classes: tuple[str, ...] = ()  # what we can build
    any_of: tuple[str, ...] = ()  # files of which one must be there; none: the one of its settings
    more: tuple[str, ...] = ()  # other files that are read if they are there
    also: tuple[str, ...] = ()  # other folders within that of the whole model


UNETS = ('UNet2DModel', 'UNet2DConditionModel')
TRANSFORMERS = ('DiTTransformer2DModel', 'Transformer2DModel', 'SD3Transformer2DModel', 'FluxTransformer2DModel')
UNCLIP = ('PriorTransformer', 'UnCLIPTextProjModel')
KINDS = {
    'network': Kind('unet', 'config.json', DIFFUSERS, UNETS + TRANSFORMERS + UNCLIP, also=('transformer', 'prior')),
    'unet': Kind('unet', 'config.json', DIFFUSERS, UNETS),
    'vae': Kind('vae', 'config.json', DIFFUSERS, ('AutoencoderKL',)),
    'controlnet': Kind('controlnet', 'config.json', DIFFUSERS, ('ControlNetModel',)),
    'text_encoder': Kind('text_encoder', 'config.json', 'model', ('CLIPTextModel', 'CLIPTextModelWithProjection', 'CLIPModel', 'T5EncoderModel', 'T5ForConditionalGeneration')),
    'clip': Kind('', 'config.json', 'model', ('CLIPModel',)),
    'scheduler': Kind('scheduler', 'scheduler_config.json', None),
    'tokenizer': Kind('tokenizer', 'tokenizer_config.json', None, (), VOCABULARY, ('vocab.json', 'added_tokens.json', 'special_tokens_map.json')),
}
AVERAGED = {'unet': 'unet_ema'}  # folder -> that of the averaged weights, which training scripts write beside it


def find_folder(source: str | Path, kind: Kind, variant: str | None = None) -> Path:
    "The folder of a part: within `source`, `source` itself, or fetched from the Hub."
    root = Path(source)
    refuse_file(root)
    if root.is_dir():
        return _complete(_inner(root, kind), kind, variant)
    if root.exists() or not isinstance(source, str) or source.count('/') != 1 or source.startswith(('.', '~', '/')):
        raise FileNotFoundError(f'there is no folder {root}; expected one with {contents(kind)}, or a name of the Hub such as openai/clip-vit-large-patch14')
    return _complete(_inner(_fetch(source, kind, variant), kind), kind, variant, source)


def contents(kind: Kind) -> str:
    "The files to fill a folder with, in words."
    return ' and '.join([kind.config, *kind.any_of[:1], *([f'{kind.weights}.safetensors'] if kind.weights else [])])


def _inner(root: Path, kind: Kind) -> Path:
    "The folder of the part within that of the model; without one, the model's own is the part's."
    for name in filter(None, (kind.folder, *kind.also, AVERAGED.get(kind.folder))):
        if (root / name).is_dir() and (_is_part(root / name, kind) or not _is_part(root, kind)):
            return root / name
    return root


def _is_part(folder: Path, kind: Kind) -> bool:
    return any((folder / name).is_file() for name in kind.any_of or (kind.config,))


def find_weights(folder: Path, kind: Kind, variant: str | None = None) -> list[Path]:
    "The files of the weights, in the order of preference that stands above; none, if the folder holds none."
    there = dict(_variants(folder, kind))
    if variant is None and len(there) > 1 and not there.keys() & {'', 'fp16'}:
        raise ValueError(f'{folder} holds the variants {", ".join(sorted(there))}, and none is preferred; choose one, such as variant={min(there)!r}')
    wanted = [variant] if variant else ['', 'fp16', *there]
    file = next((there[name] for name in wanted if name in there), None)
    if variant and there and file is None:
        raise ValueError(f'{folder} holds no variant {variant!r} of {kind.weights}.safetensors; it holds {", ".join(sorted(there)).strip(", ") or "the one without a variant"}')
    return [] if file is None else read_index(file) if file.suffix == '.json' else [file]


def _variants(folder: Path, kind: Kind) -> Iterator[tuple[str, Path]]:
    "Each variant that lies in a folder, and its file or index; of both the file comes last, so that it holds."
    word, whole = r'([\w-]+)', re.escape(str(kind.weights))
    for pattern in (rf'{whole}\.safetensors\.index(?:\.{word})?\.json', rf'{whole}(?:\.{word})?\.safetensors'):
        for file in sorted(folder.iterdir()) if folder.is_dir() else []:
            if (m := re.fullmatch(pattern, file.name)) and file.is_file() and not re.search(r'-\d+-of-\d+', file.name):
                yield m[1] or '', file


def read_index(index: Path) -> list[Path]:
    "The files that an index names; it is distrusted: they lie beside it, or are refused."
    names = sorted(_named(index))
    for name in names:
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f'{index.parent} lacks {name}, which {index.name} names')
    return [index.parent / name for name in names]


def _named(index: Path) -> set[str]:
    names = read_json(index).get('weight_map')
    if not isinstance(names, dict) or not names or not all(isinstance(v, str) for v in names.values()):
        raise ValueError(f'{index} has no weight_map from names to files')
    for name in sorted(set(names.values())):
        if PurePosixPath(name).name != name or '\\' in name or not name.endswith('.safetensors'):
            raise ValueError(f'{index} names the file {name!r}, expected a .safetensors file beside it')
    return set(names.values())


def _complete(folder: Path, kind: Kind, variant: str | None, hub: str | None = None) -> Path:
    "Give back a folder that holds what it should; say what it lacks."
    lacking = [] if _is_part(folder, kind) else [' and no '.join(kind.any_of or (kind.config,))]
    if kind.weights and not find_weights(folder, kind, variant):
        refuse_folder(folder)
        lacking.append(f'{kind.weights}.safetensors')
    if lacking and hub:
        raise FileNotFoundError(f'{hub} on the Hub holds no {" and no ".join(lacking)}, neither in {kind.folder or "its top folder"}{"/ nor at its top" * bool(kind.folder)}; '
                                'if it holds pickles only (.bin, .ckpt), download one and run diffbook convert on it')  # fmt: skip
    if lacking:
        raise FileNotFoundError(f'{folder} holds no {" and no ".join(lacking)}')
    return folder


def _fetch(name: str, kind: Kind, variant: str | None) -> Path:
    "Ask the Hub for the files of a part, the preferred ones first, until there are weights."
    places = [[kind.folder, *kind.also, ''] if kind.folder else [''], *([[AVERAGED[kind.folder]]] if kind.folder in AVERAGED else [])]
    first = None
    for folders in places:
        for mark in [f'.{variant}'] if variant else ['', '.fp16', '.*'] if kind.weights else ['']:
            root = _download(name, kind, folders, _wanted(kind, mark))
            inner = _inner(root, kind)
            if not kind.weights or dict(_variants(inner, kind)):
                return _with_shards(root, name, kind, folders, mark)
            first = first or root
    return first


def _wanted(kind: Kind, mark: str) -> list[str]:
    "Names of the files of a part, those of the weights with the mark of a variant; a pattern reaches no further than it must."
    w = kind.weights
    weights = [f'{w}{mark}.safetensors', f'{w}.safetensors.index{mark}.json', f'{w}{mark}-?????-of-?????.safetensors', f'{w}-?????-of-?????{mark}.safetensors']
    return [kind.config, *kind.any_of, *kind.more, *(dict.fromkeys(weights) if w else ())]


def _with_shards(root: Path, name: str, kind: Kind, folders: list[str], mark: str) -> Path:
    "An index may name files in its own way: ask for those too."
    inner = _inner(root, kind)
    named = {file for index in dict(_variants(inner, kind)).values() if index.suffix == '.json' for file in _named(index)} if kind.weights else set()
    if all((inner / file).is_file() for file in named):
        return root
    return _download(name, kind, folders, _wanted(kind, mark) + sorted(named))


def _download(name: str, kind: Kind, folders: list[str], files: list[str]) -> Path:
    "Bring files to this machine; say which folder to fill by hand if the Hub does not answer."
    here = Path(name) / kind.folder
    by_hand = f'put {contents(kind)} of {name} into the folder {here}'
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(f'{here} is no folder here, and reading from the Hub needs huggingface_hub: pip install huggingface_hub, or {by_hand}') from error
    try:
        return Path(snapshot_download(name, allow_patterns=[f'{folder}/{file}' if folder else file for folder in folders for file in files]))
    except (OSError, ValueError) as error:  # also the Hub's own: no network, no such name
        raise FileNotFoundError(f'the Hub did not give {name} ({type(error).__name__}); {by_hand}') from error


def in_folder(kind: Kind, folder: str | None) -> Kind:
    "The same part in another folder, such as a second text encoder."
    return kind if folder is None else replace(kind, folder=folder)
