"""Data sets: pure order, drawn truth, and readers that do not believe their files."""

import gzip
import hashlib
import io
import itertools
import json
import re
import shutil
import struct
import tarfile

import numpy
import pytest
import torch
from helpers import needs_data
from PIL import Image
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from diffbook import data
from diffbook.core import generator
from diffbook.data import (
    BACKGROUNDS,
    CELLS,
    COLOURS,
    COLUMNS,
    HELD_OUT,
    RELATIONS,
    SHAPES,
    SIZES,
    SPLITS,
    TOYS,
    Dataset,
    batch_indices,
    batches,
    caption,
    caption_agrees,
    data_root,
    draw_near_misses,
    draw_shapes,
    draw_split,
    fetch_data,
    from_model,
    gaussian_ring,
    load_data,
    read_caption,
    read_folder,
    read_idx,
    read_image,
    read_shapes,
    scene_split,
    subset,
    to_model,
)

# --- batches


@pytest.mark.parametrize('n, size, start', [(10, 4, 0), (10, 4, 7), (10, 25, 3), (7, 7, 5), (1, 3, 2), (64, 1, 100)])
def test_batches_are_the_function_of_seed_and_step(n, size, start):
    got = list(itertools.islice(batches(torch.arange(n), size, seed=3, start_step=start), 6))
    assert all(torch.equal(b, batch_indices(n, size, 3, start + k)) for k, b in enumerate(got))


