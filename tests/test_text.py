"""The tokenizer against transformers' CLIP tokenizer, against the published pattern, and against slow replays of its own rules.

Random texts come from fixed seeds, so nothing here fails by chance.
"""

import json
import random
import shutil
import sys
import unicodedata
import warnings
from collections import Counter
from itertools import pairwise

import helpers
import pytest
import regex
import torch
import transformers
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from packaging.version import Version
from tokenizers import normalizers
from transformers import CLIPTokenizerFast

from diffbook.core import build, describe
from diffbook.shapes import draw_shapes
from diffbook.text import SPECIAL, Tokenizer, clean, clip_tokenizer, spell, train_merges, words

PUBLISHED = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
CORPUS = (
    *draw_shapes(300).captions,
    'a cat sat on the mat, and the mat said that it had had the cat',
    "it's 2026 and they'll say: don't, we've 1,000 reasons!!! naïve café über straße",
    'ελληνικά και русский текст и 日本語のテキスト 中文 한국어 हिन्दी العربية',
    '😀😀😁 🏳️‍🌈 👩‍👩‍👧 ... --- *** 🇩🇪🇫🇷 10:30 a.m.',
)
MERGES = train_merges(CORPUS, 400)
ODD = (
    *('\0', '\x1c', '\x1f', '\x7f', '\x85', '\xa0', '\xad', '\u180e', '\u200b', '\u200d', '\u2028', '\u202e', '\u3000'),
    *('\u0301', '\u0308', '\u0338', '\u05b0', '\u094d', '\ufe0f', '\U0001f3fd', '\U000e0067', '\ufeff', '\ufffd', '\uffff'),
    *('Σ', 'ΑΣ', 'ς', 'İ', 'ı', 'ß', 'ẞ', 'ﬁ', 'Ǆ', 'J\u030c', 'Å', '\u212b', '½', 'Ⅷ', '²', '٣', '一', '_', "'", "''", "'S", "'ll", "'LL"),
    *('שלום', 'مرحبا', 'ภาษา', 'न्या', '가각', '\u1100\u1161\u11a8', '👩‍🚀', '🇺🇳', '\U0001fae8', '</w>', '<w>', '<|', '|>', '<|end', ' '),
    *(*SPECIAL, '<|ENDOFTEXT|>', '<|EndOfText|>', '<|startoftext|', '|endoftext|>', '!<|ENDOFTEXT|>!', '<|endoftext|>\u0338'),
)  # fmt: skip
ASSIGNED = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ('Cn', 'Cs')]


def unsorted_marks():
    "Combining marks that the reference's table, of about 2017, does not know: it leaves them where they are."
    mine, theirs = (lambda t: unicodedata.normalize('NFC', t)), normalizers.NFC().normalize_str
    pairs = lambda c: (f'a{c}{mark}' for mark in '\u0315\u0327\u05b0') if unicodedata.combining(c) else ()
    return {c for c in ASSIGNED if any(mine(t) != theirs(t) or mine(t[::-1]) != theirs(t[::-1]) for t in pairs(c))}


YOUNG = unsorted_marks()


def hostile(n, seed):
    "n texts: words, odd things, characters from everywhere in Unicode, and very long words."
    draw = random.Random(seed)
    known = [c for c in ASSIGNED if c not in YOUNG]
    dense = [c for c in known if ord(c) < 0x3000]
    plain = [word for text in CORPUS for word in text.split()] + ['A', 'Red', 'CIRCLE', 'x' * 40]

    def bit():
        kind = draw.random()
        if kind < 0.3:
            return draw.choice(plain) + ' '
        if kind < 0.55:
            return draw.choice(ODD)
        return draw.choice(dense if kind < 0.85 else known) * draw.choice((1, 1, 1, 2, 3, 7))

    texts = [''.join(bit() for _ in range(draw.randint(0, 25))) for _ in range(n - 4)]
    return texts + ['', ' \t\n', 'ab' * 3000, ''.join(draw.choice('etaoin') for _ in range(5000))]


def folder_of(merges, path, **settings):
    "Write a vocabulary in the layout of published models."
    path.mkdir(exist_ok=True)
    pieces = Tokenizer(merges).pieces
    (path / 'vocab.json').write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}), encoding='utf-8')
    (path / 'merges.txt').write_text('#version: 0.2\n' + '\n'.join(merges) + '\n', encoding='utf-8')
    for name, content in settings.items():
        (path / f'{name}.json').write_text(json.dumps(content), encoding='utf-8')
    return path


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    "A vocabulary in files, which every machine has."
    return folder_of(MERGES, tmp_path_factory.mktemp('small') / 'tokenizer')


@pytest.fixture(scope='module')
def published():
    return helpers.needs_data('clip-bpe', 'merges.txt')


