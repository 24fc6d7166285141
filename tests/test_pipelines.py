"""How published pipelines read prompts: two towers side by side, numbers as waves, and which class means what."""

import math

import pytest
import torch

from diffbook.conditioning import Asked, TextConditioner
from diffbook.core import build, describe
from diffbook.nets.clip import TextTower
from diffbook.published.pipelines import PIPELINES, Parts, SizedReader, named, pipeline_of
from diffbook.shapes import draw_shapes
from diffbook.text import Tokenizer, train_merges

TEXTS = ['a small red circle', '', 'green']
WAVES = {'dim': 8, 'shift': 0.0, 'cos_first': True}


def reader(**options):
    torch.manual_seed(0)
    words = Tokenizer(train_merges(draw_shapes(50).captions, 40), 12)
    towers = [TextTower(words.vocab_size, 12, width, 3, 2, end=words.end, dim=dim).double().eval() for width, dim in ((8, None), (12, 6))]
    for tower in towers:  # no norm is the identity
        for p in tower.parameters():
            torch.nn.init.normal_(p, std=0.3)
    return SizedReader([words, Tokenizer(words.arguments['merges'], 12, pad=3)], towers, 8, **options)


def waves(values):
    rows = [f(v * 10_000 ** (-k / 4)) for v in values for f in (math.cos, math.sin) for k in range(4)]
    return torch.tensor(rows, dtype=torch.float64)


def test_states_side_by_side_before_the_last_block_and_its_norm():
    "By running all blocks but the last, by hand."
    made = reader()
    cond = made.read(TEXTS, Asked((64, 96)))
    assert cond.seq.shape == (3, 12, 20) and cond.mask is None
    for columns, tower, tokenizer in ((slice(0, 8), made.towers[0], made.tokenizers[0]), (slice(8, 20), made.towers[1], made.tokenizers[1])):
        x = tower.embeddings(tokenizer(TEXTS))
        for block in tower.encoder.layers[:-1]:
            x = block(x, True)
        torch.testing.assert_close(cond.seq[..., columns], x, rtol=0, atol=1e-12)
    torch.testing.assert_close(cond.vec[:, :6], made.towers[1](made.tokenizers[1](TEXTS))[1], rtol=0, atol=1e-12)
    one_less = made.read(TEXTS, Asked((64, 96), skip=1))
    x = made.towers[0].embeddings(made.tokenizers[0](TEXTS))
    torch.testing.assert_close(one_less.seq[..., :8], made.towers[0].encoder.layers[0](x, True), rtol=0, atol=1e-12)


def test_the_numbers_are_height_and_width_twice_around_a_crop():
    told = reader().read(TEXTS, Asked((64, 96))).vec[:, 6:]
    torch.testing.assert_close(told, waves([64, 96, 0, 0, 64, 96]).expand(3, -1), rtol=0, atol=1e-5)
    cropped = reader(had=(32, 40), corner=(5, 7))
    torch.testing.assert_close(cropped.read(TEXTS, Asked((64, 96))).vec[:, 6:], waves([32, 40, 5, 7, 64, 96]).expand(3, -1), rtol=0, atol=1e-5)
    scored = reader(scores=(6.0, 2.5))
    for away, score in ((False, 6.0), (True, 2.5)):
        torch.testing.assert_close(scored.read(TEXTS, Asked((64, 96), away=away)).vec[:, 6:], waves([64, 96, 0, 0, score]).expand(3, -1), rtol=0, atol=1e-5)


def test_an_empty_text_to_stay_away_from_is_zeros_where_the_pipeline_says_so():
    made, plain = reader(), reader(zeros=False)
    away, kept, said = made.read(TEXTS, Asked((64, 64), away=True)), plain.read(TEXTS, Asked((64, 64), away=True)), made.read(TEXTS, Asked((64, 64)))
    assert not away.seq[1].any() and not away.vec[1, :6].any() and away.vec[1, 6:].any()
    for i in (0, 2):
        assert torch.equal(away.seq[i], said.seq[i]) and torch.equal(away.vec[i], said.vec[i])
    assert torch.equal(kept.seq, said.seq) and said.seq[1].any()
    assert torch.equal(made.null(2).seq, torch.zeros(2, 12, 20, dtype=torch.float64))


def test_a_reader_can_be_saved_and_made_again():
    again = build(describe(reader(scores=(6.0, 2.5))))
    assert again.scores == (6.0, 2.5) and again.waves == WAVES and len(again.towers) == 2


def test_which_class_means_what():
    made = reader()
    encoders, tokenizers = dict(zip(('text_encoder', 'text_encoder_2'), made.towers)), dict(zip(('tokenizer', 'tokenizer_2'), made.tokenizers))
    network = {'addition_time_embed_dim': 8, 'freq_shift': 0, 'flip_sin_to_cos': True}
    xl = pipeline_of({'_class_name': 'StableDiffusionXLPipeline'}, 'here').reader(Parts({'requires_aesthetics_score': True}, encoders, tokenizers, network))
    assert isinstance(xl, SizedReader) and xl.waves == WAVES and xl.scores == (6.0, 2.5) and xl.zeros
    old = pipeline_of({}, 'here').reader(Parts({}, {'text_encoder': made.towers[0]}, {'tokenizer': made.tokenizers[0]}, {}))
    assert isinstance(old, TextConditioner) and not old.masked and not old.tells_scale
    assert PIPELINES['StableDiffusionXLImg2ImgPipeline'].scale == 5.0 and PIPELINES['StableDiffusionPipeline'].scale == 7.5
    with pytest.raises(ValueError, match='here, model_index.json describes a KandinskyPipeline; supported here: StableDiffusionPipeline'):
        pipeline_of({'_class_name': 'KandinskyPipeline'}, 'here')


def test_which_folders_an_index_names():
    index = {
        'text_encoder': [None, None],
        'text_encoder_2': ['transformers', 'CLIPTextModel'],
        'tokenizer_2': ['transformers', 'CLIPTokenizer'],
        'tokenizer': 7,
    }
    assert named(index, 'text_encoder') == ['text_encoder_2'] and named(index, 'tokenizer') == ['tokenizer_2']
    assert named({}, 'tokenizer') == ['tokenizer']
