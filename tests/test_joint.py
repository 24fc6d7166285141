"""The readers of prompts of Stable Diffusion 3 and FLUX, and their times, against their definitions; whole pipelines in tests/parity."""

from pathlib import Path

import pytest
import torch

from diffbook.conditioning import Asked
from diffbook.nets.clip import TextTower
from diffbook.nets.t5 import T5
from diffbook.pretrained import load_schedule
from diffbook.published.joint import JointReader, SpokenReader
from diffbook.published.reading import Published
from diffbook.text import Tokenizer

WORDS = Tokenizer(['a b', 'ab c</w>'], 7)


class Sentences:
    "Stands for T5's tokenizer: other numbers, another length."

    def spread(self, text):
        return text

    def __call__(self, texts):
        return torch.tensor([[len(text) % 9, *range(4)] for text in texts])


def parts():
    torch.manual_seed(0)
    towers = [TextTower(WORDS.vocab_size, 7, width, 3, 2, dim=dim).eval() for width, dim in ((4, 3), (6, 5))]
    return towers, T5(9, 12, 2, 2, head_dim=4, hidden=8).eval()


TEXTS = ['abc', 'a b']


def test_the_tokens_of_stable_diffusion_3():
    "Both towers side by side, before the last block and without the final norm, zeros up to T5's width; then T5."
    towers, t5 = parts()
    cond = JointReader([WORDS] * 2, towers, Sentences(), t5, width=12, length=5)(TEXTS)
    states = [tower(WORDS(TEXTS), skip=1, norm=False) for tower in towers]
    assert cond.seq.shape == (2, 12, 12) and cond.mask is None
    torch.testing.assert_close(cond.seq[:, :7, :10], torch.cat([states[0][0], states[1][0]], 2))
    assert cond.seq[:, :7, 10:].count_nonzero() == 0
    torch.testing.assert_close(cond.seq[:, 7:], t5(Sentences()(TEXTS)))
    torch.testing.assert_close(cond.vec, torch.cat([states[0][1], states[1][1]], 1))


def test_without_t5_zeros_stand_in_its_place():
    reader = JointReader([WORDS] * 2, parts()[0], width=12, length=5)
    assert reader(TEXTS).seq[:, 7:].shape == (2, 5, 12) and reader(TEXTS).seq[:, 7:].count_nonzero() == 0
    skipped = reader.read(TEXTS, Asked(skip=1)).seq
    assert not torch.equal(skipped, reader(TEXTS).seq) and torch.equal(reader.read(TEXTS, Asked(skip=1, away=True)).seq, reader(TEXTS).seq)


def test_flux_is_told_the_scale_and_asked_once():
    towers, t5 = parts()
    reader = SpokenReader(WORDS, towers[0], Sentences(), t5)
    cond = reader.read(TEXTS, Asked(scale=2.5))
    assert reader.tells_scale and cond.vec.shape == (2, 4) and cond.vec[:, 3].tolist() == [2.5, 2.5]
    torch.testing.assert_close(cond.vec[:, :3], towers[0](WORDS(TEXTS))[1])
    torch.testing.assert_close(cond.seq, t5(Sentences()(TEXTS)))
    assert SpokenReader(WORDS, towers[0], Sentences(), t5, guided=False)(TEXTS).vec.shape == (2, 3)


def plan(**said):
    return load_schedule(Published({'_class_name': 'FlowMatchEulerDiscreteScheduler'} | said, {}, Path('here')))


def test_the_end_of_the_grid_is_shifted_twice():
    "Of Stable Diffusion 3: once with the table of training, once with the grid; of FLUX once."
    moved = lambda t: 3 * t / (1 + 2 * t)  # noqa: E731
    times = plan(shift=3.0).times(28)
    assert len(times) == 29 and times[0] == 1 and times[-1] == 0 and abs(times[-2] - moved(moved(0.001))) < 1e-8
    assert abs(plan(shift=3.0, _even=True).times(4)[-2] - moved(0.25)) < 1e-7


def test_a_shift_that_grows_with_the_picture():
    "The logarithm of the shift is 0.5 at 256 tokens and 1.15 at 4096, and linear between."
    grows = plan(use_dynamic_shifting=True, _even=True)
    for tokens, mu in ((256, 0.5), (4096, 1.15), (2176, 0.825)):
        t = grows.times(2, tokens)[1].item()
        assert abs(t / (1 - t) - torch.tensor(mu).exp().item()) < 1e-5  # even: one half
    with pytest.raises(ValueError, match='expected the number of its tokens'):
        grows.times(4)
    for said, words in (({'shift_terminal': 0.02}, 'shift_terminal'), ({'shift': 0.0}, 'shift 0.0'), ({'time_shift_type': 'linear'}, 'time_shift_type')):
        with pytest.raises(ValueError, match=words):
            plan(**said)
