"""Published tokenizers: the words that were added, their flags, and which file is believed, against the transformers library."""

import json
import random
import shutil
import unicodedata

import pytest

from diffbook.core import build, describe
from diffbook.pretrained import load_tokenizer, save_published
from diffbook.published.tokens import FLAGS, TOKENIZERS
from diffbook.store.words import AddedWord
from diffbook.text import SPECIAL, Tokenizer, clip_tokenizer, train_merges

transformers = pytest.importorskip('transformers')
MERGES = train_merges(['a small red circle', 'two blue squares near a red triangle'], 30)
PLAIN = Tokenizer(MERGES)
TOY = PLAIN.vocab_size
CONTENTS = [
    '<cat-toy>',
    '<Cat Toy>',
    'cat',
    '  pad ',
    '<a>',
    '<a><b>',
    'ＦＯＯ',
    'é',
    'straße',
    '!',
    'red',
    'ab',
    'b c',
    '🙂',
    '\u0301x',
    'İ',
    'ΑΣ',
    '1',
    '_',
    '<|pad|>',
    'x y',
    '\n',
    'Ⓐ',
]
AROUND = [
    ' ',
    '  ',
    '\t',
    '\n',
    'a',
    'Red',
    'b',
    'é',
    'e\u0301',
    '\u0301',
    '-',
    '_',
    '1',
    '½',
    '‿',
    '\u200d',
    '!',
    '<|endoftext|>',
    '<|STARTOFTEXT|>',
    '<|pad|>',
    '.',
    'Ⓐ',
    'x',
    'İ',
    'ς',
    '\u3000',
    '\xa0',
    '<',
    '>',
]


def theirs(folder):
    return transformers.CLIPTokenizer.from_pretrained(folder)


@pytest.fixture
def folder(tmp_path):
    "A published tokenizer without added words."
    save_published(tmp_path / 'plain', PLAIN)
    return tmp_path / 'plain'


def write(folder, **files):
    for name, content in files.items():
        path = folder / f'{name}.json'
        old = json.loads(path.read_text()) if path.exists() and isinstance(content, dict) else {}
        path.write_text(json.dumps(old | content))


def layout(folder, tokenizer, kind):
    "What transformers wrote, in one of three layouts: its own of today, a table beside the files, and the oldest, which has no flags."
    new = folder.parent / kind
    tokenizer.save_pretrained(new)
    if kind == 'tokenizer.json':
        return new
    added = json.loads((new / 'tokenizer.json').read_text())['added_tokens']
    (new / 'tokenizer.json').unlink()
    for name in ('vocab.json', 'merges.txt'):
        shutil.copy(folder / name, new)
    if kind == 'added_tokens_decoder':
        write(new, tokenizer_config={'added_tokens_decoder': {str(token.pop('id')): token for token in added}})
    else:
        write(new, added_tokens={token['content']: token['id'] for token in added if token['id'] >= PLAIN.vocab_size})
    return new


def same(folder, texts):
    ours, reference = load_tokenizer(folder), theirs(folder)
    for text in texts:
        assert ours.encode(text) == reference(text, add_special_tokens=False)['input_ids'], repr(text)
    assert ours([texts[0][:20]])[0].tolist() == reference(texts[0][:20], padding='max_length', max_length=ours.context)['input_ids']


@pytest.mark.parametrize('kind', ['tokenizer.json', 'added_tokens_decoder', 'added_tokens.json'])
@pytest.mark.parametrize('seed', range(5))
def test_added_words_are_those_of_transformers(folder, kind, seed):
    "Words of all kinds with random flags, within hostile texts: the same numbers, and the same padding."
    draw = random.Random(f'{kind} {seed}')
    flip = lambda: draw.random() < 0.4  # noqa: E731
    words, tokenizer = draw.sample(CONTENTS, draw.randint(1, 4)), theirs(folder)
    tokenizer.add_tokens([transformers.AddedToken(w, special=flip(), **{k: flip() for k in FLAGS}) for w in words])
    if flip():
        tokenizer.add_special_tokens({'pad_token': draw.choice(['!', '<pad>', words[0]])})
    bits = [form for w in words for form in (w, w, w.upper(), w.lower())] + AROUND
    same(layout(folder, tokenizer, kind), [''.join(draw.choices(bits, k=draw.randint(0, 9))) for _ in range(150)])