def test_every_epoch_shows_every_example_once_in_another_order():
    line = torch.cat(list(itertools.islice(batches(torch.arange(50), 7), 50)))
    epochs = line[: 50 * (len(line) // 50)].reshape(-1, 50)
    assert torch.equal(epochs.sort(1).values, torch.arange(50).expand_as(epochs))
    assert len({tuple(e.tolist()) for e in epochs}) == len(epochs)  # a repeat has probability below 1e-60


def test_batches_keep_images_and_labels_together():
    drawn = draw_shapes(20, 16)
    x, y = next(batches(drawn, 8, seed=1))
    where = [(drawn.images == image).flatten(1).all(1).nonzero()[0].item() for image in x]
    assert torch.equal(drawn.labels[where], y)


@pytest.mark.parametrize(
    'args',
    [
        (torch.empty(0, 2), 1),
        ((torch.ones(3), torch.ones(4)), 1),
        (torch.ones(3), 0),
        (torch.ones(3), 1, 0, -1),
        ((), 1),
    ],
)
def test_batches_refuse(args):
    with pytest.raises(ValueError, match='expected|number'):
        batches(*args)


# --- units


def test_units_round_to_the_nearest_byte_and_clip():
    x = torch.tensor([-7.0, -1.0, 0.0, 1.0, 2.0, -1 + 0.51 / 127.5, -1 + 0.49 / 127.5])
    assert from_model(x).tolist() == [0, 0, 128, 255, 255, 1, 0]


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_units_refuse_what_is_not_finite(bad):
    with pytest.raises(ValueError, match='finite'):
        from_model(torch.tensor([0.0, bad]))


def test_dataset_refuses_what_does_not_fit():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    for kwargs in (
        {'images': images.float()},
        {'images': images[0]},
        {'images': images[:0]},
        {'images': images, 'labels': torch.zeros(2)},
        {'images': images, 'captions': ('a',)},
    ):
        with pytest.raises(ValueError, match='expected|empty|images and'):
            Dataset(**kwargs)


def test_subset_keeps_what_belongs_together():
    drawn = draw_shapes(9, 16)
    part = subset(drawn, torch.tensor([4, 1]))
    assert part.captions == (drawn.captions[4], drawn.captions[1])
    assert torch.equal(part.labels, drawn.labels[[4, 1]]) and torch.equal(part.images, drawn.images[[4, 1]])


# --- toys


def test_toys_lie_where_they_should():
    points = {name: toy(4000, generator(5, name)) for name, toy in TOYS.items()}
    assert all(p.shape == (4000, 2) and p.dtype == torch.float64 and 0.6 < p.std() < 1.3 for p in points.values())
    x, y = points['checkerboard'].floor().long().unbind(1)
    assert ((x + y) % 2 == 0).all() and set(x.tolist()) == set(y.tolist()) == {-2, -1, 0, 1}
    squares = torch.bincount((x + 2) * 4 + y + 2, minlength=16)
    assert ((squares[squares > 0] - 500).square() / 500).sum() < 45  # chi-square of 7 degrees, false alarm below 2e-7
    upper = (points['two_moons'] / 1.3 + torch.tensor([0.5, 0.25])).norm(dim=1) - 1
    lower = (torch.tensor([0.5, 0.25]) - points['two_moons'] / 1.3).norm(dim=1) - 1
    assert torch.minimum(upper.abs(), lower.abs()).max() < 6.5 * 0.06
    turn = torch.linspace(0, 4 * torch.pi, 4000, dtype=torch.float64)
    curve = torch.stack([turn * turn.cos(), turn * turn.sin()], 1) / (2 * torch.pi)
    assert torch.cdist(points['spiral'], curve).min(1).values.max() < 6.5 * 0.03 + 0.01


def test_gaussian_ring_is_what_eight_gaussians_draws():
    weights, means, covs = gaussian_ring()
    points = TOYS['eight_gaussians'](20000, generator(6, 'ring'))
    mean = (weights[:, None] * means).sum(0)
    cov = (weights[:, None, None] * (covs + means[:, :, None] * means[:, None])).sum(0) - torch.outer(mean, mean)
    assert (points.mean(0) - mean).abs().max() < 6 * (cov.diagonal().max() / 20000).sqrt()
    assert (points.T.cov() - cov).abs().max() < 6 * 1.5 / 20000**0.5
    nearest = torch.cdist(points, means).argmin(1)
    assert abs((points - means[nearest]).std() - covs[0, 0, 0].sqrt()) < 6 * 0.12 / 40000**0.5


# --- shapes


@pytest.fixture(scope='module')
def drawn():
    return draw_shapes(2500, 32, seed=11, start=1000)


def test_reader_is_right_on_clean_images(drawn):
    assert (read_shapes(drawn.images) == drawn.labels).all(1).double().mean() >= 0.999


def test_reader_is_right_at_other_sizes():
    for size in (28, 64):
        few = draw_shapes(300, size, seed=12)
        assert torch.equal(read_shapes(few.images), few.labels)


def test_image_is_a_function_of_its_index(drawn):
    for start, n in ((1000, 1), (3040, 20), (3495, 5)):  # 3048 is where a new piece begins
        again = draw_shapes(n, 32, seed=11, start=start)
        assert torch.equal(again.images, drawn.images[start - 1000 :][:n])
        assert again.captions == drawn.captions[start - 1000 :][:n]
    assert not torch.equal(draw_shapes(5, 32, seed=12, start=1000).images, drawn.images[:5])


def test_scenes_are_uniform_and_objects_differ():
    labels, place = data._scenes(20000, 4, 0, (1, 2, 3))
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
    cover = data._cover(torch.tensor([k]), place, 128)[0].double()
    grid = (torch.arange(128) + 0.5) / 128
    assert abs(cover.mean() / (data.AREAS[k] * 0.19**2) - 1) < 0.01
    assert abs((cover.sum(0) * grid).sum() / cover.sum() - 0.47) < 2e-3
    assert abs((cover.sum(1) * grid).sum() / cover.sum() - 0.52) < 2e-3


def test_triangle_points_up():
    cover = data._cover(torch.tensor([list(SHAPES).index('triangle')]), torch.tensor([[0.5, 0.5, 0.4]]), 64)[0]
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


@pytest.mark.parametrize(
    'kwargs', [{'n': 0}, {'n': 3, 'size': 4}, {'n': 3, 'start': -1}, {'n': 3, 'objects': ()}, {'n': 3, 'objects': (4,)}]
)
def test_draw_refuses(kwargs):
    with pytest.raises(ValueError, match='expected'):
        draw_shapes(**kwargs)


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


# --- parts kept back


def test_the_world_is_published():
    "What others were trained and scored on must not move: scenes and captions are whole numbers and words, the same on every machine."
    drawn = draw_shapes(100, 8)
    digest = hashlib.sha256(json.dumps([drawn.labels.tolist(), drawn.captions]).encode()).hexdigest()
    assert digest == '8fd8f94d6c38f3d0b096f564b84ac2f8dfb2ab5ee87fe396a0ba8033c1bcd309'


def kinds_of(row):
    return {(list(SHAPES)[row[k]], list(COLOURS)[row[k + 1]]) for k in (1, 5, 9) if row[k] >= 0}


def test_parts_are_disjoint_and_of_the_sizes_promised():
    labels = data._scenes(40000, 3, 0, (1, 2, 3))[0]
    part = scene_split(labels)
    held = torch.tensor([bool(kinds_of(row) & set(HELD_OUT)) for row in labels.tolist()])
    assert torch.equal(part == 2, held) and len(set(HELD_OUT)) == 6
    for many in (2, 3):  # with one object there are too few different scenes for a narrow bound
        rest = part[(part < 2) & ((labels[:, 1::4] >= 0).sum(1) == many)]
        assert abs(rest.double().mean() - 0.1) < 6 * (0.09 / len(rest)) ** 0.5
    single = {tuple(row[1:5]): p for row, p in zip(labels.tolist(), part.tolist()) if row[5] < 0 and p < 2}
    assert len(single) == 42 * 2 * 9 and abs(sum(single.values()) / len(single) - 0.1) < 6 * (0.09 / len(single)) ** 0.5


def test_the_parts_do_not_depend_on_ground_row_or_batch():
    labels = data._scenes(3000, 9, 0, (1, 2, 3))[0]
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


# --- captions read


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
    assert (
        not held['colour'] and not held['all'] and held['shape'] and held['size'] and held['place'] and held['number']
    )
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
    three = data._paint(labels, place, 32)
    four = torch.minimum(
        three, three.flip(2, 3)
    )  # on white, the darker of the two: a fourth object at the bottom right
    assert torch.equal(read_shapes(three), labels)
    assert read_shapes(four).tolist() == [[0] + [-1] * 12]


# --- files


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f'>{array.ndim}I', *array.shape) + bytes(array.flatten().tolist())


@pytest.fixture
def mnist(tmp_path):
    "A small MNIST with the published names."
    folder = tmp_path / 'MNIST' / 'raw'
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(1)
    made = {}
    for split, n in (('train', 30), ('t10k', 12)):
        made[split] = (
            torch.randint(256, (n, 28, 28), generator=draw, dtype=torch.uint8),
            torch.randint(10, (n,), generator=draw, dtype=torch.uint8),
        )
        for kind, array, axes in (('images', made[split][0], 3), ('labels', made[split][1], 1)):
            (folder / f'{split}-{kind}-idx{axes}-ubyte.gz').write_bytes(gzip.compress(idx_bytes(array)))
    return tmp_path, folder, made


def test_idx_agrees_with_torchvision(mnist, tmp_path):
    root, folder, made = mnist
    path = folder / 'train-images-idx3-ubyte.gz'
    (tmp_path / 'plain').write_bytes(gzip.decompress(path.read_bytes()))
    assert torch.equal(read_idx(path, 3), read_sn3_pascalvincent_tensor(str(tmp_path / 'plain')))
    for split, key in (('train', 'train'), ('test', 't10k')):
        got = load_data('mnist', split, root)
        assert torch.equal(got.images[:, 0], made[key][0]) and torch.equal(got.labels, made[key][1].long())


def test_data_root_comes_from_the_environment(mnist, monkeypatch, tmp_path):
    monkeypatch.setenv('DIFFBOOK_DATA', str(mnist[0]))
    assert len(load_data('mnist')) == 30
    monkeypatch.delenv('DIFFBOOK_DATA')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert data_root() == tmp_path / 'diffbook' and data_root('here').name == 'here'


GOOD = idx_bytes(torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2))


