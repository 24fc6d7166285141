"""The judge of shapes: pictures and captions read back, and claims counted."""

import numpy
import pytest
import torch

from diffbook.recognise import caption_agrees, draw_near_misses, read_caption, read_shapes
from diffbook.shapes import RELATIONS, SPLITS, draw_shapes, draw_split, paint, scene_split


@pytest.fixture(scope='module')
def drawn():
    return draw_shapes(2500, 32, seed=11, start=1000)


def test_reader_is_right_on_clean_images(drawn):
    assert (read_shapes(drawn.images) == drawn.labels).all(1).double().mean() >= 0.999


def test_reader_is_right_at_other_sizes():
    for size in (28, 64):
        few = draw_shapes(300, size, seed=12)
        assert torch.equal(read_shapes(few.images), few.labels)


@pytest.mark.parametrize(
    'shape, dtype',
    [
        ((2, 1, 32, 32), torch.uint8),
        ((2, 3, 32, 32), torch.float32),
        ((3, 32, 32), torch.uint8),
        ((2, 3, 32, 16), torch.uint8),
    ],
)
def test_read_shapes_refuses(shape, dtype):
    with pytest.raises(ValueError, match='expected uint8'):
        read_shapes(torch.zeros(shape, dtype=dtype))


@pytest.mark.parametrize('split', SPLITS)
def test_near_misses_differ_in_one_point(split):
    "One object with one other value, or two objects that exchanged values; all in one part, no two alike."
    near = draw_near_misses(300, 8, split, seed=2)
    assert (scene_split(near.labels) == SPLITS.index(split)).all()
    scenes = near.labels.reshape(300, 4, 13)
    things, ground = scenes[..., 1:].reshape(300, 4, 3, 4), scenes[..., 0]
    assert (ground == ground[:, :1]).all()
    seen = set()
    for family in things.tolist():
        assert len({str(scene) for scene in family}) == 4
        for scene in family:
            there = [thing for thing in scene if thing[0] >= 0]
            assert len({tuple(thing[:2]) for thing in there}) == len(there)
        for scene in family[1:]:
            moved = [(a, b) for a, b in zip(family[0], scene) if a != b]
            fields = [k for k in range(4) if any(a[k] != b[k] for a, b in moved)]
            if len(moved) == 1:
                assert len(fields) == 1
            else:
                (a, b), (c, d) = moved  # what one has in these fields, the other had
                assert all(a[k] == d[k] and b[k] == c[k] for k in fields) and (len(fields) == 1 or a[:3] == d[:3])
            seen.add((len(moved), *(fields if len(moved) == 1 else fields[:1])))
    rare = {(1, 3)} if split == 'new kinds' else set()  # a single thing of a new kind has too few near misses
    assert {(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2)} - rare <= seen


def test_near_misses_are_functions_of_their_index():
    many, few = draw_near_misses(40, 16, seed=1), draw_near_misses(7, 16, seed=1)
    assert torch.equal(many.images[:28], few.images) and many.captions[:28] == few.captions
    pairs = draw_near_misses(7, 32, seed=1, k=2, objects=(2,))
    assert torch.equal(read_shapes(pairs.images), pairs.labels) and len(pairs) == 14


@pytest.mark.parametrize('kwargs', [{'n': 0}, {'n': 3, 'split': 'test'}, {'n': 3, 'k': 1}, {'n': 3, 'k': 5}, {'n': 3, 'objects': (4,)}])
def test_draw_near_misses_refuses(kwargs):
    with pytest.raises(ValueError, match='expected'):
        draw_near_misses(**kwargs)