def same_ids(ours, theirs, texts):
    want = theirs(list(texts), add_special_tokens=False, verbose=False)['input_ids']
    for text, ids in zip(texts, want, strict=True):
        assert ours.encode(text) == ids, repr(text)


# Equal to transformers


def test_ids_are_transformers(small):
    same_ids(clip_tokenizer(small), CLIPTokenizerFast.from_pretrained(small), hostile(10_000, seed=0))


def test_ids_are_transformers_with_the_published_vocabulary(published, tmp_path):
    for name in ('vocab.json', 'merges.txt'):
        shutil.copy(published / name, tmp_path / name)
    ours, theirs = clip_tokenizer(published), CLIPTokenizerFast.from_pretrained(tmp_path)
    assert (ours.start, ours.end, ours.vocab_size) == (49406, 49407, 49408)
    assert ours.encode('a photograph of an astronaut riding a horse') == [320, 8853, 539, 550, 18376, 6765, 320, 4558]
    texts = hostile(10_000, seed=1)
    same_ids(ours, theirs, texts)
    # with its own configuration the start token is also found in capitals, in older versions the end token is not; nothing else changes
    found = ('<|startoftext|',) if Version(transformers.__version__) >= Version('5.20') else ('<|startoftext|', '<|endoftext|')
    same_ids(
        ours,
        CLIPTokenizerFast.from_pretrained(published),
        [t for t in texts[:2000] if not any(token in t.lower() for token in found)],
    )


def test_both_published_lists_are_one_vocabulary(published, tmp_path):
    shutil.copy(published / 'bpe_simple_vocab_16e6.txt.gz', tmp_path)
    ours, packed = clip_tokenizer(published), clip_tokenizer(tmp_path)
    vocab = json.loads((published / 'vocab.json').read_bytes())
    assert packed.pieces == ours.pieces == sorted(vocab, key=vocab.get)
    assert packed.rules == ours.rules


def test_only_the_order_of_some_new_marks_differs_from_transformers():
    assert len(YOUNG) < 200 and all(unicodedata.combining(c) and c > '\u07ff' or c == '\u07fd' for c in YOUNG)


def test_every_character_is_cleaned_as_transformers_does(small):
    normalizer = CLIPTokenizerFast.from_pretrained(small).backend_tokenizer.normalizer
    for first in range(0, len(ASSIGNED), 4096):
        text = ''.join(f'a{c}B{c}' for c in ASSIGNED[first : first + 4096])
        assert clean(text) == normalizer.normalize_str(text)


def test_every_character_is_split_by_the_published_pattern():
    pattern = regex.compile(PUBLISHED)
    for first in range(0, len(ASSIGNED), 4096):
        text = ''.join(f"a{c}{c}1'{c}'s " for c in ASSIGNED[first : first + 4096])
        assert words(text) == pattern.findall(clean(text))


def test_rows_and_mask_are_transformers(small):
    texts = ['', 'red', 'a small red circle on black', 'naïve 😀']
    got = clip_tokenizer(small, 16)(texts)
    want = CLIPTokenizerFast.from_pretrained(small)(texts, padding='max_length', max_length=16, return_tensors='pt')
    assert torch.equal(got, want['input_ids']) and got.dtype == torch.int64
    assert torch.equal(clip_tokenizer(small).mask(got), want['attention_mask'].bool())


@pytest.mark.parametrize(
    'config, special',
    [
        ('!', None),
        ('<|endoftext|>', '!'),
        ('!', '<|endoftext|>'),
        (None, None),
        ({'content': '!', '__type': 'AddedToken'}, None),
    ],
)
def test_padding_is_read_as_transformers_reads_it(tmp_path, config, special):
    named = lambda pad: {} if pad is None else {'pad_token': pad}
    folder = folder_of(MERGES, tmp_path / 't', tokenizer_config=named(config), special_tokens_map=named(special))
    ours, theirs = clip_tokenizer(folder, 12), CLIPTokenizerFast.from_pretrained(folder)
    assert ours('red circle')[0].tolist() == theirs('red circle', padding='max_length', max_length=12)['input_ids']


def test_an_exclamation_mark_stays_a_word_when_it_also_pads(tmp_path):
    # OpenCLIP pads with 0 and reads '!' as 256; transformers, told that the padding token is '!', reads 0 in the text too
    folder = folder_of(MERGES, tmp_path / 't', special_tokens_map={'pad_token': '!'})
    assert clip_tokenizer(folder).encode('red !') == clip_tokenizer(folder).encode('red') + [256]
    assert CLIPTokenizerFast.from_pretrained(folder)('!', add_special_tokens=False)['input_ids'] == [0]


# Malformed text


