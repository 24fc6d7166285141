"""The encoder that reads texts alone: the best cut against all cuts, distances against their definition, masks, and a stranger's file."""

import itertools
import math
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.core import noise
from diffbook.nets.t5 import T5, RelativeBias, best_cut, bucket
from diffbook.published.unigram import MARK, Unigram
from diffbook.store.sentencepiece import Charsmap, clusters, parse_fields, read_sentencepieces
from diffbook.store.words import AddedWord

F64 = torch.float64


def all_cuts(text):
    for marks in itertools.product((False, True), repeat=max(len(text) - 1, 0)):
        ends = [0, *(i + 1 for i, mark in enumerate(marks) if mark), len(text)]
        yield [text[a:b] for a, b in itertools.pairwise(ends)]


@settings(max_examples=60, deadline=None)
@given(st.text('abc', min_size=1, max_size=8), st.dictionaries(st.text('ab', min_size=1, max_size=3), st.floats(-9, 0), min_size=1, max_size=9))
def test_no_other_cut_is_more_probable(text, score):
    "Against all 2 ** (n - 1) cuts."
    unknown = min(score.values()) - 10
    worth = lambda cut: sum(score.get(piece, unknown if len(piece) == 1 else -math.inf) for piece in cut)  # noqa: E731
    found = best_cut(text, score, unknown)
    assert ''.join(found) == text and worth(found) == pytest.approx(max(map(worth, all_cuts(text))), abs=1e-9)


def test_of_equal_cuts_the_last_piece_is_the_longest():
    assert best_cut('aaa', {'a': -1.0, 'aa': -2.0}, -20.0) == ['a', 'aa']
    assert best_cut('', {'a': -1.0}, -20.0) == []


def test_buckets_are_what_they_are_said_to_be():
    "Each small distance alone, then steps that grow by one root of sixteen, one side of zero apart from the other."
    d = torch.arange(-300, 301)
    n = bucket(d)
    assert n.min() == 0 and n.max() == 31 and len(n.unique()) == 31  # number 16, right at no distance, is never used
    assert torch.equal(n[(d >= -7) & (d <= 0)].flip(0), torch.arange(8)) and torch.equal(n[(d > 0) & (d < 8)], torch.arange(17, 24))
    right, left = n[d > 0], n[d < 0].flip(0)
    assert torch.equal(right, left + 16) and (right.diff() >= 0).all()
    begins = [int(d[d > 0][right == k].min()) for k in range(24, 32)]
    assert begins == [math.ceil(8 * 16 ** (k / 8) - 1e-9) for k in range(8)]
    assert (bucket(torch.tensor([128, 500, 10**6])) == 31).all()


def test_a_bias_looks_up_the_distance():
    bias = RelativeBias(3, 32, 128).double()
    got = bias(20)
    for i, j in ((0, 0), (3, 4), (4, 3), (0, 19), (19, 0)):
        assert torch.equal(got[:, i, j], bias.table.weight[bucket(torch.tensor(j - i))])


def small(gated=True, **more):
    torch.manual_seed(0)
    return T5(50, 12, 2, 3, head_dim=5, hidden=20, gated=gated, **more).double().eval().requires_grad_(False)


def tokens(b, n, start=0):
    return (noise(start, 'tokens', 0, range(b), (n,)) * 1e3).long().abs() % 49 + 1


@pytest.mark.parametrize('gated', (True, False))
def test_only_distances_count(gated):
    "A text behind five places that nobody may read has the states that it has by itself; places of its own would change them."
    net, text = small(gated), tokens(4, 9)
    shifted = torch.cat([torch.zeros(4, 5, dtype=torch.int64), text], 1)
    torch.testing.assert_close(net(shifted, shifted > 0)[:, 5:], net(text), rtol=0, atol=1e-12)
    assert (net(shifted)[:, 5:] - net(text)).abs().max() > 1e-3


def test_a_mask_hides_the_padding():
    net, text = small(), tokens(3, 6)
    padded = torch.cat([text, torch.zeros(3, 7, dtype=torch.int64)], 1)
    torch.testing.assert_close(net(padded, padded > 0)[:, :6], net(text), rtol=0, atol=1e-12)
    assert torch.isfinite(net(padded, torch.zeros_like(padded, dtype=torch.bool))).all()  # nothing to read: an average of all


def test_each_token_reads_both_directions():
    net, text = small(), tokens(1, 6)
    for k in (0, 5):
        other = text.clone()
        other[0, k] = text[0, k] % 49 + 1
        assert ((net(other) - net(text)).abs().amax(-1) > 1e-6).all()


def test_every_block_adds_the_distances():
    "The first block made to add nothing, the second still tells the order: read backwards, the states are others."
    net, text = small(), tokens(2, 7)
    net.blocks[0].o.weight.zero_()
    net.blocks[0].narrow.weight.zero_()
    assert (net(text.flip(1)).flip(1) - net(text)).abs().max() > 1e-3
    net.bias.table.weight.zero_()
    torch.testing.assert_close(net(text.flip(1)).flip(1), net(text), rtol=0, atol=1e-12)