def test_every_caption_states_its_scene_and_nothing_else(drawn):
    for text, row in zip(drawn.captions, drawn.labels.tolist()):
        facts, things = read_caption(text), {tuple(row[k : k + 3]): row[k + 3] for k in (1, 5, 9) if row[k] >= 0}
        assert sorted(t[:3] for t in facts.things) == sorted(things)
        assert [t[3] for t in facts.things] == (list(things.values()) if len(things) == 1 else [-1] * len(things))
        assert facts.background in (-1, row[0]) and (facts.background >= 0) == (' on ' in text)
        assert [(a, b) for a, _, b in facts.relations] == [(0, k) for k in range(1, len(things))]


def test_captions_agree_with_their_scenes():
    drawn = draw_split(3000, 8, seed=6, brief=0.5)
    assert all(kept.all() for kept in caption_agrees(drawn.captions, drawn.labels).values())
    for key, share in (('size', 0.3), ('colour', 0.2), ('place', 0.2)):  # what is left out is left out often
        column = {'colour': 1, 'size': 2}.get(key)
        facts = [read_caption(text) for text in drawn.captions]
        silent = [not f.relations and f.things[0][3] < 0 if column is None else f.things[0][column] < 0 for f in facts]
        assert abs(sum(silent) / 3000 - share) < 0.05


def changed(row, rng):
    "A scene that differs in one attribute: (key, other scene) for every attribute that there is."
    things = [k for k in (1, 5, 9) if row[k] >= 0]
    for k in things:
        for key, column, many in (('shape', k, 6), ('colour', k + 1, 8), ('size', k + 2, 2)):
            other = list(row)
            other[column] = (other[column] + 1 + rng.integers(many - 1)) % many
            yield key, other
    moved = list(row)
    if len(things) == 1:
        moved[4] = (moved[4] + 1 + rng.integers(8)) % 9
    else:
        a, b = rng.permutation(things)[:2]
        moved[a + 3], moved[b + 3] = moved[b + 3], moved[a + 3]
    yield 'place', moved
    yield 'number', row[: things[-1]] + [-1] * (13 - things[-1])
    if len(things) < 3:
        yield 'number', row[: things[-1] + 4] + [0, 0, 0, 8] + row[things[-1] + 8 :]
    yield 'background', [(row[0] + 1 + rng.integers(2)) % 3, *row[1:]]


def test_every_changed_attribute_is_caught():
    "One attribute of a true scene is changed: `all` fails, and so does the key of what was changed, and it alone."
    rng = numpy.random.default_rng(0)
    drawn, clean = draw_split(400, 8, seed=7), 0
    for text, row in zip(drawn.captions, drawn.labels.tolist()):
        for key, other in changed(row, rng):
            held = {k: v.item() for k, v in caption_agrees(text, torch.tensor([other])).items()}
            if key == 'background':
                assert held['all'] == held[key] == (read_caption(text).background < 0)
                continue
            assert not held['all'], (text, key, other)
            if key == 'number':  # a missing object breaks what was claimed about it, too
                assert not held['number']
                continue
            failed = {k for k, v in held.items() if not v}
            clean += failed == {key, 'all'}
            assert held['number'] and held['background'], (text, key, other)
            assert failed == {key, 'all'} or row[5] >= 0, (
                text,
                key,
                other,
                failed,
            )  # with more objects another assignment may win
    assert clean > 1500


@pytest.mark.parametrize(
    'a, b, true',
    [
        (0, 2, {'left'}),
        (2, 0, {'right'}),
        (3, 5, {'left'}),
        (1, 7, {'above'}),
        (8, 2, {'below'}),
        (0, 5, {'left'}),
        (0, 7, {'above'}),
        (0, 8, set()),
        (0, 4, set()),
        (2, 4, set()),
    ],
)
def test_relations_are_judged_by_the_cells(a, b, true):
    labels = torch.tensor([[0, 0, 0, 0, a, 1, 2, 1, b, -1, -1, -1, -1]])
    for name, phrases in RELATIONS.items():
        for phrase in phrases:
            held = caption_agrees(f'a circle {phrase} a square', labels)
            assert held['place'].item() == held['all'].item() == (name in true)