@pytest.mark.parametrize('text, repaired', [
    ('a\ud800b', 'a\ufffdb'), ('\udc00', '\ufffd'), ('\udc00\ud800', '\ufffd\ufffd'), ('x\ud83d\ude00', 'x😀'), ('\ud83d\ud83d\ude00', '\ufffd😀'),
])  # fmt: skip
def test_half_a_character_is_replaced(small, text, repaired):
    ours, theirs = clip_tokenizer(small), CLIPTokenizerFast.from_pretrained(small)
    assert ours.encode(text) == theirs(repaired, add_special_tokens=False)['input_ids']
    with pytest.raises(TypeError):
        theirs(text)  # the reference refuses such a text with a message about its type


# Against slow replays


def replay(tokenizer, word):
    "OpenAI's loop: of the pairs that are there, glue the one learned first, wherever it stands."
    ids = [tokenizer.pieces.index(piece) for piece in spell(word)]
    while there := [tokenizer.rules[p] for p in pairwise(ids) if p in tokenizer.rules]:
        new, out = min(there), []
        for i in ids:
            glue = out and tokenizer.rules.get((out[-1], i)) == new
            out[-1:] = [new] if glue else [*out[-1:], i]
        ids = out
    return ids


@settings(max_examples=300, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.lists(st.text('ab', min_size=1, max_size=12), min_size=1, max_size=6), st.text('abc', min_size=1, max_size=40))
def test_merging_is_a_replay_in_the_order_of_learning(texts, word):
    tokenizer = Tokenizer(train_merges(texts, 30))
    assert tokenizer.encode(word) == replay(tokenizer, word)


@settings(max_examples=300, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    st.lists(st.text('abc ', max_size=20), min_size=1, max_size=6),
    st.integers(0, 20),
    st.randoms(use_true_random=False),
)
def test_each_merge_is_the_most_frequent_pair(texts, n, shuffle):
    merges = train_merges(texts, n)
    pieces = {word: spell(word) for text in texts for word in words(text)}
    times = Counter(word for text in texts for word in words(text))
    for merge in merges:
        count = Counter()
        for word, spelled in pieces.items():
            for pair in pairwise(spelled):
                count[pair] += times[word]
        best = min(count, key=lambda p: (-count[p], p))
        assert merge == ' '.join(best)
        for word, spelled in pieces.items():
            glued = []
            for piece in spelled:
                glued[-1:] = [''.join(best)] if glued and (glued[-1], piece) == best else [*glued[-1:], piece]
            pieces[word] = glued
    assert len(merges) <= n
    shuffle.shuffle(texts)
    assert train_merges(texts, n) == merges


@settings(max_examples=200, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.lists(st.text('aab', min_size=1, max_size=20), min_size=1, max_size=8))
def test_no_piece_is_learned_twice(texts):
    merges = train_merges(texts, 1000)
    assert len({merge.replace(' ', '') for merge in merges}) == len(merges) == len(Tokenizer(merges).rules)
    assert all(len(Tokenizer(merges).encode(word)) == 1 for text in texts for word in words(text))


def test_enough_merges_make_every_caption_word_one_token():
    captions = draw_shapes(2000).captions
    tokenizer = Tokenizer(train_merges(captions, 10_000))
    for word in {word for text in captions for word in words(text)}:
        assert [tokenizer.pieces[i] for i in tokenizer.encode(word)] == [word + '</w>']
    assert all(len(tokenizer.encode(text)) == len(words(text)) for text in captions)


# There and back


def test_decoding_gives_back_the_words(small):
    tokenizer = clip_tokenizer(small)
    for text in hostile(10_000, seed=2):
        if not any(special in text for special in SPECIAL):
            assert tokenizer.decode(tokenizer.encode(text)) == ' '.join(words(text)), repr(text)


def test_a_row_reads_as_its_text(small):
    for pad in (None, 0):
        tokenizer = Tokenizer(MERGES, 16, pad=pad)
        rows = tokenizer(['a small red circle', ''])
        assert [tokenizer.decode(row) for row in rows] == ['a small red circle', '']
        assert (rows[1, 2:] == (tokenizer.end if pad is None else pad)).all()
    assert tokenizer.decode(tokenizer.encode('é')[:1]) == '\ufffd'  # half a character


def test_a_tokenizer_is_plain_data():
    tokenizer = Tokenizer(MERGES, 20, pad=0)
    again = build(json.loads(json.dumps(describe(tokenizer))))
    texts = hostile(200, seed=3)[:-4]
    assert [again.encode(t) for t in texts] == [tokenizer.encode(t) for t in texts]
    assert (again.context, again.pad, again.pieces) == (20, 0, tokenizer.pieces)


def test_the_memory_of_words_changes_nothing():
    fresh, used = Tokenizer(MERGES), Tokenizer(MERGES)
    for text in hostile(300, seed=4):
        assert used.encode(text) == used.encode(text) == Tokenizer.encode(fresh, text)
        fresh._seen.clear()


