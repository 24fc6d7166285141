"""The world of shapes: drawn truth, the same for everyone, and the scenes that training never shows."""

import hashlib
import json
import re

import pytest
import torch

from diffbook.recognise import read_caption, read_shapes
from diffbook.shapes import (
    AREAS,
    BACKGROUNDS,
    CELLS,
    COLOURS,
    COLUMNS,
    HELD_OUT,
    SHAPES,
    SIZES,
    SPLITS,
    caption,
    coverage,
    draw_scenes,
    draw_shapes,
    draw_split,
    scene_split,
    scenes,
)


@pytest.fixture(scope='module')
def drawn():
    return draw_shapes(2500, 32, seed=11, start=1000)


def test_image_is_a_function_of_its_index(drawn):
    for start, n in ((1000, 1), (3040, 20), (3495, 5)):  # 3048 is where a new piece begins
        again = draw_shapes(n, 32, seed=11, start=start)
        assert torch.equal(again.images, drawn.images[start - 1000 :][:n])
        assert again.captions == drawn.captions[start - 1000 :][:n]
    assert not torch.equal(draw_shapes(5, 32, seed=12, start=1000).images, drawn.images[:5])


def test_scenes_are_uniform_and_objects_differ():
    labels, place = scenes(20000, 4, 0, (1, 2, 3))
    count = (labels[:, 1::4] >= 0).sum(1)
    things = labels[:, 1:].reshape(-1, 3, 4)
    kind = torch.where(things[..., 0] >= 0, things[..., 0] * 8 + things[..., 1], -1 - torch.arange(3))
    assert all((kind[:, a] != kind[:, b]).all() for a, b in ((0, 1), (0, 2), (1, 2)))
    third = kind[count == 3]
    for counts in (
        torch.bincount(count)[1:],
        *(torch.bincount(third[:, k], minlength=48) for k in range(3)),
        torch.bincount(labels[:, 0]),
    ):
        expected, free = counts.sum() / len(counts), len(counts) - 1
        chi = ((counts - expected).square() / expected).sum()
        assert chi < free + 7 * (2 * free) ** 0.5 + 20  # false alarm below 1e-6 each
    assert (place[..., :2][things[..., 0] >= 0] - 0.5).abs().max() <= 0.25 + 0.026


@pytest.mark.parametrize('k', range(6))
def test_cover_has_the_area_and_the_middle_of_its_shape(k):
    place = torch.tensor([[0.47, 0.52, 0.19]])
    cover = coverage(torch.tensor([k]), place, 128)[0].double()
    grid = (torch.arange(128) + 0.5) / 128
    assert abs(cover.mean() / (AREAS[k] * 0.19**2) - 1) < 0.01
    assert abs((cover.sum(0) * grid).sum() / cover.sum() - 0.47) < 2e-3
    assert abs((cover.sum(1) * grid).sum() / cover.sum() - 0.52) < 2e-3


def test_triangle_points_up():
    cover = coverage(torch.tensor([list(SHAPES).index('triangle')]), torch.tensor([[0.5, 0.5, 0.4]]), 64)[0]
    assert cover.argmax(1)[cover.amax(1) > 0.5][0] > 25 and cover.sum(1)[20] < cover.sum(1)[40]


NOUN = r'a (small|little|big|large) (\w+) (\w+)'
SYNONYMS = {'little': 'small', 'large': 'big'}


