"""Read a published tokenizer of T5 as the transformers library does: its pieces in either layout, `tokenizer.json` or
`spiece.model`, the words that were added with their flags, its padding.

As there, a text is normalised by the table of characters, split at its spaces, and each word begins with the mark, whatever
the file says of these steps; what is said in two files must be the same.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..store.sentencepiece import read_sentencepieces
from ..store.words import AddedWord
from ..text import Tokenizer
from .tokens import as_flags, as_number, as_object, as_text, judge, read_tokenizer
from .unigram import Unigram

CLASSES = ('T5Tokenizer', 'T5TokenizerFast')
MODEL = 'spiece.model'
STEPS = ('Precompiled', 'Strip', 'Replace', 'WhitespaceSplit', 'Metaspace')  # of the file; each is done here too
WORDS = {'eos_token': '</s>', 'unk_token': '<unk>', 'pad_token': '<pad>'}


def read(folder: Path) -> Tokenizer | Unigram:
    "Read a tokenizer from its own folder, by the class that is named, else by its files; each is read once."
    said = as_object(folder / 'tokenizer_config.json')
    kind = said.get('tokenizer_class')
    unigram = kind in CLASSES if kind else (folder / MODEL).is_file()
    return read_unigram(folder, said) if unigram else read_tokenizer(folder, said)


def read_unigram(folder: Path, said: Mapping) -> Unigram:
    "Read a tokenizer of T5; `said` is its tokenizer_config.json."
    judge(said, 'tokenizer_config.json, T5', folder)
    context, extra = said.get('model_max_length', 512), said.get('extra_ids', 100)
    if isinstance(context, bool) or not isinstance(context, (int, float)):
        raise ValueError(f'{folder}, tokenizer_config.json: model_max_length is {context!r}, expected a whole number')
    if type(extra) is not int or not 0 <= extra <= 10_000:
        raise ValueError(f'{folder}, tokenizer_config.json: extra_ids is {extra!r}, expected a whole number from 0 to 10,000')
    pieces, scores, charsmap, data = _model(folder, [f'<extra_id_{i}>' for i in reversed(range(extra))])
    words = {text: AddedWord(text, number, **flags) for text, number, flags in _added(folder, said, data, pieces)}
    numbers = {piece: i for i, piece in enumerate(pieces)}
    named = {key: as_text(said.get(key) or word, folder, key) for key, word in WORDS.items()}
    if strange := [text for text in named.values() if text not in numbers]:
        raise ValueError(f'{folder}: {strange[0]!r} is no piece of the vocabulary')
    end, unknown, pad = (numbers[named[key]] for key in WORDS)
    try:
        return Unigram(pieces, scores, int(context) if context < 1e6 else 512, unknown=unknown, end=end, pad=pad, charsmap=charsmap, added=tuple(words.values()))
    except ValueError as error:
        raise ValueError(f'{folder}: {error}') from error


def _model(folder: Path, extra: list[str]) -> tuple[list[str], list[float], str, dict]:
    "Pieces, scores, the table of characters in base 64, and what tokenizer.json says, if it is there."
    data, found = as_object(folder / 'tokenizer.json'), []
    if data:
        judge(data, 'tokenizer.json', f'{folder}, tokenizer.json')
        found.append(_of_json(data, f'{folder}, tokenizer.json'))
    if (folder / MODEL).is_file():
        m = read_sentencepieces(folder / MODEL)
        found.append(([*m.pieces, *extra], [*m.scores, *(0.0 for _ in extra)], base64.b64encode(m.charsmap).decode()))
    if not found:
        raise FileNotFoundError(f'{folder} holds no {MODEL} and no tokenizer.json')
    if found[0] != found[-1]:
        what = next(name for name, a, b in zip(('pieces', 'scores', 'normalisation'), *found) if a != b)
        raise ValueError(f'{folder}: {what} in tokenizer.json and in {MODEL} differ, expected the same; remove the wrong one')
    return *found[0], data


def _of_json(data: Mapping, where: str) -> tuple[list[str], list[float], str]:
    model = data.get('model')
    vocabulary = model.get('vocab') if isinstance(model, dict) else None
    if not isinstance(vocabulary, list) or model.get('type', 'Unigram') != 'Unigram':
        raise ValueError(f'{where}: the model is {model.get("type") if isinstance(model, dict) else model!r}, expected Unigram with a vocab')
    judge(model, 'tokenizer.json, Unigram', where)
    for entry in vocabulary:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and type(entry[1]) in (int, float)):
            raise ValueError(f'{where}: vocab holds {str(entry)[:60]}, expected a piece and its score')
    return [text for text, _ in vocabulary], [float(score) for _, score in vocabulary], _table(data, where)


def _table(data: Mapping, where: str) -> str:
    "The table of characters, in base 64; refuse steps of another kind."
    table = ''
    for key, inner in (('normalizer', 'normalizers'), ('pre_tokenizer', 'pretokenizers')):
        said = data.get(key) or {}
        steps = (said.get(inner) or []) if isinstance(said, dict) and said.get('type') == 'Sequence' else [said] if said else []
        for step in steps:
            kind = step.get('type') if isinstance(step, dict) else step
            if kind not in STEPS:
                raise ValueError(f'{where}: {key} has the step {kind!r}, expected {", ".join(STEPS)}')
            table = str(step.get('precompiled_charsmap') or '') if kind == 'Precompiled' and not table else table
    try:
        base64.b64decode(table, validate=True)
    except binascii.Error as error:
        raise ValueError(f'{where}: precompiled_charsmap is not in base 64: {error}') from error
    return table


def _added(folder: Path, said: Mapping, data: Mapping, pieces: list[str]) -> Iterator[tuple[str, int, dict]]:
    "Content, number and flags of each word that is cut out: those of the table, else of tokenizer.json, else what the vocabulary itself sets apart."
    table = said.get('added_tokens_decoder')
    if isinstance(table, dict):
        for number, word in table.items():
            yield as_text(word, folder, f'added token {number}'), as_number(number, folder), as_flags(word, folder)
    elif table is not None:
        raise ValueError(f'{folder}, tokenizer_config.json: added_tokens_decoder is {type(table).__name__}, expected an object')
    elif data.get('added_tokens'):
        for word in data['added_tokens']:
            yield as_text(word, folder, 'an added token'), as_number(word.get('id'), folder), as_flags(word, folder)
    else:
        for i, piece in enumerate(pieces):
            if piece in WORDS.values() or piece.startswith('<extra_id_'):
                yield piece, i, {}