@pytest.mark.parametrize(
    'content, words',
    [
        (b'', 'damaged|begins with nothing'),
        (b'not gzip at all', 'damaged'),
        (gzip.compress(b'', mtime=0), 'begins with nothing'),
        (gzip.compress(GOOD[:9], mtime=0), 'begins with'),
        (gzip.compress(bytes([0, 0, 13, 3]) + GOOD[4:], mtime=0), 'begins with 00000d03, expected 00000803'),
        (gzip.compress(idx_bytes(torch.arange(3, dtype=torch.uint8)), mtime=0), 'expected 00000803'),
        (gzip.compress(GOOD[:-1], mtime=0), 'holds 11 bytes'),
        (gzip.compress(GOOD + b'x', mtime=0), 'holds more bytes'),
        (gzip.compress(GOOD, mtime=0)[:-4], 'damaged'),
        (gzip.compress(GOOD, mtime=0)[:-6] + b'\0\0\0\0\0\0', 'damaged'),
        (gzip.compress(bytes([0, 0, 8, 3]) + b'\xff' * 12, mtime=0), '100 times the file'),
    ],
)
def test_idx_refuses(tmp_path, content, words):
    path = tmp_path / 'some.gz'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_labels_out_of_range_and_of_another_number_are_refused(mnist):
    root, folder, _ = mnist
    path = folder / 'train-labels-idx1-ubyte.gz'
    path.write_bytes(gzip.compress(idx_bytes(torch.full((30,), 10, dtype=torch.uint8))))
    with pytest.raises(ValueError, match='label 10, expected less than 10'):
        load_data('mnist', root=root)
    path.write_bytes(gzip.compress(idx_bytes(torch.zeros(29, dtype=torch.uint8))))
    with pytest.raises(ValueError, match='30 images and 29 labels'):
        load_data('mnist', root=root)