def test_captions_say_what_is_there(drawn):
    "An independent reading of the sentence agrees with the scene, relation by relation."
    forms = set()
    for text, row in zip(drawn.captions, drawn.labels.tolist()):
        things = [row[1 + 4 * k : 5 + 4 * k] for k in range(3) if row[1 + 4 * k] >= 0]
        name = {(list(SIZES)[t[2]], list(COLOURS)[t[1]], list(SHAPES)[t[0]]): t[3] for t in things}
        nouns = [(SYNONYMS.get(s, s), c, f) for s, c, f in re.findall(NOUN, text)]
        assert sorted(nouns) == sorted(name), text
        if ground := re.search(r' on (?:a )?(white|black|grey)(?: background)?$', text):
            assert ground[1] == list(BACKGROUNDS)[row[0]]
        if len(things) == 1:
            assert f' at the {CELLS[things[0][3]]}' in text
        places = [divmod(name[noun], 3) for noun in nouns]
        words = re.findall(r'(left of|right of|above|over|below|under) a ', text)
        assert len(words) == len(things) - 1
        for word, (row_, column) in zip(words, places[1:]):
            dr, dc = places[0][0] - row_, places[0][1] - column
            want = {
                'left of': dc < 0,
                'right of': dc > 0,
                'above': dr < 0,
                'over': dr < 0,
                'below': dr > 0,
                'under': dr > 0,
            }[word]
            assert want and (dr == 0) != (dc == 0), text
        forms.add(re.sub(NOUN, 'X', text))
    assert len(forms) > 60


def test_caption_choice_is_words_alone():
    scene = torch.tensor([1, 0, 0, 0, 3, 1, 2, 1, 5, -1, -1, -1, -1])
    assert len({caption(scene, c) for c in range(64)}) >= 24
    assert caption(scene, 64) == caption(scene, 0) == 'a small red circle left of a big blue square'


def test_objects_limits_the_number():
    labels = draw_shapes(200, 16, objects=(2,)).labels
    assert (labels[:, 5] >= 0).all() and (labels[:, 9] < 0).all() and len(COLUMNS) == labels.shape[1]


@pytest.mark.parametrize('kwargs', [{'n': 0}, {'n': 3, 'size': 4}, {'n': 3, 'start': -1}, {'n': 3, 'objects': ()}, {'n': 3, 'objects': (4,)}])
def test_draw_refuses(kwargs):
    with pytest.raises(ValueError, match='expected'):
        draw_shapes(**kwargs)


def test_the_world_is_published():
    "What others were trained and scored on must not move: scenes and captions are whole numbers and words, the same on every machine."
    drawn = draw_shapes(100, 8)
    digest = hashlib.sha256(json.dumps([drawn.labels.tolist(), drawn.captions]).encode()).hexdigest()
    assert digest == '8fd8f94d6c38f3d0b096f564b84ac2f8dfb2ab5ee87fe396a0ba8033c1bcd309'


def kinds_of(row):
    return {(list(SHAPES)[row[k]], list(COLOURS)[row[k + 1]]) for k in (1, 5, 9) if row[k] >= 0}


def test_parts_are_disjoint_and_of_the_sizes_promised():
    labels = scenes(40000, 3, 0, (1, 2, 3))[0]
    part = scene_split(labels)
    held = torch.tensor([bool(kinds_of(row) & set(HELD_OUT)) for row in labels.tolist()])
    assert torch.equal(part == 2, held) and len(set(HELD_OUT)) == 6
    for many in (2, 3):  # with one object there are too few different scenes for a narrow bound
        rest = part[(part < 2) & ((labels[:, 1::4] >= 0).sum(1) == many)]
        assert abs(rest.double().mean() - 0.1) < 6 * (0.09 / len(rest)) ** 0.5
    single = {tuple(row[1:5]): p for row, p in zip(labels.tolist(), part.tolist()) if row[5] < 0 and p < 2}
    assert len(single) == 42 * 2 * 9 and abs(sum(single.values()) / len(single) - 0.1) < 6 * (0.09 / len(single)) ** 0.5


def test_the_parts_do_not_depend_on_ground_row_or_batch():
    labels = scenes(3000, 9, 0, (1, 2, 3))[0]
    part, other = scene_split(labels), labels.clone()
    other[:, 0] = (other[:, 0] + 1) % 3
    assert torch.equal(scene_split(other), part)
    row = (labels[:, 4] == 0) & (labels[:, 8] == 2) & (labels[:, 12] < 0)
    other[row, 4], other[row, 8] = 6, 8
    assert row.any() and torch.equal(scene_split(other), part)
    assert torch.equal(torch.cat([scene_split(labels[k : k + 1]) for k in range(50)]), part[:50])