FLAG = {'content': '<x>', 'lstrip': False, 'rstrip': False, 'single_word': False, 'normalized': False, 'special': False}
SETTINGS = {  # files of a folder; all of these transformers reads, and so do we
    'a learned word': {'added_tokens': {'<cat-toy>': TOY}}, 'learned words': {'added_tokens': {'<b>': TOY + 1, '<a>': TOY}}, 'padding with a piece': {'special_tokens_map': {'pad_token': '!'}, 'tokenizer_config': {'pad_token': '!'}},
    'another padding': {'tokenizer_config': {'pad_token': '<pad>'}, 'special_tokens_map': {'pad_token': '<pad>'}}, 'the map before the settings': {'tokenizer_config': {'pad_token': '!'}, 'special_tokens_map': {'pad_token': SPECIAL[1]}},
    'a table before the map': {'tokenizer_config': {'pad_token': '!', 'added_tokens_decoder': {'0': FLAG | {'content': '!', 'special': True}}}, 'special_tokens_map': {'pad_token': SPECIAL[1]}},
    'a table before the list': {'tokenizer_config': {'added_tokens_decoder': {str(TOY): FLAG}}, 'added_tokens': {'<other>': TOY}}, 'an empty table before the list': {'tokenizer_config': {'added_tokens_decoder': {}}, 'added_tokens': {'<x>': TOY}},
    'specials found in capitals': {'tokenizer_config': {k: {'__type': 'AddedToken', **FLAG, 'content': c, 'normalized': True} for k, c in (('bos_token', SPECIAL[0]), ('eos_token', SPECIAL[1]))}, 'special_tokens_map': {}},
    'specials of the map': {'special_tokens_map': {'bos_token': {k: v for k, v in FLAG.items() if k != 'special'} | {'content': SPECIAL[0], 'normalized': True}}}, 'more specials': {'tokenizer_config': {'additional_special_tokens': ['<x>', '<y>']}},
    'more specials of the map': {'special_tokens_map': {'additional_special_tokens': ['<x>']}}, 'extra specials': {'tokenizer_config': {'extra_special_tokens': ['<x>']}}, 'an unknown token': {'tokenizer_config': {'unk_token': '<unk>'}, 'special_tokens_map': {'unk_token': '<unk>'}},
    'a word that strips': {'tokenizer_config': {'added_tokens_decoder': {str(TOY): FLAG | {'lstrip': True, 'rstrip': True}}}}, 'a space that goes with a word': {'tokenizer_config': {'added_tokens_decoder': {str(TOY): FLAG | {'lstrip': True, 'rstrip': True}, str(TOY + 1): FLAG | {'content': ' pad ', 'normalized': True}}}}, 'a word alone': {'tokenizer_config': {'added_tokens_decoder': {str(TOY): FLAG | {'single_word': True, 'normalized': True}}}},
    'a flag that is not said': {'tokenizer_config': {'added_tokens_decoder': {str(TOY): {'content': '<X>'}, str(TOY + 1): {'content': '<Y>', 'special': True}}}}, 'a piece as a word': {'tokenizer_config': {'added_tokens_decoder': {'64': FLAG | {'content': PLAIN.pieces[64]}}}},
}  # fmt: skip
SAID = [
    'a <cat-toy>, <CAT-TOY>!',
    '<x>',
    'a <x> b',
    'a<x>b',
    '  <X>  <x> <y><Y>',
    '<a><b> <A>',
    '!',
    'red! a !',
    'a <|startoftext|> b<|ENDOFTEXT|><|STARTOFTEXT|>',
    '<pad> <other> <unk>',
    'a pad <x>',
    '<x> pad b',
    'a pad b',
    'a pad <x>',
    '<x> pad b',
    'a pad b',
    'aé',
    '',
]


