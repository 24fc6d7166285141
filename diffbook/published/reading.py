"""Read a published part, or all parts of a model: settings and tensors by their published names, each file once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ..store.files import read_json
from .folders import KINDS, Kind, find_folder, find_weights, in_folder
from .plausible import plausible
from .single import read_single
from .tensors import read_tensors


@dataclass(frozen=True)
class Published:
    "What a published part says: its configuration, its tensors by their published names, and where that stands."

    config: dict
    tensors: dict[str, Tensor]
    where: Path


Source = str | Path | Published


def read_published(
    source: Source,  # a folder of the part or of the whole model, a name of the Hub, a single .safetensors file, or what was read of it
    part: str,  # one of KINDS
    config: Mapping[str, object] | None = None,  # what a single file does not say
    folder: str | None = None,  # of the part within that of the model, where it is not the usual one
    variant: str | None = None,  # which of several files of weights; None: the full one, else fp16, else the one there is
) -> Published:
    "Read configuration and tensors of one part; a ValueError or FileNotFoundError says what is wrong or missing, and where."
    if isinstance(source, Published):
        return replace(source, config=source.config | dict(config or {}))
    if _is_single(source):
        return _of_single(read_tensors([source]), Path(source), part, config, variant)
    kind = in_folder(KINDS[part], folder)
    where = find_folder(source, kind, variant)
    said = read_json(where / kind.config) | dict(config or {})
    plausible(said, where / kind.config)
    _check_class(said, kind, where / kind.config)
    return Published(said, read_tensors(find_weights(where, kind, variant)) if kind.weights else {}, where)


def read_parts(
    source: str | Path,  # as of `read_published`, of the whole model
    parts: Iterable[str],  # some of KINDS
) -> dict[str, Published]:
    "Read several parts of one model; a file that holds them all is opened once."
    if not _is_single(source):
        return {part: read_published(source, part) for part in parts}
    tensors = read_tensors([source])
    return {part: _of_single(tensors, Path(source), part, None, None) for part in parts}


def _is_single(source: str | Path) -> bool:
    return Path(source).suffix == '.safetensors' and Path(source).is_file()


def _of_single(tensors: Mapping[str, Tensor], file: Path, part: str, config: Mapping[str, object] | None, variant: str | None) -> Published:
    part = 'unet' if part == 'network' else part  # such a file holds no other
    return Published(*read_single(tensors, file, part, config or {}, variant), file)


def _check_class(config: Mapping, kind: Kind, file: Path) -> None:
    "Refuse a model of another class, by name."
    said = config.get('_class_name') or (config.get('architectures') or [None])[0]
    if kind.classes and said is None and str(config.get('model_type', 'clip')) not in ('clip', 'clip_text_model', 't5'):
        said = f'model of type {config["model_type"]}'
    if kind.classes and said is not None and said not in kind.classes:
        raise ValueError(f'{file} describes a {said}; supported here: {", ".join(kind.classes)}')