# What does not fit


def test_truncation_says_what_is_lost():
    tokenizer = Tokenizer(train_merges(draw_shapes(300).captions, 1000), 8)
    with pytest.warns(UserWarning) as told:
        rows = tokenizer(['a small red circle', 'a small red circle above a big blue square on black'])
    assert rows[1].tolist() == [tokenizer.start, *tokenizer.encode('a small red circle above a'), tokenizer.end]
    message = str(told[0].message)
    for part in ('text 1: 5 of its 11 tokens', '"a small red circle above a"', '"big blue square on black"'):
        assert part in message
    assert len(told) == 1 and told[0].filename == __file__
    with pytest.warns(UserWarning, match='2 of 3 texts are too long; the first is text 0'):
        tokenizer(['a small red circle above a big ring'] * 2 + ['red'])


def test_what_fits_exactly_is_not_warned_of():
    tokenizer = Tokenizer((), 8)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert tokenizer('abcdef')[0, -1] == tokenizer.end
        assert tokenizer('')[0].tolist() == [tokenizer.start] + [tokenizer.end] * 7
    with pytest.warns(UserWarning, match='1 of its 7 tokens are dropped, 6 fit'):
        tokenizer('abcdefg')


def test_the_mask_ends_with_the_first_end():
    tokenizer = Tokenizer((), 6)
    ids = tokenizer(['ab', 'abcd', 'a<|endoftext|>b'])
    want = [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]
    assert torch.equal(tokenizer.mask(ids), torch.tensor(want).bool())
    assert torch.equal(Tokenizer((), 6, pad=0).mask(Tokenizer((), 6, pad=0)(['ab']))[0], torch.tensor(want[0]).bool())


# What is refused


@pytest.mark.parametrize('make, told', [
    (lambda: Tokenizer(['a b', 'ab']), "merge 1 is 'ab', expected two known pieces"),
    (lambda: Tokenizer(['a b', 'a b']), 'merge 1'),
    (lambda: Tokenizer(['xy z']), 'merge 0'),
    (lambda: Tokenizer(['a</w> b']), 'merge 0'),
    (lambda: Tokenizer((), 2), 'context is 2'),
    (lambda: Tokenizer((), 77.0), 'context is 77.0'),
    (lambda: Tokenizer((), pad=514), 'pad is 514, expected a whole number from 0 to 513'),
    (lambda: Tokenizer(())(['red', None]), 'the text is None, of type NoneType'),
    (lambda: Tokenizer(())([]), 'no texts'),
    (lambda: Tokenizer(()).decode([514]), 'token 514 is not one of the 514'),
    (lambda: Tokenizer(()).decode([1.5]), 'token 1.5'),
    (lambda: Tokenizer(()).mask(torch.zeros(7, dtype=torch.int64)), 'shape (7,)'),
    (lambda: train_merges('a red circle', 3), 'texts are str'),
    (lambda: train_merges(['a'], -1), 'n is -1'),
])  # fmt: skip
def test_refused(make, told):
    with pytest.raises(ValueError) as error:
        make()
    assert told in str(error.value)


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no merges.txt'):
        clip_tokenizer(tmp_path)
    folder = folder_of(MERGES, tmp_path / 'a')
    (folder / 'merges.txt').write_text('#version: 0.2\n' + '\n'.join(MERGES[::-1]), encoding='utf-8')
    with pytest.raises(ValueError, match='merge'):
        clip_tokenizer(folder)
    folder = folder_of(MERGES, tmp_path / 'b')
    vocab = {piece: i + 1 for i, piece in enumerate(Tokenizer(MERGES).pieces)}
    (folder / 'vocab.json').write_text(json.dumps(vocab), encoding='utf-8')
    with pytest.raises(ValueError, match="'!' is token 1, expected 0 by its merges"):
        clip_tokenizer(folder)
    (folder / 'vocab.json').write_text('[1', encoding='utf-8')
    with pytest.raises(ValueError, match='is not JSON'):
        clip_tokenizer(folder)
    with pytest.raises(ValueError, match="padding token is 'no such piece'"):
        clip_tokenizer(folder_of(MERGES, tmp_path / 'c', special_tokens_map={'pad_token': 'no such piece'}))
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd' / 'bpe_simple_vocab_16e6.txt.gz').write_bytes(b'\x1f\x8b\x08\x00broken')
    with pytest.raises(ValueError, match='cannot be read'):
        clip_tokenizer(tmp_path / 'd')


def test_the_committed_counts_are_those_of_the_published_vocabulary(published):
    from tools.measure_tokens import MEASURED, measure

    assert json.loads((MEASURED / 'tokens.json').read_text(encoding='utf-8')) == measure(published)
