"""Read a published tokenizer of CLIP as the transformers library does: its merges in either layout, the words that were
added to it with their flags, its padding; every key of its settings is followed, has no effect, or is refused by name.

Of two places that say the same thing one is preferred, as there: the table `added_tokens_decoder` to
`special_tokens_map.json`, `added_tokens.json` and the added words of `tokenizer.json`; and of these a later one to an
earlier. Merges that are written twice must be the same.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..store.files import read_json
from ..store.merges import check_numbers, clip_merges
from ..store.words import AddedWord
from ..text import SPECIAL, Tokenizer
from .folders import KINDS, find_folder, in_folder
from .foreign import refuse_file

FOLLOWED = 'followed'
ITS_OWN = "no effect: CLIP's tokenizer has its own, whatever the file says"
HISTORY = 'no effect: where it came from, or how it was called'
DECODING = 'no effect: of turning numbers into text'
CALLS = 'no effect: a default of calls that the pipelines do not make'
FLAGS = ('lstrip', 'rstrip', 'single_word', 'normalized')
NAMED = ('bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token')  # in this order they are added
TOKENIZERS: dict[str, Mapping[str, str]] = {
    'tokenizer_config.json': {
        **dict.fromkeys(('tokenizer_class', 'model_max_length', 'added_tokens_decoder', 'additional_special_tokens', 'extra_special_tokens', *NAMED), FOLLOWED),
        'padding_side': 'refused: texts that are filled up at their beginning', 'truncation_side': 'refused: texts that are cut at their beginning',
        'split_special_tokens': 'refused: special tokens that are cut like words', 'add_bos_token': 'refused: rows without a start', 'add_eos_token': 'refused: rows without an end',
        **dict.fromkeys(('do_lower_case', 'add_prefix_space', 'strip_accents', 'trim_offsets'), ITS_OWN), **dict.fromkeys(('errors', 'clean_up_tokenization_spaces', 'spaces_between_special_tokens'), DECODING),
        **dict.fromkeys(('name_or_path', 'special_tokens_map_file', 'tokenizer_file', 'processor_class', 'auto_map', 'backend', 'is_local', 'local_files_only', 'use_fast', 'transformers_version'), HISTORY),
        **dict.fromkeys(('model_input_names', 'max_length', 'stride', 'truncation_strategy', 'pad_to_multiple_of', 'pad_token_type_id', 'chat_template', 'model_specific_special_tokens',
                         'return_tensors', 'verbose', 'cache_dir', 'padding', 'truncation'), CALLS)},
    'tokenizer.json': {
        'model': FOLLOWED, 'added_tokens': FOLLOWED, 'truncation': FOLLOWED, 'padding': FOLLOWED, 'version': HISTORY,
        **dict.fromkeys(('normalizer', 'pre_tokenizer', 'post_processor'), ITS_OWN), 'decoder': DECODING},
    'tokenizer.json, model': {
        'type': FOLLOWED, 'vocab': FOLLOWED, 'merges': FOLLOWED, **dict.fromkeys(('unk_token', 'fuse_unk', 'byte_fallback'), 'no effect: there is no text that the bytes do not spell'),
        'dropout': 'refused: merges that are left out at random', 'ignore_merges': 'refused: words that are looked up whole', 'continuing_subword_prefix': 'refused: pieces with another mark',
        'end_of_word_suffix': 'refused: pieces with another mark'},
    'tokenizer_config.json, T5': {
        **dict.fromkeys(('tokenizer_class', 'model_max_length', 'added_tokens_decoder', 'extra_ids', 'eos_token', 'unk_token', 'pad_token'), FOLLOWED),
        **dict.fromkeys(('additional_special_tokens', 'extra_special_tokens'), 'no effect: the table of added words says it, or extra_ids'),
        'padding_side': 'refused: texts that are filled up at their beginning', 'truncation_side': 'refused: texts that are cut at their beginning',
        'split_special_tokens': 'refused: special tokens that are cut like words', 'sp_model_kwargs': 'refused: cuts that are drawn at random',
        **dict.fromkeys(('legacy', 'add_prefix_space', 'vocab_file'), 'no effect: transformers reads it no more; every part of a text begins with the mark'),
        **dict.fromkeys(('bos_token', 'sep_token', 'cls_token', 'mask_token'), 'no effect: rows of T5 have none'), **dict.fromkeys(('clean_up_tokenization_spaces', 'spaces_between_special_tokens', 'errors'), DECODING),
        **dict.fromkeys(('name_or_path', 'special_tokens_map_file', 'tokenizer_file', 'processor_class', 'auto_map', 'backend', 'is_local', 'local_files_only', 'use_fast', 'transformers_version'), HISTORY),
        **dict.fromkeys(('model_input_names', 'max_length', 'stride', 'truncation_strategy', 'pad_to_multiple_of', 'pad_token_type_id', 'chat_template', 'model_specific_special_tokens',
                         'return_tensors', 'verbose', 'cache_dir', 'padding', 'truncation'), CALLS)},
    'tokenizer.json, Unigram': {
        'type': FOLLOWED, 'vocab': FOLLOWED, 'unk_id': 'no effect: it is the number of unk_token', 'byte_fallback': 'refused: strange characters that are spelt by bytes',
        'alpha': 'refused: cuts that are drawn at random', 'nbest_size': 'refused: cuts that are drawn at random', 'fuse_unk': 'refused: strange characters that are counted one by one'},
    'added token': {**dict.fromkeys(('content', 'id', *FLAGS), FOLLOWED), 'special': 'no effect: on the numbers of a text', '__type': HISTORY},
}  # fmt: skip
SILENT = {'padding_side': 'right', 'truncation_side': 'right', 'split_special_tokens': False, 'add_bos_token': True, 'add_eos_token': True, 'dropout': None,
          'ignore_merges': False, 'sp_model_kwargs': {}, 'byte_fallback': False, 'alpha': None, 'nbest_size': None, 'fuse_unk': True, 'continuing_subword_prefix': '', 'end_of_word_suffix': '</w>'}  # fmt: skip


def find_tokenizer(source: str | Path, folder: str = 'tokenizer') -> Path:
    "The folder of a tokenizer: within `source`, `source` itself, or fetched from the Hub."
    root, kind = Path(source), in_folder(KINDS['tokenizer'], folder)
    refuse_file(root)
    if root.is_file():
        raise ValueError(f'{source} is a file, and holds no tokenizer; expected a folder with merges.txt or tokenizer.json')
    where = next((f for f in (root / folder, root) if any((f / name).is_file() for name in kind.any_of)), None)
    if where is None and root.is_dir():
        raise FileNotFoundError(f'{source} holds no {folder}/ with merges.txt or tokenizer.json, and neither file itself')
    return where or find_folder(source, kind)


@contextmanager
def _unhurried() -> Iterator[None]:
    "Look for no garbage meanwhile: of the hundred thousand small things that are made, all are kept."
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@_unhurried()
def read_tokenizer(folder: Path, said: Mapping | None = None) -> Tokenizer:
    "Read a tokenizer from its own folder; `said` is its tokenizer_config.json, if that was read."
    settings = _settings(folder, as_object(folder / 'tokenizer_config.json') if said is None else dict(said))
    merges, vocabularies, data = _merges(folder)
    context = settings.get('model_max_length', 77)
    if isinstance(context, bool) or not isinstance(context, (int, float)):
        raise ValueError(f'{folder}, tokenizer_config.json: model_max_length is {context!r}, expected a whole number')
    context = context if context < 1e6 else 77  # a huge number means that nobody said
    where = f'{folder}, tokenizer.json' if data else folder
    try:
        plain = Tokenizer(merges, context)
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error
    for file, vocabulary in vocabularies.items():
        check_numbers(plain.pieces, vocabulary, f'{folder}, {file}')
    return _with_words(folder, settings, data, plain)


def _settings(folder: Path, said: dict) -> dict:
    "What tokenizer_config.json says, and where it has no table of added words also special_tokens_map.json."
    kind = said.get('tokenizer_class') or 'CLIPTokenizer'
    if kind not in ('CLIPTokenizer', 'CLIPTokenizerFast'):
        raise ValueError(f'{folder} describes a {kind}; supported here: CLIPTokenizer')
    judge(said, 'tokenizer_config.json', folder)
    if said.get('added_tokens_decoder') is None and (also := as_object(folder / 'special_tokens_map.json')):
        judge(also, 'tokenizer_config.json', f'{folder}, special_tokens_map.json')
        said |= {key: value | {'special': True} if isinstance(value, dict) and 'content' in value else value for key, value in also.items()}
    return said


def as_object(file: Path) -> dict:
    return read_json(file) if file.exists() else {}


def judge(said: Mapping, table: str, where: object) -> None:
    "Refuse a setting by name that is not followed, or that is not known."
    for key, value in said.items():
        verdict = TOKENIZERS[table].get(key)
        if verdict is None and not key.startswith('_'):
            raise ValueError(f'{where}: {table} holds the unknown key {key!r}')
        if str(verdict).startswith('refused') and value is not None and value != SILENT[key]:
            raise ValueError(f'{where}: {key} is {value!r}, expected {SILENT[key]!r} ({verdict.removeprefix("refused: ")})')


def _merges(folder: Path) -> tuple[list[str], dict[str, dict], dict]:
    "The merges, each vocabulary by the name of its file, and what tokenizer.json says, if it is there."
    data = as_object(folder / 'tokenizer.json')
    vocabularies = {'vocab.json': as_object(folder / 'vocab.json')} if (folder / 'vocab.json').is_file() else {}
    if not data:
        return clip_merges(folder), vocabularies, data
    judge(data, 'tokenizer.json', f'{folder}, tokenizer.json')
    model = data.get('model')
    model = model if isinstance(model, dict) else {'type': model}
    merges, vocabulary = model.get('merges'), model.get('vocab')
    if model.get('type', 'BPE') != 'BPE' or not isinstance(merges, list) or not isinstance(vocabulary, dict):
        raise ValueError(f'{folder}, tokenizer.json: the model is {model.get("type")!r}, expected BPE with vocab and merges')
    judge(model, 'tokenizer.json, model', f'{folder}, tokenizer.json')
    for key in ('truncation', 'padding'):
        if isinstance(data.get(key), dict) and data[key].get('direction', 'Right') != 'Right':
            raise ValueError(f'{folder}, tokenizer.json: {key} has the direction {data[key]["direction"]!r}, expected Right')
    merges = [' '.join(map(str, m)) if isinstance(m, list) else str(m) for m in merges]
    if (folder / 'merges.txt').is_file() and clip_merges(folder) != merges:
        raise ValueError(f'{folder} holds other merges in merges.txt than in tokenizer.json, expected the same; remove the wrong one')
    return merges, {'tokenizer.json': vocabulary} | vocabularies, data


def _with_words(folder: Path, settings: Mapping, data: Mapping, plain: Tokenizer) -> Tokenizer:
    "The tokenizer with the words that were added, and the padding that the folder says."
    words: dict[str, AddedWord] = {}
    for content, number, flags in _added(folder, settings, data):
        words[content] = AddedWord(content, number, **flags)
    known, most = {piece: i for i, piece in enumerate(plain.pieces)}, len(plain.pieces) + sum(w.number >= len(plain.pieces) for w in words.values())
    for content, flags in _named(folder, settings):
        if content not in words:  # with the next number, where the vocabulary has none
            words[content] = AddedWord(content, known.get(content, most), **flags)
            most += content not in known
    for key, expected in (('bos_token', SPECIAL[0]), ('eos_token', SPECIAL[1])):
        if (said := as_text(settings.get(key) or expected, folder, key)) != expected:
            raise ValueError(f'{folder}: {key} is {said!r}, expected {expected!r}')
    numbers = known | {word.text: word.number for word in words.values()}
    pad = as_text(settings.get('pad_token') or SPECIAL[1], folder, 'pad_token')
    if pad not in numbers:
        raise ValueError(f'{folder}: the padding token is {pad!r}, expected a piece of the vocabulary')
    plainly = tuple(w for w in words.values() if w not in (AddedWord(SPECIAL[0], plain.start), AddedWord(SPECIAL[1], plain.end)))
    if not plainly and numbers[pad] == plain.end:
        return plain
    try:
        return Tokenizer(plain.arguments['merges'], plain.context, pad=None if numbers[pad] == plain.end else numbers[pad], added=plainly)
    except ValueError as error:
        raise ValueError(f'{folder}: {error}') from error


def _added(folder: Path, settings: Mapping, data: Mapping) -> Iterator[tuple[str, int, dict]]:
    "Content, number and flags of each word that a file lists with its number."
    table = settings.get('added_tokens_decoder')
    if table is not None:
        if not isinstance(table, dict):
            raise ValueError(f'{folder}, tokenizer_config.json: added_tokens_decoder is {type(table).__name__}, expected an object')
        for number, token in table.items():
            yield as_text(token, folder, f'added token {number}'), as_number(number, folder), as_flags(token, folder)
        return
    special = {as_text(settings[key], folder, key) for key in NAMED if settings.get(key)} | {content for content, _ in _more(folder, settings)}
    for content, number in as_object(folder / 'added_tokens.json').items():
        yield content, as_number(number, folder), {'normalized': content not in special}
    for token in data.get('added_tokens') or []:
        yield as_text(token, folder, 'an added token'), as_number(token.get('id'), folder), as_flags(token, folder)


def _named(folder: Path, settings: Mapping) -> Iterator[tuple[str, dict]]:
    "Content and flags of the words that have a purpose, such as the padding."
    for key in NAMED:
        token = settings.get(key) or {'bos_token': SPECIAL[0]}.get(key, SPECIAL[1] if key in ('eos_token', 'unk_token', 'pad_token') else None)
        if token is not None:
            yield as_text(token, folder, key), as_flags(token, folder)
    yield from _more(folder, settings)


def _more(folder: Path, settings: Mapping) -> Iterator[tuple[str, dict]]:
    for key in ('additional_special_tokens', 'extra_special_tokens'):
        tokens = settings.get(key) or []
        for token in tokens.values() if isinstance(tokens, dict) else tokens:
            yield as_text(token, folder, key), as_flags(token, folder)


def as_text(token: object, folder: Path, key: str) -> str:
    content = token.get('content') if isinstance(token, dict) else token
    if not isinstance(content, str) or not content:
        raise ValueError(f'{folder}: {key} is {token!r}, expected a piece of the vocabulary')
    return content


def as_number(value: object, folder: Path) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise ValueError(f'{folder}: an added token has the number {value!r}, expected a whole number')
    return int(text)


def as_flags(token: object, folder: Path) -> dict[str, bool]:
    "The flags of a word; one that does not say it is found in the text as it came if it is special, else in the cleaned one."
    if not isinstance(token, dict):
        return {}
    judge(token, 'added token', folder)
    flags = {key: token[key] for key in FLAGS if key in token}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f'{folder}: {key} of {token.get("content")!r} is {value!r}, expected true or false')
    return {'normalized': not token.get('special', False)} | flags