def test_scores_are_not_divided():
    "By hand, with one head: softmax(q k + bias) v, no root of the width."
    torch.manual_seed(1)
    net = T5(9, 4, 1, 1, head_dim=4, hidden=8).double().requires_grad_(False)
    text = torch.tensor([[1, 2, 3]])
    x, block = net.embed(text)[0], net.blocks[0]
    rms = lambda x, norm: x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight  # noqa: E731
    h = rms(x, block.norm1)
    weights = torch.softmax((h @ block.q.weight.T) @ (h @ block.k.weight.T).T + net.bias(3)[0], -1)
    x = x + weights @ (h @ block.v.weight.T) @ block.o.weight.T
    h = rms(x, block.norm2)
    inner = torch.nn.functional.gelu(h @ block.gate.weight.T, approximate='tanh') * (h @ block.widen.weight.T)
    torch.testing.assert_close(net(text)[0], rms(x + inner @ block.narrow.weight.T, net.norm), rtol=0, atol=1e-12)


@pytest.mark.bad_input
@pytest.mark.parametrize(('call', 'words'), [
    (lambda: small()(torch.tensor([1, 2])), r'of shape \(2,\), expected int64 of shape \(b, l\)'),
    (lambda: small()('a text'), 'tokens are str'),
    (lambda: small()(torch.tensor([[50]])), 'tokens run from 50 to 50, expected 0..49'),
    (lambda: small()(torch.tensor([[1]]), torch.tensor([[1]])), 'mask is torch.int64'),
    (lambda: small(buckets=6), 'buckets=6'),
    (lambda: small(far=8), 'far=8'),
    (lambda: Unigram(['a', 'a'], [0.0, 0.0]), '1 of them different'),
    (lambda: Unigram(['a', 'b', 'c'], [0.0, math.nan, 0.0]), "the score of 'b' is nan"),
    (lambda: Unigram(['a', 'b', 'c'], [0.0] * 3).encode(b'x'), 'expected str'),
    (lambda: Unigram(['a', 'b', 'c'], [0.0] * 3).decode([3]), 'token 3 is not one of the 3'),
    (lambda: Unigram(['a', 'b', 'c'], [0.0] * 3)([]), 'there are no texts'),
    (lambda: Unigram(['a', 'b', 'c'], [0.0] * 3, charsmap='AAAA'), 'the table of characters has 3 bytes'),
])  # fmt: skip
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# The tokenizer


def plain(**more):
    pieces = ['<pad>', '</s>', '<unk>', MARK, 'a', 'b', MARK + 'a', 'ab', MARK + 'ab', '<x>']
    return Unigram(pieces, [0.0, 0.0, 0.0, -2.0, -3.0, -3.0, -4.0, -4.5, -5.5, 0.0], 8, **more)


def test_rows_masks_and_reading_back():
    words = plain(added=(AddedWord('<x>', 9, lstrip=True, rstrip=True),))
    rows = words(['ab  a', 'zz?b <x> a', ''])
    assert rows.tolist() == [[8, 6, 1, 0, 0, 0, 0, 0], [3, 2, 5, 9, 6, 1, 0, 0], [1] + [0] * 7]
    assert words.mask(rows).sum(1).tolist() == [3, 6, 1]
    assert words.decode(rows[0]) == 'ab a' and words.vocab_size == 10
    with pytest.warns(UserWarning, match='1 of 2 texts are too long; text 1 has 9 tokens and 7 fit'):
        assert words(['a', 'a a a a a a a a a'])[1].tolist() == [6] * 7 + [1]


# Bytes of a stranger


def varint(n):
    return bytes([n & 0x7F | 0x80 if n > 0x7F else n]) + (varint(n >> 7) if n > 0x7F else b'')


def message(*found):
    "A protobuf message of (number, whole number or bytes or float)."
    out = b''
    for number, value in found:
        if isinstance(value, float):
            out += varint(number << 3 | 5) + struct.pack('<f', value)
        else:
            out += varint(number << 3) + varint(value) if isinstance(value, int) else varint(number << 3 | 2) + varint(len(value)) + value
    return out


def spiece(pieces, *, trainer=(), normaliser=(), table=b''):
    "A model of SentencePiece, as its library writes it."
    kinds = [(1, message((1, text.encode()), (2, score), *([(3, kind)] if kind != 1 else []))) for text, score, kind in pieces]
    return message(*kinds, (2, message((3, 1), *trainer)), (3, message((1, b'made'), *([(2, table)] if table else []), *normaliser)))


PIECES = [('<pad>', 0.0, 3), ('</s>', 0.0, 3), ('<unk>', 0.0, 2), (MARK, -2.5, 1), ('é', -3.25, 1)]


def test_a_model_is_read(tmp_path):
    (tmp_path / 'a.model').write_bytes(spiece(PIECES, table=b'12345678'))
    found = read_sentencepieces(tmp_path / 'a.model')
    assert found == ([p for p, _, _ in PIECES], [s for _, s, _ in PIECES], 2, b'12345678')