def test_missing_files_say_what_where_and_how(mnist):
    root, folder, _ = mnist
    (folder / 'train-labels-idx1-ubyte.gz').unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_data('mnist', root=root)
    for words in (
        'train-labels-idx1-ubyte.gz',
        str(folder),
        f'diffbook data mnist --download --data-root {root}',
        'DIFFBOOK_DATA',
    ):
        assert words in str(caught.value)


def cifar(path, names, size=10000 * 3073, kind=tarfile.REGTYPE):
    body = (b'\x03' + bytes(range(256)) * 12) * 10000  # label 3, then 3072 known pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w:gz', compresslevel=1) as archive:
        for name in names:
            member = tarfile.TarInfo(f'cifar-10-batches-bin/{name}.bin')
            member.size, member.type, member.linkname = (
                size if kind == tarfile.REGTYPE else 0,
                kind,
                '../../../etc/passwd',
            )
            archive.addfile(member, io.BytesIO(body[:size]) if kind == tarfile.REGTYPE else None)
    return path


def test_cifar_is_read_without_unpacking(tmp_path):
    path = cifar(tmp_path / 'CIFAR10' / 'cifar-10-binary.tar.gz', ['test_batch'])
    got = load_data('cifar10', 'test', tmp_path)
    assert got.images.shape == (10000, 3, 32, 32) and (got.labels == 3).all()
    flat = torch.arange(256, dtype=torch.uint8).repeat(12)
    assert torch.equal(got.images[77], flat.reshape(3, 32, 32))  # a plane a colour, row by row
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with pytest.raises(ValueError, match='damaged'):
        load_data('cifar10', 'train', tmp_path)


@pytest.mark.parametrize('kwargs', [{'size': 3073}, {'kind': tarfile.SYMTYPE}])
def test_cifar_refuses(tmp_path, kwargs):
    cifar(tmp_path / 'CIFAR10' / 'cifar-10-binary.tar.gz', ['test_batch'], **kwargs)
    with pytest.raises(ValueError, match='expected a file of 30730000'):
        load_data('cifar10', 'test', tmp_path)


def test_folder_of_images(tmp_path):
    for folder, file, colour in (
        ('cats', 'a.png', (255, 0, 0)),
        ('cats', 'b.jpg', (0, 255, 0)),
        ('dogs', 'c.webp', (0, 0, 255)),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        image = Image.new('RGB', (40, 20), (0, 0, 0))
        image.paste(colour, (10, 0, 30, 20))  # the middle square
        image.save(tmp_path / folder / file, quality=95, **({'lossless': True} if file.endswith('webp') else {}))
    (tmp_path / 'notes.txt').write_text('not an image')
    got = load_data(str(tmp_path), size=8)
    assert got.classes == ('cats', 'dogs') and got.labels.tolist() == [0, 0, 1] and got.images.shape == (3, 3, 8, 8)
    assert (got.images.float().mean((2, 3)).argmax(1) == torch.tensor([0, 1, 2])).all()
    assert torch.equal(got.images[0], torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 8, 8))


def test_grey_palette_and_transparent_images_become_colour(tmp_path):
    Image.new('L', (8, 8), 7).save(tmp_path / 'a.png')
    Image.new('RGBA', (8, 8), (1, 2, 3, 255)).save(tmp_path / 'b.png')
    Image.new('P', (8, 8)).save(tmp_path / 'c.png')
    assert read_folder(tmp_path, 8).images[:2, :, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]