@pytest.mark.parametrize('case', SETTINGS)
def test_settings_that_transformers_reads(folder, case):
    write(folder, **SETTINGS[case])
    same(folder, SAID)


def test_the_table_of_a_word_that_was_learned(folder):
    "A row of the text tower belongs to it; a tower without one is refused by name."
    from diffbook.conditioning import TextConditioner
    from diffbook.nets.clip import TextTower

    write(folder, added_tokens={'<cat-toy>': TOY})
    tokenizer = load_tokenizer(folder)
    assert (
        tokenizer.vocab_size == TOY + 1
        and TOY in tokenizer.encode('a <cat-toy>')
        and tokenizer.decode(tokenizer.encode('a <cat-toy> red')) == 'a <cat-toy> red'
    )
    TextConditioner(tokenizer, TextTower(TOY + 1, 77, 8, 1, 1))
    TextConditioner(tokenizer, TextTower(TOY + 64, 77, 8, 1, 1))  # tables are often filled up
    with pytest.raises(ValueError, match=f'tokens below {TOY + 1}, the tower reads 77 below {TOY}'):
        TextConditioner(tokenizer, TextTower(TOY, 77, 8, 1, 1))


REFUSED = {  # files, words of the message
    'filled up at the beginning': ({'tokenizer_config': {'padding_side': 'left'}}, "padding_side is 'left', expected 'right'"), 'cut at the beginning': ({'tokenizer_config': {'truncation_side': 'left'}}, "truncation_side is 'left'"),
    'special tokens cut': ({'tokenizer_config': {'split_special_tokens': True}}, 'split_special_tokens is True'), 'no start': ({'tokenizer_config': {'add_bos_token': False}}, 'add_bos_token is False'), 'an unknown setting': ({'tokenizer_config': {'colour': 1}}, "unknown key 'colour'"),
    'an unknown setting of the map': ({'special_tokens_map': {'colour': 1}}, "special_tokens_map.json.*unknown key 'colour'"), 'another start': ({'tokenizer_config': {'bos_token': '<s>'}, 'special_tokens_map': {'bos_token': '<s>'}}, "bos_token is '<s>', expected '<.startoftext.>'"),
    'another end': ({'special_tokens_map': {'eos_token': '</s>'}}, "eos_token is '</s>'"), 'a gap': ({'added_tokens': {'<x>': TOY + 1}}, f"'<x>' has number {TOY + 1}, expected a text, and {TOY}"), 'one number for two': ({'added_tokens': {'<x>': TOY, '<y>': TOY}}, "'<y>' has number"),
    "another's number": ({'added_tokens': {'<x>': 7}}, "'<x>' has number 7"), 'another number': ({'tokenizer_config': {'added_tokens_decoder': {'5': FLAG | {'content': '!'}}}}, "'!' has number 5, expected a text, and 0"),
    'two that are cleaned alike': ({'added_tokens': {'<X>': TOY, '<x>': TOY + 1}}, 'two added words are the same when they are cleaned'), 'no number': ({'added_tokens': {'<x>': 'many'}}, "has the number 'many'"), 'a negative one': ({'added_tokens': {'<x>': -1}}, 'has the number -1'),
    'nine digits': ({'added_tokens': {'<x>': 10**9 - 1}}, "'<x>' has number 999999999, expected a text"), 'ten digits': ({'added_tokens': {'<x>': 10**9}}, 'has the number 1000000000'),
    'a huge one': ({'added_tokens': {'<x>': 10**12}}, 'has the number 1000000000000'), 'an unknown flag': ({'tokenizer_config': {'added_tokens_decoder': {str(TOY): FLAG | {'bold': True}}}}, "unknown key 'bold'"), 'a flag in words': ({'tokenizer_config': {'added_tokens_decoder': {str(TOY): FLAG | {'lstrip': 'yes'}}}}, "lstrip of '<x>' is 'yes'"),
    'no content': ({'tokenizer_config': {'added_tokens_decoder': {str(TOY): {'lstrip': True}}}}, f'added token {TOY} is .*expected a piece'), 'a list': ({'tokenizer_config': {'added_tokens_decoder': [1]}}, 'added_tokens_decoder is list, expected an object'), 'a length in words': ({'tokenizer_config': {'model_max_length': 'long'}}, "model_max_length is 'long'"),
    'a padding in numbers': ({'tokenizer_config': {'pad_token': 7}, 'special_tokens_map': {'pad_token': 7}}, 'pad_token is 7'),
}  # fmt: skip


