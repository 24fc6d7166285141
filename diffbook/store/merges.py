"""The list of merges that CLIP published, and what a folder with it says of its numbers and its padding."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffbook.store.files import read_json

__all__ = ['CLIP_MERGES', 'clip_merges', 'check_numbers', 'check_folder']

CLIP_MERGES = 49152 - 256 - 2  # so many lines of the published list are used, after its first
LONGEST = 1 << 24  # bytes of a list of merges


def clip_merges(
    folder: Path,  # holds merges.txt, or OpenAI's bpe_simple_vocab_16e6.txt.gz
) -> list[str]:  # each 'left right'
    "Read the published list of merges."
    file, packed = folder / 'merges.txt', folder / 'bpe_simple_vocab_16e6.txt.gz'
    if not file.is_file() and not packed.is_file():
        raise FileNotFoundError(f'{folder} holds no {file.name} and no {packed.name}')
    try:
        with file.open('rb') if file.is_file() else gzip.open(packed) as source:
            data = source.read(LONGEST + 1)
        lines = data.decode().strip().split('\n')[1 : 1 + CLIP_MERGES]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f'{folder} holds a list of merges that cannot be read: {error}') from error
    if len(data) > LONGEST:
        raise ValueError(f'{folder} holds a list of merges of more than {LONGEST:,} bytes')
    return lines


def check_numbers(
    pieces: Sequence[str],  # by number, as the merges make them
    vocabulary: Mapping[str, int],  # as a file says
    where: object,  # for messages
) -> None:
    "Refuse a vocabulary that numbers its pieces in another way than the merges do."
    number = {piece: i for i, piece in enumerate(pieces)}
    for piece, i in vocabulary.items():
        if number.get(piece) != i:
            raise ValueError(f'{where}: {piece!r} is token {i}, expected {number.get(piece, "none")} by its merges')


def check_folder(
    folder: Path,
    pieces: Sequence[str],  # by number, as the merges make them
) -> int:  # the number of the padding
    "Refuse a folder that numbers its pieces in another way, adds words to them, or pads with what is no piece."
    check_numbers(pieces, _json(folder / 'vocab.json'), f'{folder}, vocab.json')
    settings = _json(folder / 'tokenizer_config.json')
    table = settings.get('added_tokens_decoder') or {}
    for word in [*_json(folder / 'added_tokens.json'), *(str(w.get('content') if isinstance(w, dict) else w) for w in table.values())]:
        if word not in pieces:
            raise ValueError(f'{folder}: the word {word!r} was added to the vocabulary; load_tokenizer of the chapter on published weights reads it')
    pad = (settings | _json(folder / 'special_tokens_map.json')).get('pad_token') or '<|endoftext|>'
    pad = pad.get('content') if isinstance(pad, dict) else pad
    if not isinstance(pad, str) or pad not in pieces:
        raise ValueError(f'{folder}: the padding token is {pad!r}, expected a piece of the vocabulary')
    return pieces.index(pad)


def _json(file: Path) -> dict:
    return read_json(file) if file.exists() else {}