@pytest.mark.parametrize(('data', 'words'), [
    (spiece(PIECES, trainer=[(3, 2)]), 'model_type is 2, expected 1'),
    (spiece(PIECES, trainer=[(35, 1)]), 'byte_fallback is true'),
    (spiece(PIECES, trainer=[(24, 1)]), 'treat_whitespace_as_suffix is true'),
    (spiece(PIECES, normaliser=[(3, 0)]), 'add_dummy_prefix is false'),
    (spiece(PIECES, normaliser=[(5, 0)]), 'escape_whitespaces is false'),
    (spiece([*PIECES, ('x', 0.0, 4)]), "'x' is user-defined"),
    (spiece([*PIECES, ('<0x0A>', 0.0, 6)]), "'<0x0A>' is byte"),
    (spiece([*PIECES, ('x', math.inf, 1)]), 'finite number'),
    (spiece([*PIECES, ('', -1.0, 1)]), "piece '' has the score"),
    (spiece(PIECES[:2]), '0 pieces stand for what is unknown'),
    (message((1, 5)), 'a piece is a number'),
    (message((1, message((1, b'\xff'), (2, 0.0)))), 'utf-8'),
    (b'\x0a\xff\xff\xff\x7f', 'and 0 are left'),
    (b'\xff' * 11, 'longer than ten bytes'),
    (b'\x80', 'ends within a number'),
    (b'\x0b', 'is of kind 3'),
])  # fmt: skip
def test_a_strange_model_is_refused_by_name(tmp_path, data, words):
    (tmp_path / 'a.model').write_bytes(data)
    with pytest.raises(ValueError, match=words):
        read_sentencepieces(tmp_path / 'a.model')


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_raises_nothing_but_a_value_error(tmp_path_factory, data):
    "A byte changed, or the end cut off, or any bytes at all."
    whole = spiece(PIECES, table=pack({'ﬁ': 'fi'}))
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = data.draw(st.one_of(st.just(whole[:at]), st.integers(0, 255).map(lambda v: whole[:at] + bytes([v]) + whole[at + 1 :]), st.binary(max_size=60)))
    file = tmp_path_factory.mktemp('damaged') / 'a.model'
    file.write_bytes(broken)
    try:
        found = read_sentencepieces(file)
        if found.charsmap:
            Charsmap(found.charsmap)('ﬁx é')
    except ValueError:
        pass


def test_fields_of_every_kind():
    assert list(parse_fields(b'\x08\x96\x01\x11' + bytes(8) + b'\x1a\x02hi\x25' + bytes(4))) == [(1, 150), (2, bytes(8)), (3, b'hi'), (4, bytes(4))]


def pack(table):
    "A table of characters as SentencePiece stores it: a trie in two arrays, and behind it the texts."
    texts, places = b'', {}
    for key, value in table.items():
        places[key.encode()], texts = len(texts), texts + value.encode() + b'\0'
    units, taken = {0: 0}, {0}

    def put(at, keys):
        labels = sorted({key[0] if key else 0 for key, _ in keys})
        base = next(b for b in itertools.count(1) if all(b ^ label not in taken for label in labels))
        taken.update(base ^ label for label in labels)
        units[at] = units.get(at, 0) | (at ^ base) << 10 | (0 in labels) << 8
        for label in labels:
            if label:
                units[base ^ label] = label
                put(base ^ label, [(key[1:], place) for key, place in keys if key[:1] == bytes([label])])
            else:
                units[base] = 1 << 31 | next(place for key, place in keys if not key)

    put(0, list(places.items()))
    row = [units.get(k, 0) for k in range(256 * (max(units) // 256 + 1))]  # whole blocks, so that no byte leads out of it
    return struct.pack('<I', 4 * len(row)) + struct.pack(f'<{len(row)}I', *row) + texts


def test_a_table_replaces_characters_and_clusters():
    table = Charsmap(pack({'ﬁ': 'fi', 'é': 'é', '\t': ' ', 'Ａ': 'A', '\u00ad': ''}))
    assert table('ﬁx Ａ\tb\u00adc') == 'fix A bc' and table('') == ''
    assert table('cafe\u0301') == 'cafe\u0301' and Charsmap(pack({'e\u0301': 'é'}))('cafe\u0301s') == 'cafés'
    assert table('ﬁ\u0301') == 'fi'  # of a short cluster the shortest beginning replaces all
    assert list(clusters('ae\u0301\r\nb\u200dc')) == ['a', 'e\u0301', '\r\n', 'b\u200d', 'c']


@pytest.mark.parametrize('data', [b'', b'\x05\0\0\0' + bytes(5), b'\x08\0\0\0' + bytes(4), struct.pack('<III', 4, 1 << 31 | 5 << 10, 0)])
def test_a_broken_table_is_refused(data):
    with pytest.raises(ValueError, match='the table of characters'):
        Charsmap(data)('a')