def test_what_is_transparent_is_white(tmp_path):
    Image.new('RGBA', (8, 8), (9, 9, 9, 0)).save(tmp_path / 'a.png')
    Image.new('RGBA', (8, 8), (255, 0, 0, 51)).save(tmp_path / 'b.png')
    grey = Image.new('LA', (8, 8), (0, 0))
    grey.save(tmp_path / 'c.png')
    palette = Image.new('P', (8, 8))
    palette.putpalette([7, 7, 7])
    palette.save(tmp_path / 'd.png', transparency=0)
    seen = [read_image(tmp_path / f'{name}.png', 4)[:, 0, 0].tolist() for name in 'abcd']
    assert seen == [[255, 255, 255], [255, 204, 204], [255, 255, 255], [255, 255, 255]]


def test_folder_names_the_file_it_refuses(tmp_path):
    Image.effect_noise((8, 8), 90).convert('RGB').save(tmp_path / 'good.png')
    bad = tmp_path / 'bad.png'
    for content in (b'', b'no image', b'GIF89a' + bytes(40), (tmp_path / 'good.png').read_bytes()[:100]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match='1 of 2 pictures cannot be read: .*bad.png could not be read as PNG, JPEG'):
            read_folder(tmp_path, 8)
        with pytest.warns(UserWarning, match='1 of 2 pictures cannot be read: .*bad.png .*left out'):
            got = load_data(str(tmp_path), size=8, skip_broken=True)
        assert len(got) == 1 and torch.equal(got.images[0], read_image(tmp_path / 'good.png', 8))


def small(path, colour='red', size=(4, 4), **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, colour).save(path, **how)


def test_a_folder_is_read_as_the_files_in_it(tmp_path):
    "Upright, and on the ground that is asked for; both reach through `load_data`."
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.new('RGB', (4, 4), 'black')
    turned.paste('red', (0, 0, 2, 4))  # the left half, as stored, is the upper one on the screen
    turned.save(tmp_path / 'a.png', exif=exif)
    Image.new('RGBA', (4, 4), (0, 0, 0, 0)).save(tmp_path / 'b.png')
    for ground, value in (('white', 255), ('black', 0), ((7, 7, 7), 7)):
        images = load_data(str(tmp_path), size=4, ground=ground).images
        assert (images[0, 0] == torch.tensor([255, 255, 0, 0])[:, None]).all() and (images[1] == value).all()
        assert torch.equal(read_image(tmp_path / 'b.png', 4, ground=ground), images[1])
    assert torch.equal(read_folder(tmp_path, 4).images, load_data(str(tmp_path), size=4).images) and (read_folder(tmp_path, 4).images[1] == 255).all()


def test_classes_of_a_folder(tmp_path):
    "Hidden folders are none, linked ones are, and a picture at the root is of none, which is said."
    for name in ('set/cat/1.png', 'set/cat/.ipynb_checkpoints/1.png', 'set/dog/2.png', 'set/__MACOSX/3.png', 'far/4.png'):
        small(tmp_path / name)
    (tmp_path / 'set' / 'bird').symlink_to(tmp_path / 'far')
    got = read_folder(tmp_path / 'set', 4)
    assert got.classes == ('bird', 'cat', 'dog') and got.labels.tolist() == [0, 1, 2]
    small(tmp_path / 'set' / '0.png')
    with pytest.warns(UserWarning, match='1 pictures lie beside the sub-folders, which are classes, and are of no class'):
        got = read_folder(tmp_path / 'set', 4)
    assert got.classes == ('bird', 'cat', 'dog') and got.labels.tolist() == [-1, 0, 1, 2]
    small(tmp_path / 'one' / 'cat' / '1.png')
    assert read_folder(tmp_path / 'one', 4).labels is None


def test_a_folder_with_splits_gives_one_of_them(tmp_path):
    for name, colour in (('train/cat/1.png', 'red'), ('train/dog/2.png', 'red'), ('test/cat/3.png', 'blue'), ('val/dog/4.png', 'lime')):
        small(tmp_path / name, colour)
    for split, channel, labels in ((None, 0, [0, 1]), ('train', 0, [0, 1]), ('test', 2, None), ('val', 1, None)):
        with pytest.warns(UserWarning, match=f'sub-folders for splits: . pictures of {split or "train"} are read and'):
            got = read_folder(tmp_path, 4, split=split)
        assert (got.images[:, channel] == 255).all() and (None if got.labels is None else got.labels.tolist()) == labels
        with pytest.warns(UserWarning, match='sub-folders for splits'):
            assert torch.equal(load_data(str(tmp_path), split or 'train', size=4).images, got.images)
    small(tmp_path / 'plain' / '1.png')
    with pytest.raises(ValueError, match="split is 'test', and .*plain has no sub-folders train and test"):
        load_data(str(tmp_path / 'plain'), 'test')


