"""Captions beside pictures: text files in UTF-8, bounded, without characters that a terminal would obey."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

__all__ = ['check_caption', 'captions_beside']

LONGEST = 1 << 16  # bytes of a caption


def check_caption(text: str, where: object) -> str:
    "Give back a text that a model may read; `where` is for messages."
    if (size := len(text.encode('utf-8', 'surrogatepass'))) > LONGEST:
        raise ValueError(f'{where} has {size:,} bytes, expected at most {LONGEST:,}')
    strange = [c for c in text if unicodedata.category(c) in ('Cc', 'Cs') and c not in '\t\n\r']
    if strange:
        raise ValueError(f'{where} holds the control character U+{ord(strange[0]):04X}, expected text')
    return text


def captions_beside(files: Sequence[Path], wanted: bool | None) -> tuple[str, ...] | None:
    "Captions that are demanded (True), taken if each image has a good one (None), or not looked at."
    if wanted is False:
        return None
    try:
        return _read_captions(files)
    except (OSError, ValueError):
        if wanted:
            raise
        return None


def _read_captions(files: Sequence[Path]) -> tuple[str, ...]:
    "The captions beside images."
    beside = [file.with_suffix('.txt') for file in files]
    lacking = [path for path in beside if not path.is_file()]
    if len(lacking) == len(files):
        raise ValueError(f'there are no captions: expected a text file beside each image, such as {beside[0]}')
    if lacking:
        raise FileNotFoundError(f'{lacking[0]} is not there: {len(files) - len(lacking)} of {len(files)} images have a caption beside them, expected all or none')
    return tuple(_read_caption_file(path) for path in beside)


def _read_caption_file(path: Path) -> str:
    if (size := path.stat().st_size) > LONGEST:
        raise ValueError(f'{path} has {size:,} bytes, expected at most {LONGEST:,}')
    try:
        text = path.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8: {error}') from error
    if not (caption := ' '.join(check_caption(text, path).split())):
        raise ValueError(f'{path} is empty, expected a caption')
    return caption