@pytest.mark.bad_input
@pytest.mark.parametrize('case', REFUSED)
def test_settings_that_are_refused(folder, case):
    files, words = REFUSED[case]
    write(folder, **files)
    with pytest.raises(ValueError, match=words) as info:
        load_tokenizer(folder)
    assert str(folder) in str(info.value)


MODELS = {  # what tokenizer.json says, words
    'merges at random': ({'model': {'dropout': 0.1}}, 'dropout is 0.1, expected None'), 'words looked up': ({'model': {'ignore_merges': True}}, 'ignore_merges is True'), 'another mark': ({'model': {'end_of_word_suffix': '@'}}, "end_of_word_suffix is '@', expected '</w>'"),
    'cut at the left': ({'truncation': {'direction': 'Left', 'max_length': 77, 'strategy': 'LongestFirst', 'stride': 0}}, "truncation has the direction 'Left'"), 'filled at the left': ({'padding': {'direction': 'Left'}}, "padding has the direction 'Left'"), 'more': ({'colour': 1}, "unknown key 'colour'"),
    'more of the model': ({'model': {'colour': 1}}, "unknown key 'colour'"), 'other merges': ({'model': {'merges': MERGES[:-1], 'vocab': {}}}, 'other merges in merges.txt than in tokenizer.json'),
}  # fmt: skip


@pytest.mark.parametrize('case', MODELS)
def test_tokenizers_in_one_file_that_are_refused(folder, case):
    said, words = MODELS[case]
    model = {'type': 'BPE', 'vocab': {p: i for i, p in enumerate(PLAIN.pieces)}, 'merges': list(MERGES)} | said.get('model', {})
    write(folder, tokenizer={**said, 'model': model})
    with pytest.raises(ValueError, match=words):
        load_tokenizer(folder)


def test_every_key_that_transformers_writes_has_a_verdict(folder):
    "Of its files, of the signatures of the class and of an added word; a new one fails here."
    import inspect

    tokenizer = theirs(folder)
    tokenizer.add_tokens([transformers.AddedToken('<x>')])
    tokenizer.save_pretrained(folder.parent / 'theirs')
    config, whole = (json.loads((folder.parent / 'theirs' / name).read_text()) for name in ('tokenizer_config.json', 'tokenizer.json'))
    keys = (
        set(inspect.signature(transformers.CLIPTokenizer.__init__).parameters) - {'self', 'kwargs', 'vocab', 'merges'}
        | set(transformers.PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES)
        | set(config)
    )
    assert keys <= set(TOKENIZERS['tokenizer_config.json'])
    assert set(whole) <= set(TOKENIZERS['tokenizer.json']) and set(whole['model']) <= set(TOKENIZERS['tokenizer.json, model'])
    assert set(whole['added_tokens'][0]) | set(transformers.AddedToken('x').__getstate__()) <= set(TOKENIZERS['added token'])
    load_tokenizer(folder.parent / 'theirs')