TEXTS = {  # what lies beside two pictures -> the words of a refusal, if captions are demanded
    'nothing': ((None, None), 'there are no captions: expected a text file beside each image, such as .*1.txt'),
    'one of two': ((b'a cat', None), '2.txt is not there: 1 of 2 images have a caption beside them, expected all or none'),
    'an empty one': ((b'a cat', b' \n'), '2.txt is empty, expected a caption'),
    'Latin-1': ((b'caf\xe9', b'a cat'), '1.txt is not UTF-8'),
    'good ones': ((b'a cat', b'a dog'), None),
}  # fmt: skip


@pytest.mark.parametrize('name', TEXTS)
def test_captions_are_demanded_taken_or_left(name, tmp_path):
    texts, words = TEXTS[name]
    for k, text in enumerate(texts, 1):
        small(tmp_path / f'{k}.png')
        if text is not None:
            (tmp_path / f'{k}.txt').write_bytes(text)
    good = None if words else ('a cat', 'a dog')
    assert read_folder(tmp_path, 4).captions == good and read_folder(tmp_path, 4, captions=False).captions is None
    if words:
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            load_data(str(tmp_path), size=4, captions=True)
    else:
        assert load_data(str(tmp_path), size=4, captions=True).captions == good


def test_captions_stay_beside_their_pictures_when_one_is_left_out(tmp_path):
    for k in range(4):
        small(tmp_path / f'{k}.png', (k, 0, 0))
        (tmp_path / f'{k}.txt').write_text(f'number {k}')
    (tmp_path / '1.png').write_bytes(b'broken')
    with pytest.warns(UserWarning, match='1 of 4 pictures'):
        got = read_folder(tmp_path, 4, skip_broken=True)
    assert got.captions == ('number 0', 'number 2', 'number 3') and got.images[:, 0, 0, 0].tolist() == [0, 2, 3]


@pytest.mark.parametrize('size', [0, -1, 2.0, True, (32, 32)])
def test_a_size_is_a_whole_number(tmp_path, size):
    small(tmp_path / 'a.png')
    with pytest.raises(ValueError, match='size is .*expected a whole number, at least 1'):
        read_folder(tmp_path, size)


def test_folder_refuses(tmp_path):
    with pytest.raises(ValueError, match='holds no picture that can be read: no .png, '):
        read_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match='not a folder'):
        read_folder(tmp_path / 'nowhere')


@pytest.mark.parametrize(
    'args, words',
    [(('cats',), 'cats.*expected shapes, fashion-mnist'), (('shapes', 'valid'), "valid.*expected 'train' or 'test'")],
)
def test_load_refuses(args, words):
    with pytest.raises(ValueError, match=words):
        load_data(*args)


# --- downloads, from file:// instead of https://


@pytest.fixture
def source(tmp_path, monkeypatch):
    site, body = tmp_path / 'site', b'0123456789'
    site.mkdir()
    (site / 'file.gz').write_bytes(body)
    entry = data.Source(
        'Set/raw',
        (f'file://{tmp_path}/nowhere/', f'file://{site}/'),
        {'file.gz': (10, hashlib.sha256(body).hexdigest())},
        (),
    )
    monkeypatch.setitem(data.SOURCES, 'set', entry)
    return site, tmp_path / 'root'


def test_fetch_tries_mirrors_and_keeps_what_is_there(source):
    site, root = source
    folder = fetch_data('set', root)
    assert (folder / 'file.gz').read_bytes() == b'0123456789'
    (site / 'file.gz').unlink()
    assert fetch_data('set', root) == folder  # nothing to fetch


@pytest.mark.parametrize('body', [b'0123456780', b'012345678', b'01234567890'])
def test_fetch_refuses_other_bytes_and_leaves_nothing(source, body):
    site, root = source
    (site / 'file.gz').write_bytes(body)
    with pytest.raises(OSError, match='could not be fetched'):
        fetch_data('set', root)
    assert not (root / 'Set').exists()


