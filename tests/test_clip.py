"""CLIP: what may not depend on what, the loss against loops, reading of files, and the model in the zoo."""

import hashlib
import importlib.resources
import json
import math

import helpers
import pytest
import torch
from torch import nn

from diffbook.core import build, describe
from diffbook.data import to_model
from diffbook.metrics import zoo_entry
from diffbook.nets.clip import (
    CLIP,
    ImageTower,
    TextTower,
    Transformer,
    clip_loss,
    gelu,
    info_nce,
    quick_gelu,
    retrieval,
)
from diffbook.pretrained import clip_pixels
from diffbook.shapes import draw_split
from diffbook.training import Trainer, load, read_model, save

END = 19


def make(end=END, **text):
    "Both towers, tiny, with random weights none of which is special."
    torch.manual_seed(0)
    clip = CLIP(TextTower(20, 7, 8, 2, 2, end=end, **text), ImageTower(6, 3, 12, 2, 3, channels=2), 5)
    for p in clip.parameters():
        nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5)
    return clip.double().eval()


def pairs(n=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, END, (n, 7), generator=g)
    tokens[torch.arange(n), torch.randint(1, 6, (n,), generator=g)] = END
    return torch.randn(n, 2, 6, 6, generator=g, dtype=torch.float64), tokens