def test_the_assignment_with_the_fewest_mistakes_is_taken():
    labels = torch.tensor([[0, 0, 2, 0, 3, 1, 0, 1, 5, -1, -1, -1, -1]])  # a small blue circle left of a big red square
    held = {k: v.item() for k, v in caption_agrees('a small red circle left of a big blue square', labels).items()}
    assert not held['colour'] and not held['all'] and held['shape'] and held['size'] and held['place'] and held['number']
    assert caption_agrees('a square and a blue circle', labels)['all'].all()
    assert not caption_agrees('a circle', labels)['number'].any() and caption_agrees('a circle', labels)['shape'].all()


def test_nothing_read_is_nothing_right():
    held = caption_agrees('a red circle', torch.full((2, 13), -1))
    assert not held['all'].any() and not held['number'].any() and not held['shape'].any() and held['background'].all()


FREE = {  # what people write -> things, relations and ground
    'a red circle': (((0, 0, -1, -1),), (), -1),
    'A large, pink ring.': (((5, 7, 1, -1),), (), -1),
    'red little circle in the middle': (((0, 0, 0, 4),), (), -1),
    'the circle at the top left on a gray background': (((0, -1, -1, 0),), (), 2),
    'a small red circle above a big blue square': (((0, 0, 0, -1), (1, 2, 1, -1)), ((0, 2, 1),), -1),
    'a ring and a cross and a diamond on white': (((5, -1, -1, -1), (4, -1, -1, -1), (3, -1, -1, -1)), (), 0),
    'a ring left of a cross and above a diamond': (
        ((5, -1, -1, -1), (4, -1, -1, -1), (3, -1, -1, -1)),
        ((0, 0, 1), (0, 2, 2)),
        -1,
    ),
    'a ring left of a cross above a diamond': (
        ((5, -1, -1, -1), (4, -1, -1, -1), (3, -1, -1, -1)),
        ((0, 0, 1), (1, 2, 2)),
        -1,
    ),
}


@pytest.mark.parametrize('text', FREE)
def test_what_people_write_is_read(text):
    facts = read_caption(text)
    assert (facts.things, facts.relations, facts.background) == FREE[text]


@pytest.mark.parametrize(
    'text, words',
    [
        ('a huge red circle', "has 'huge', expected size .small, little.* or colour .red.* or shape .circle"),
        ('a red dog', "has 'dog', expected size .* or shape .circle, square"),
        ('a small big circle', "has 'big', expected colour .red"),
        ('a red circle beside a square', "has 'beside', expected .*relation .left of"),
        ('a circle at the end', "has 'end', expected place .top left"),
        ('a circle on blue', "has 'blue', expected ground .white, black"),
        ('a circle above', 'ends, expected'),
        ('', 'ends, expected'),
        ('a circle and a ring and a cross and a square', '4 objects, expected at most 3'),
    ],
)
def test_unknown_words_are_named(text, words):
    with pytest.raises(ValueError, match=words):
        read_caption(text)


def test_caption_agrees_refuses():
    for captions, labels, words in (
        (['a circle'], torch.zeros(2, 13), '1 captions and 2 images'),
        ('a circle', torch.zeros(2, 12), r'\(2, 12\), expected \(n, 13\)'),
    ):
        with pytest.raises(ValueError, match=words):
            caption_agrees(captions, labels)
    with pytest.raises(ValueError, match=r'expected \(n, 13\)'):
        scene_split(torch.zeros(13))


def test_four_things_are_no_scene():
    labels = torch.tensor([[0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 0, 6]])
    place = torch.tensor([[[0.25, 0.25, 0.1], [0.75, 0.25, 0.1], [0.25, 0.75, 0.1]]])
    three = paint(labels, place, 32)
    four = torch.minimum(three, three.flip(2, 3))  # on white, the darker of the two: a fourth object at the bottom right
    assert torch.equal(read_shapes(three), labels)
    assert read_shapes(four).tolist() == [[0] + [-1] * 12]