def test_known_sources_are_https_and_agree_with_torchvision():
    from torchvision.datasets import MNIST, FashionMNIST

    assert all(m.startswith('https://') for s in data.SOURCES.values() for m in s.mirrors)
    assert {f for f, _ in MNIST.resources} == set(data.SOURCES['mnist'].files)
    assert {f for f, _ in FashionMNIST.resources} == set(data.SOURCES['fashion-mnist'].files)


def test_fashion_mnist_is_the_published_one():
    folder = needs_data('FashionMNIST', 'raw/t10k-images-idx3-ubyte.gz') / 'raw'
    for file, (size, digest) in data.SOURCES['fashion-mnist'].files.items():
        content = (folder / file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest)
    assert torch.bincount(load_data('fashion-mnist', 'test').labels).tolist() == [1000] * 10


# --- emoji: a world of five, published as files of 128 x 128 pixels


def published(path, k, style):
    "One file as the repositories hold it: half transparent, with a colour that nobody must see where it is empty."
    image = numpy.zeros((128, 128, 4), dtype=numpy.uint8)
    image[..., 0] = 255  # red, unseen
    image[33:95, 33:95] = (10 * k, 20, 200, 128 if k % 2 else 255)  # the pixels of its edge will be shared
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **({} if style == 'noto' else {'lossless': True, 'exact': True}))


@pytest.fixture
def emoji(tmp_path, monkeypatch):
    "A list of five emoji, the site that holds them, and an empty root."
    names = ['strawberry', 'grinning face', 'eyes', 'man: red hair', 'O button (blood type)']
    rows = [[f'1f{k:03x}', name, k, name, '', ''] for k, name in enumerate(names)]
    sources, site = {}, tmp_path / 'site'
    for style in data.EMOJI_STYLES:
        sources[style] = {'repository': f'someone/{style}', 'commit': 'c0ffee', 'files': '', 'pixels': ''}
    known = {'sources': sources, 'groups': [], 'emoji': rows}
    monkeypatch.setattr(data, '_emoji_list', lambda: known)
    for s, style in enumerate(data.EMOJI_STYLES):
        kept = range(5) if s == 0 else range(4)  # the last one is in one style alone
        for k in kept:
            rows[k][4 + s] = '?'
        files = [site / f'someone/{style}/c0ffee' / row['path'] for row in data._emoji_rows(style)]
        for k, file in zip(kept, files):
            published(file, k, style)
            rows[k][4 + s] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        sources[style]['files'] = hashlib.sha256(b''.join(f.read_bytes() for f in files)).hexdigest()
        small = b''.join(data._shrink_emoji(f.read_bytes()).tobytes() for f in files)
        sources[style]['pixels'] = hashlib.sha256(small).hexdigest()
    entry = data.SOURCES['emoji']
    monkeypatch.setitem(data.SOURCES, 'emoji', data.Source(entry.folder, (f'file://{site}/',), entry.files, entry.classes))
    return site, tmp_path / 'root', sources


def test_emoji_are_fetched_built_and_read(emoji):
    site, root, _ = emoji
    folder = fetch_data('emoji', root)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()) == [
        'fluent-3d/captions.json', 'fluent-3d/images.npz', 'noto/captions.json', 'noto/images.npz',
    ]  # fmt: skip
    parts = [load_data('emoji', split, root) for split in ('train', 'test')]
    assert sum(len(p) for p in parts) == 9 and not set(parts[0].labels[:, 2].tolist()) & set(parts[1].labels[:, 2].tolist())
    for part in parts:
        for image, (style, group, base) in zip(part.images, part.labels.tolist()):
            assert group == base and image[:, 0, 0].tolist() == [255, 255, 255]  # white, though the file says red there
            for at, covered in ((32, 1.0), (16, 0.25)):  # inside, and a corner of which a quarter is covered
                opacity = covered * (128 / 255 if base % 2 else 1)
                want = [opacity * c + 255 * (1 - opacity) for c in (10 * base, 20, 200)]
                assert (image[:, at, at].double() - torch.tensor(want)).abs().max() <= 1.5
    captions = {c for part in parts for c in part.captions}
    assert {'a 3D emoji of a strawberry', 'an emoji of a strawberry', 'an emoji of eyes', 'a 3D emoji of a man, red hair'} <= captions
    assert 'an emoji of an O button (blood type)' in captions and 'a 3D emoji of an O button (blood type)' not in captions
    shutil.rmtree(site)
    assert fetch_data('emoji', root) == folder  # all is there: nothing to fetch