def words_of(text):
    "What a caption says, in one form: no paraphrase, no ground, relations told from the left or the top."
    facts = read_caption(text)
    swap = {1: 0, 3: 2}
    told = [(b, swap[r], a) if r in swap else (a, r, b) for a, r, b in facts.relations]
    return frozenset((facts.things[a], r, facts.things[b]) for a, r, b in told) or facts.things


def test_no_caption_of_a_new_scene_is_one_of_training():
    seen = {words_of(text) for text in draw_split(30000, 8, objects=(1, 2)).captions}
    new = {words_of(text) for text in draw_split(3000, 8, 'new scenes', seed=1, objects=(1, 2)).captions}
    again = {words_of(text) for text in draw_split(3000, 8, seed=1, objects=(1, 2)).captions}
    assert not seen & new and len(seen & again) > 100


@pytest.mark.parametrize('split', SPLITS)
def test_a_part_is_the_world_without_the_others(split):
    world = draw_shapes(2500, 16, seed=4)
    keep = (scene_split(world.labels) == SPLITS.index(split)).nonzero()[:, 0]
    for n in (1, len(keep)):
        part = draw_split(n, 16, split, seed=4)
        assert torch.equal(part.images, world.images[keep[:n]]) and torch.equal(part.labels, world.labels[keep[:n]])
        assert part.captions == tuple(world.captions[k] for k in keep[:n].tolist())
    assert torch.equal(read_shapes(draw_split(50, 32, split, seed=4).images), world.labels[keep[:50]])


@pytest.mark.parametrize(
    'kwargs',
    [
        {'n': 0},
        {'n': 3, 'split': 'test'},
        {'n': 3, 'objects': ()},
        {'n': 3, 'size': 4},
        {'n': 3, 'brief': 1.5},
        {'n': 3, 'brief': float('nan')},
    ],
)
def test_draw_split_refuses(kwargs):
    with pytest.raises(ValueError, match='expected'):
        draw_split(**kwargs)


def test_given_scenes_are_drawn():
    "What is asked for is there, read by another route; the scenes of a world, given again, keep all but their exact places."
    world = draw_shapes(300, 32, seed=5)
    again = draw_scenes(world.labels, 32, seed=5)
    assert torch.equal(read_shapes(again.images), world.labels) and again.captions == world.captions
    assert not torch.equal(again.images, world.images)
    assert torch.equal(draw_scenes(world.labels[:7], 32, seed=5).images, again.images[:7])


ONE = [0, 5, 7, 1, 8] + [-1] * 8  # a big pink ring at the bottom right, on white
NONE = {  # rows that are no scene
    'no object': [0] + [-1] * 12, 'no ground': [-1, *ONE[1:]], 'an eighth shape': [0, 7, *ONE[2:]], 'a third size': [0, 5, 7, 2, *ONE[4:]],
    'half an object': [*ONE[:5], 0, *[-1] * 7], 'an object without a colour': [0, 5, -1, *ONE[3:]], 'a diagonal': [0, 0, 0, 0, 0, 1, 1, 1, 8, *[-1] * 4],
    'neighbours': [0, 0, 0, 0, 0, 1, 1, 1, 1, *[-1] * 4], 'in another order': [0, 0, 0, 0, 2, 1, 1, 1, 0, *[-1] * 4], 'three in a row': [0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 2],
}  # fmt: skip


@pytest.mark.parametrize('name', NONE)
def test_what_is_no_scene_is_refused(name):
    assert len(draw_scenes(torch.tensor([ONE]))) == 1
    with pytest.raises(ValueError, match=r'row 1 is \[.*expected a scene'):
        draw_scenes(torch.tensor([ONE, NONE[name], ONE]))


@pytest.mark.parametrize('labels, size', [(torch.zeros(3, 12), 32), (torch.zeros(13), 32), (torch.zeros(3, 13), 4), (torch.zeros(0, 13), 32)])
def test_draw_scenes_refuses(labels, size):
    with pytest.raises(ValueError, match='expected'):
        draw_scenes(labels.long(), size)