@pytest.mark.parametrize('key', [k for k, v in TOKENIZERS['tokenizer_config.json'].items() if v.startswith('no effect')])
def test_keys_without_effect_have_none(folder, key):
    "Neither on ours nor, where it can be given, on theirs."
    before = load_tokenizer(folder)
    value = {
        'do_lower_case': False,
        'add_prefix_space': True,
        'strip_accents': True,
        'model_input_names': ['input_ids'],
        'truncation_strategy': 'longest_first',
        'backend': 'tokenizers',
    }.get(key, 'x' if 'name' in key or 'file' in key else 1)
    write(folder, tokenizer_config={key: value})
    assert [load_tokenizer(folder).encode(t) for t in SAID] == [before.encode(t) for t in SAID]
    if key in (
        'do_lower_case',
        'add_prefix_space',
        'errors',
        'clean_up_tokenization_spaces',
        'name_or_path',
        'special_tokens_map_file',
        'max_length',
        'pad_to_multiple_of',
        'trim_offsets',
    ):
        same(folder, SAID)


def test_what_is_written_is_read_by_both(tmp_path):
    words = (AddedWord('<cat toy>', TOY, normalized=True), AddedWord('<x>', TOY + 1, single_word=True, lstrip=True), AddedWord('!', 0, rstrip=True))
    ours = Tokenizer(MERGES, 20, pad=TOY, added=words)
    save_published(tmp_path / 'a', ours)
    texts = [*SAID, 'a <Cat TOY>  <x> !  b']
    for got in (load_tokenizer(tmp_path / 'a'), build(json.loads(json.dumps(describe(ours))))):
        assert [got.encode(t) for t in texts] == [ours.encode(t) for t in texts] and (got.pad, got.context, got.pieces) == (TOY, 20, ours.pieces)
    same(tmp_path / 'a', texts)


def test_a_published_vocabulary_with_added_words_is_refused_by_the_plain_reader(folder):
    write(folder, added_tokens={'<cat-toy>': TOY})
    with pytest.raises(ValueError, match="'<cat-toy>' was added to the vocabulary; load_tokenizer"):
        clip_tokenizer(folder)


def test_what_touches_a_word(folder):
    "A word that must stand alone is found beside the same characters as there: all of the first 13,000 places, and every 37th after them."
    write(folder, tokenizer_config={'added_tokens_decoder': {str(TOY): FLAG | {'single_word': True}}})
    ours, reference = load_tokenizer(folder), theirs(folder)
    every = [chr(c) for c in (*range(0x3400), *range(0x3400, 0x110000, 37)) if unicodedata.category(chr(c)) not in ('Cn', 'Cs', 'Co')]
    found = reference([f'{c}<x>' for c in every], add_special_tokens=False, verbose=False)['input_ids']
    differ = [c for c, ids in zip(every, found) if (TOY in ids) != (TOY in ours.encode(f'{c}<x>'))]
    assert not differ, [f'{c} {ord(c):x} {unicodedata.category(c)}' for c in differ[:20]]


def test_words_of_several_vectors(folder):
    "`<toy>` stands for `<toy> <toy>_1 <toy>_2` where the vocabulary has them, as in diffusers' pipelines."
    diffusers = pytest.importorskip('diffusers')
    write(folder, added_tokens={w: TOY + k for k, w in enumerate(('<toy>', '<toy>_1', '<toy>_2', '<one>', '<b>', '<b>_1'))})
    ours, reference = load_tokenizer(folder), theirs(folder)
    spread = diffusers.loaders.TextualInversionLoaderMixin().maybe_convert_prompt
    for text in ('a <toy> and a <one>', 'red', 'a <b>, <b> <toy>', '', '<one>', 'a <toys>'):
        assert ours.spread(text) == spread(text, reference)
    assert PLAIN.spread('a <toy>') == 'a <toy>'