def test_emoji_shrink_by_the_mean_of_squares(emoji):
    _, root, _ = emoji
    fetch_data('emoji', root)
    for split in ('train', 'test'):
        whole = load_data('emoji', split, root).images.double()
        for size in (32, 16, 8):
            mean = torch.nn.functional.avg_pool2d(whole, 64 // size)
            assert (load_data('emoji', split, root, size=size).images - mean).abs().max() <= 0.5
    for size in (128, 48):
        with pytest.raises(ValueError, match=f'size is {size}, expected 64, 32'):
            load_data('emoji', 'train', root, size=size)


def test_emoji_fetch_goes_on_where_it_stopped(emoji):
    site, root, _ = emoji
    files = sorted((site / 'someone' / 'noto').rglob('*.png'))
    content = files[2].read_bytes()
    files[2].unlink()
    with pytest.raises(OSError, match='could not be fetched.*goes on from here'):
        fetch_data('emoji', root)
    files[2].write_bytes(content)
    for file in files[:2]:
        file.unlink()  # these are here already
    fetch_data('emoji', root)
    assert len(load_data('emoji', 'train', root)) > 0


def test_emoji_refuse_other_files_and_other_pictures(emoji):
    site, root, sources = emoji
    file = sorted((site / 'someone' / 'noto').rglob('*.png'))[1]
    content = file.read_bytes()
    published(file, 9, 'noto')
    with pytest.raises(ValueError, match='gave .* bytes with sha256 .* expected'):
        fetch_data('emoji', root)
    file.write_bytes(content)
    sources['fluent-3d']['files'] = 'another'
    with pytest.raises(ValueError, match='files of fluent-3d have sha256'):
        fetch_data('emoji', root)
    assert not (root / 'emoji' / 'fluent-3d' / 'images.npz').exists()


@pytest.mark.parametrize('harm', ['cut', 'pickle', 'captions', 'pixel', 'missing'])
def test_emoji_refuse_damage(emoji, harm):
    _, root, _ = emoji
    folder = fetch_data('emoji', root) / 'noto'
    path = folder / 'images.npz'
    words = 'damaged'
    if harm == 'cut':
        path.write_bytes(path.read_bytes()[:-40])
    elif harm == 'pickle':
        numpy.savez(path, images=numpy.array([print] * 5, dtype=object))
    elif harm == 'captions':
        (folder / 'captions.json').write_text('[{"base": "1f000"}]')
    elif harm == 'pixel':
        images = numpy.load(path)['images']
        images[1, 2, 3, 0] ^= 1
        numpy.savez(path, images=images)
        words = 'other pictures than the published'
    else:
        path.unlink()
        words = 'emoji is not complete: noto/images.npz not found'
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_data('emoji', 'train', root)


def test_the_list_of_emoji_is_whole():
    known, sources = data._emoji_list(), data.SOURCES['emoji']
    assert [len(data._emoji_rows(style)) for style in data.EMOJI_STYLES] == [1679, 1595] and set(known['sources']) == set(sources.classes)
    for row in known['emoji']:
        assert re.fullmatch('[0-9a-f]+(-[0-9a-f]+)*', row[0]) and row[1] and 0 <= row[2] < len(known['groups'])
        assert all(re.fullmatch('([0-9a-f]{16})?', digest) for digest in row[4:]) and '..' not in row[3]
    assert len({row[0] for row in known['emoji']}) == 1679 and all(len(s['commit']) == 40 for s in known['sources'].values())


def test_published_emoji_are_the_published_ones():
    needs_data('emoji', 'noto/images.npz')
    parts = [load_data('emoji', split, size=32) for split in ('train', 'test')]  # which checks the digests of all pictures
    bases = [set(p.labels[:, 2].tolist()) for p in parts]
    assert sum(map(len, parts)) == 1679 + 1595 and not bases[0] & bases[1] and 0.07 < len(bases[1]) / 1679 < 0.13
    assert all((p.labels.max(0).values < torch.tensor([2, 10, 1679])).all() for p in parts)


def test_model_units_of_bytes_are_symmetric():
    assert to_model(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