def unit(n, e, seed):
    return nn.functional.normalize(torch.randn(n, e, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


# What may not depend on what


def test_a_state_sees_no_later_token():
    "Exactly the states before a changed token stay."
    tower, (_, tokens) = make().text_model, pairs()
    before = tower(tokens)[0]
    for place in range(1, 7):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % END
        changed[torch.arange(6), tower.end_of(tokens)] = END
        after, moved = tower(changed)[0], changed != tokens
        first = torch.where(moved.any(1), moved.int().argmax(1), 7)
        same = (after - before).abs().amax(2) < 1e-12
        assert (same == (torch.arange(7) < first[:, None])).all()


@pytest.mark.parametrize('end', [END, None])
def test_what_stands_behind_the_end_changes_nothing(end):
    clip, (_, tokens) = make(end), pairs()
    behind = torch.arange(7) > clip.text_model.end_of(tokens)[:, None]
    other = torch.where(behind, torch.randint(0, END, tokens.shape), tokens)
    assert (other != tokens).any(1).sum() >= 3
    torch.testing.assert_close(clip.encode_text(other), clip.encode_text(tokens), rtol=0, atol=1e-12)
    alone = [clip.encode_text(row[None, : k + 1]) for row, k in zip(tokens, clip.text_model.end_of(tokens))]
    torch.testing.assert_close(torch.cat(alone), clip.encode_text(tokens), rtol=0, atol=1e-12)


def test_the_first_end_token_counts():
    tower = make().text_model
    tokens = torch.tensor([[3, END, 4, END, END, 0, 0], [3, 4, 5, 6, 7, 8, END]])
    assert tower.end_of(tokens).tolist() == [1, 6]
    states, pooled = tower(tokens)
    torch.testing.assert_close(pooled, states[[0, 1], [1, 6]])


def test_every_token_before_the_end_and_every_pixel_matters():
    clip, (images, tokens) = make(), pairs()
    for place in range(6):
        here = clip.text_model.end_of(tokens) > place
        changed = tokens[here]
        changed[:, place] = (changed[:, place] + 1) % END
        moved = (clip.encode_text(changed) - clip.encode_text(tokens[here])).abs().amax(1) > 1e-6
        assert moved.all()
    images.requires_grad_()
    clip.encode_image(images)[:, 0].sum().backward()
    assert (images.grad.abs() > 1e-9).all()


def test_every_parameter_has_a_gradient():
    clip, batch = make(), pairs()
    clip_loss(clip, batch).backward()
    unused = {'text_model.embeddings.token_embedding.weight', 'text_model.embeddings.position_embedding.weight'}
    for name, p in clip.named_parameters():
        rows = p.grad.abs().reshape(len(p) if p.ndim else 1, -1).amax(1)
        # a key's bias shifts all scores of a query alike, which the softmax does not see
        assert name.endswith('k_proj.bias') or (rows > 1e-12).any() and (name in unused or (rows > 1e-12).all()), name


def test_patches_are_read_in_rows():
    "Position k of the sequence is row k // n and column k % n of the image."
    tower = ImageTower(6, 3, 12, 1, 3, channels=1).double()
    image = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    empty = tower.embeddings(image)
    image[0, 0, 4, 1] = 1  # second row of patches, first column
    assert (tower.embeddings(image) != empty).any(2).nonzero()[:, 1].tolist() == [3]


def test_examples_of_a_batch_do_not_mix():
    clip, (images, tokens) = make(), pairs()
    torch.testing.assert_close(torch.cat([clip.encode_image(x[None]) for x in images]), clip.encode_image(images))
    assert all(abs(v.norm(dim=1) - 1).max() < 1e-12 for v in clip(images, tokens))


def test_first_weights_hold_the_stream():
    "At the start the blocks add about as much as came, however deep the stack."
    torch.manual_seed(0)
    x = torch.randn(4, 16, 64)
    for depth in (1, 4, 16):
        states = Transformer(64, depth, 4, None, quick_gelu, 1e-5, causal=False)(x)
        added = (states[-1] - x).var() / x.var()
        assert len(states) == depth + 1 and 0.05 < added < 2, (depth, added)


def test_activations_against_their_integrals():
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)
    torch.testing.assert_close(gelu(x), x * torch.special.ndtr(x), rtol=0, atol=1e-14)
    assert 0.02 < (quick_gelu(x) - gelu(x)).abs().max() < 0.021
    assert build(describe(quick_gelu)) is quick_gelu


# The loss


@pytest.mark.parametrize('scale', [1.0, 14.3, 100.0])
def test_info_nce_is_two_classifications(scale):
    "Against loops: -log softmax of the right pair, along rows and along columns."
    a, b = unit(7, 4, 0), unit(7, 4, 1)
    total = 0.0
    for i in range(7):
        row = [math.exp(scale * (a[i] @ b[j]).item()) for j in range(7)]
        column = [math.exp(scale * (a[j] @ b[i]).item()) for j in range(7)]
        total -= math.log(row[i] / sum(row)) / 14 + math.log(column[i] / sum(column)) / 14
    assert info_nce(a, b, math.log(scale)).item() == pytest.approx(total, rel=1e-12)
    assert info_nce(a, b, torch.tensor(scale, dtype=torch.float64).log()).item() == pytest.approx(total, rel=1e-12)


def test_autocast_does_not_round_the_logits():
    a, b = unit(32, 8, 0).float(), unit(32, 8, 1).float()
    with torch.autocast('cpu', torch.bfloat16):
        assert (a @ b.T).dtype == torch.bfloat16
        assert info_nce(a, b, math.log(100)).item() == pytest.approx(info_nce(a.double(), b.double(), math.log(100)).item(), rel=1e-5)


def test_info_nce_knows_its_limits():
    a, b = unit(9, 4, 0), unit(9, 4, 1)
    assert info_nce(a, b, -60.0).item() == pytest.approx(math.log(9), abs=1e-12)  # no scale: a guess
    assert info_nce(torch.eye(9), torch.eye(9), math.log(100)).item() < 1e-12  # all right and sure
    order = torch.randperm(9)
    assert info_nce(a[order], b[order], 1.0).item() == pytest.approx(info_nce(a, b, 1.0).item(), rel=1e-12)
    assert info_nce(a, b, 1.0).item() == pytest.approx(info_nce(b, a, 1.0).item(), rel=1e-12)
    assert info_nce(a, a, 3.0) < info_nce(a, a[order], 3.0)


def test_the_scale_stops_at_100_and_can_come_back():
    "Adversarial pairs want a smaller scale: the gradient must be there at the bound."
    clip, (images, tokens) = make(), pairs()
    with torch.no_grad():
        clip.logit_scale.fill_(9.0)
    clip_loss(clip, (images, tokens)).backward()
    assert clip.logit_scale.exp().item() == pytest.approx(100)
    assert clip.logit_scale.grad.abs() > 1e-3


def test_a_tiny_clip_learns_its_pairs():
    torch.manual_seed(0)
    clip, (images, tokens) = (
        CLIP(TextTower(20, 7, 16, 1, 2, end=END), ImageTower(6, 3, 16, 1, 2, channels=2), 8),
        pairs(6),
    )
    trainer = Trainer(clip, clip_loss, lr=5e-3, warmup=5, device='cpu')
    losses = [trainer.update((images.float(), tokens)).loss.item() for _ in range(60)]
    assert losses[-1] < 0.1 < losses[0]
    assert retrieval(*clip(images.float(), tokens), 6) == (1.0, 1.0)


# Retrieval


def test_retrieval_counts_by_hand():
    a = torch.eye(4)
    b = torch.tensor([[1.0, 0, 0, 0], [0, 0.1, 0.9, 0], [0, 0, 0.5, 0], [0, 0, 0.6, 0.7]])
    # images ask: 0 -> text 0, 1 -> 1, 2 -> text 1 (0.9 > 0.5), 3 -> 3; texts ask: 0 -> 0, 1 -> image 2, 2 -> 2, 3 -> 3
    assert retrieval(a, b, 4) == (0.75, 0.75)
    b[3] = torch.tensor([0, 0, 0.6, 0.5])  # now text 3 asks for image 2; image 3 still finds text 3
    assert retrieval(a, b, 4) == (0.75, 0.5)
    assert retrieval(a, b, 2) == (0.75, 0.75)  # in the second pair image 2 prefers text 3, and text 3 image 2


def test_chance_is_one_in_so_many():
    "Independent vectors: 64,000 questions, five standard deviations of a binomial (false alarm 6e-7)."
    hits = retrieval(unit(64_000, 16, 0), unit(64_000, 16, 1), 64)
    for rate in hits:  # questions of a group are not quite independent: the texts are shared, the variance is no larger than twice
        assert abs(rate - 1 / 64) < 7 * math.sqrt(1 / 64 * 63 / 64 / 64_000)


# Files


def test_saved_and_loaded(tmp_path):
    clip, batch = make(activation=gelu, eps=1e-3), pairs()
    save(tmp_path, clip)
    back = load(tmp_path).double()
    torch.testing.assert_close(back(*batch), clip(*batch), rtol=1e-5, atol=1e-5)
    assert back.text_model.encoder.layers[0].mlp.activation is gelu
    assert describe(back) == describe(clip)


# Bad input


BAD = [
    (lambda: make().encode_text(['a red circle']), 'tokens are list'),
    (lambda: make().encode_text(torch.zeros(2, 7)), r'tokens are torch.float32 of shape \(2, 7\), expected int64'),
    (lambda: make().encode_text(torch.zeros(2, 8, dtype=torch.int64)), r'shape \(2, 8\), expected .* 1..7'),
    (lambda: make().encode_text(torch.zeros(7, dtype=torch.int64)), r'shape \(7,\)'),
    (lambda: make().encode_text(torch.full((1, 3), 20)), r'tokens run from 20 to 20, expected 0..19'),
    (lambda: make().encode_text(torch.full((1, 3), -1)), r'tokens run from -1 to -1'),
    (lambda: make().encode_text(torch.tensor([[1, END], [1, 2]])), 'text 1 has no end token 19'),
    (lambda: make().text_model(torch.tensor([[1, END]]), skip=3), 'skip is 3, expected a whole number from 0 to 2'),
    (lambda: make().encode_image(torch.zeros(1, 3, 6, 6)), r"shape \(1, 3, 6, 6\), expected .*\('b', 2, 6, 6\)"),
    (lambda: make().encode_image(torch.zeros(1, 2, 6, 6, dtype=torch.uint8)), 'images are torch.uint8'),
    (lambda: ImageTower(32, 5), 'size=32, patch=5'),
    (lambda: TextTower(20, 7, 10, 2, 3), 'width=10, layers=2, heads=3'),
    (lambda: TextTower(20, 7, 8, 0, 2), 'layers=0'),
    (lambda: CLIP(TextTower(20, 7, 8, 1, 2, dim=4), ImageTower(6, 3, 12, 1, 3)), 'a projection of its own'),
    (lambda: info_nce(torch.zeros(3, 4), torch.zeros(2, 4), 0.0), r'\(3, 4\) and text_vectors \(2, 4\)'),
    (lambda: retrieval(torch.zeros(3, 4), torch.zeros(3, 4)), 'among 64'),
]  # fmt: skip
test_bad_input_is_refused = helpers.refuses(BAD)


def test_pixels_become_openais():
    mean, std = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    white, grey = clip_pixels(torch.stack([torch.ones(3, 2, 2), torch.zeros(3, 2, 2)]).double())
    for k in range(3):
        torch.testing.assert_close(white[k], torch.full((2, 2), (1 - mean[k]) / std[k], dtype=torch.float64))
        torch.testing.assert_close(grey[k], torch.full((2, 2), (0.5 - mean[k]) / std[k], dtype=torch.float64))


# The zoo


def test_the_zoo_clip_is_the_one_on_record():
    entry, root = zoo_entry('clip-shapes'), importlib.resources.files('diffbook') / 'zoo'
    data = (root / entry['file']).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry['bytes'], entry['sha256'])
    assert len(data) < 2_000_000
    about, report = read_model('clip-shapes')[0]['about'], json.loads((root / entry['report']).read_text())
    assert {k: v for k, v in about.items() if k != 'tokenizer'} == report
    last = (root / entry['log']).read_text().split()[-1].split(',')
    assert (int(last[0]), int(last[1]), int(last[3])) == (about['steps'], about['pairs'], about['processor_seconds'])
    assert about['processor_seconds'] <= 600  # five minutes on two cores
    assert sum(p.numel() for p in load('clip-shapes').parameters()) == about['parameters']


@torch.no_grad()
@pytest.mark.parametrize('split', ['new scenes', 'new kinds'])
def test_the_zoo_clip_retrieves_as_recorded(split):
    "Counted anew in a world that the record did not use; 512 questions, five standard deviations and rounding."
    clip, about = load('clip-shapes'), read_model('clip-shapes')[0]['about']
    tokenizer, data = build(about['tokenizer']), draw_split(512, 32, split, seed=77)
    want = about['retrieval'][split]
    assert min(want['image_to_text'], want['text_to_image']) >= 0.9
    got = retrieval(*clip(to_model(data.images), tokenizer(data.captions)), 64)
    for rate, there in zip(got, (want['image_to_text'], want['text_to_image'])):
        assert abs(rate - there) < 5 * math.sqrt(there * (1 - there) / 512) + 0.01
