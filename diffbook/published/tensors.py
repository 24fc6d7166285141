"Safetensors files as tensors by name, mapped into memory."

from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..store.files import read_header


def read_tensors(
    files: Iterable[str | Path],  # safetensors, each with names of its own
) -> dict[str, Tensor]:  # views of the files, mapped into memory: nothing is read before it is looked at
    "Map safetensors files into memory and give their tensors by name; a ValueError says what is wrong with a file."
    found: dict[str, Tensor] = {}
    for file in map(Path, files):
        try:
            read_header(file)
            data = safe_open(file, 'pt')
            tensors = {name: data.get_tensor(name) for name in data.keys()}
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f'{file} could not be read{_pointer(file)}: {error}') from error
        if twice := found.keys() & tensors.keys():
            raise ValueError(f'{file} holds {min(twice)!r}, which another file holds already')
        found |= tensors
    return found


def _pointer(file: Path) -> str:
    with file.open('rb') as data:
        pointer = data.read(20).startswith(b'version https://git')
    return ' (it is a pointer of Git LFS, not the file: `git lfs pull` brings that)' if pointer else ''
