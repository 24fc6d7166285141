"""One class, two libraries: the same weights give the same numbers in transformers' CLIP and in ours, in float64."""

import gzip
import hashlib
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.data import data_root
from diffbook.nets.clip import CLIP, ImageTower, TextTower, info_nce
from diffbook.pretrained import load_clip, load_text_encoder
from diffbook.published.clip import arguments

transformers = pytest.importorskip('transformers')

CLOSE = {'rtol': 0, 'atol': 1e-9}
STATES = data_root() / 'model-configs' / 'state_dicts'
PUBLISHED = {  # text tower -> (its config.json in short, number of tensors, digest of the published names and shapes)
    'runwayml__stable-diffusion-v1-5__text_encoder': (dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, hidden_act='quick_gelu', eos_token_id=2), 196, 'f97717c05095cb6cf552cbf8d3a76260'),
    'stabilityai__stable-diffusion-2-1__text_encoder': (dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16, hidden_act='gelu', eos_token_id=2), 372, 'bfe9025be65f75486b8b3883a83072cb'),
    'stabilityai__stable-diffusion-xl-base-1.0__text_encoder_2': (dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, hidden_act='gelu', eos_token_id=2, projection_dim=1280), 517, '199df66256cb0c747e0f42cb90599ce8'),
}  # fmt: skip


def randomise(model):
    "Weights that let every part speak: none is zero, no norm is the identity."
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3 if p.ndim < 2 else p[0].numel() ** -0.5)
    return model.double().eval()


@st.composite
def towers(draw, kind):
    heads = draw(st.integers(1, 4))
    width = heads * draw(st.sampled_from([2, 4, 8]))
    shared = {
        'hidden_size': width,
        'num_attention_heads': heads,
        'num_hidden_layers': draw(st.integers(1, 3)),
        'intermediate_size': draw(st.sampled_from([4, 4 * width, 3 * width + 1])),
        'hidden_act': draw(st.sampled_from(['quick_gelu', 'gelu'])),
        'layer_norm_eps': draw(st.sampled_from([1e-5, 1e-3])),
    }
    if kind == 'text':
        own = {
            'vocab_size': 40,
            'max_position_embeddings': draw(st.integers(4, 9)),
            'eos_token_id': draw(st.sampled_from([2, 39, 17])),
        }
        return shared | own | {'bos_token_id': 0, 'pad_token_id': 1}
    patch = draw(st.integers(1, 4))
    return shared | {
        'patch_size': patch,
        'image_size': patch * draw(st.integers(1, 4)),
        'num_channels': draw(st.integers(1, 3)),
    }


def texts(config, n=5, seed=0):
    "Random tokens, an end token somewhere, anything after it."
    g = torch.Generator().manual_seed(seed)
    length = config['max_position_embeddings']
    tokens = torch.randint(3, 39, (n, length), generator=g)
    end = 39 if config['eos_token_id'] == 2 else config['eos_token_id']
    tokens[torch.arange(n), torch.randint(length, (n,), generator=g)] = end
    return tokens


@settings(max_examples=25, deadline=None, derandomize=True)
@given(towers('text'), towers('image'), st.integers(1, 12), st.integers(0, 1000))
def test_clip_equals_transformers(text, image, dim, seed):
    torch.manual_seed(seed)
    config = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=dim)
    theirs = randomise(transformers.CLIPModel(config))
    ours = CLIP(TextTower(**arguments(text, 'text')), ImageTower(**arguments(image, 'vision')), dim).double().eval()
    ours.load_state_dict(theirs.state_dict())
    tokens, size = texts(text, seed=seed), image['image_size']
    images = torch.randn(5, image['num_channels'], size, size, dtype=torch.float64)
    with torch.no_grad():
        want = theirs(input_ids=tokens, pixel_values=images, return_loss=True)
        image_vectors, text_vectors = ours(images, tokens)
        torch.testing.assert_close(image_vectors, want.image_embeds, **CLOSE)
        torch.testing.assert_close(text_vectors, want.text_embeds, **CLOSE)
        torch.testing.assert_close(info_nce(image_vectors, text_vectors, ours.logit_scale), want.loss, **CLOSE)
        torch.testing.assert_close(ours.text_model(tokens)[0], want.text_model_output.last_hidden_state, **CLOSE)
        torch.testing.assert_close(ours.vision_model(images)[0], want.vision_model_output.last_hidden_state, **CLOSE)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(towers('text'), st.sampled_from([None, 3, 8]), st.integers(0, 1000))
def test_text_tower_equals_transformers(config, dim, seed):
    "Also every layer below the last, as clip-skip and Stable Diffusion XL read them."
    torch.manual_seed(seed)
    kind = transformers.CLIPTextModelWithProjection if dim else transformers.CLIPTextModel
    theirs = randomise(kind(transformers.CLIPTextConfig(**config, projection_dim=dim or 512)))
    ours = TextTower(**arguments(config, 'text'), dim=dim).double().eval()
    ours.load_state_dict({k.removeprefix('text_model.'): v for k, v in theirs.state_dict().items()})
    tokens = texts(config, seed=seed)
    with torch.no_grad():
        want = theirs(input_ids=tokens, output_hidden_states=True)
        states, pooled = ours(tokens)
        torch.testing.assert_close(states, want.last_hidden_state, **CLOSE)
        torch.testing.assert_close(pooled, want.text_embeds if dim else want.pooler_output, **CLOSE)
        for skip in range(1, config['num_hidden_layers'] + 1):
            torch.testing.assert_close(ours(tokens, skip=skip, norm=False)[0], want.hidden_states[-1 - skip], **CLOSE)
            below = ours.final_layer_norm(want.hidden_states[-1 - skip])
            torch.testing.assert_close(ours(tokens, skip=skip)[0], below, **CLOSE)


def vit_l_14():
    "OpenAI's largest first model: a configuration for both libraries."
    text = {
        'hidden_size': 768,
        'intermediate_size': 3072,
        'num_hidden_layers': 12,
        'num_attention_heads': 12,
        'eos_token_id': 2,
    }
    image = {
        'hidden_size': 1024,
        'intermediate_size': 4096,
        'num_hidden_layers': 24,
        'num_attention_heads': 16,
        'image_size': 224,
        'patch_size': 14,
    }
    return text, image


def test_openai_vit_l_14_by_name_and_shape():
    text, image = vit_l_14()
    with torch.device('meta'):
        theirs = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=768))
        ours = CLIP(TextTower(**arguments(text, 'text')), ImageTower(**arguments(image, 'vision')), 768)
        plain = CLIP(TextTower(), ImageTower())
    want = {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == want
    assert {k: tuple(v.shape) for k, v in plain.state_dict().items()} == want  # what our defaults are
    assert len(want) == 590 and sum(p.numel() for p in ours.parameters()) == 427_616_513  # as published


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_text_towers_by_name_and_shape(name):
    "The digest is of the published file's own table; where the table itself is at hand, it is compared too."
    config, number, digest = PUBLISHED[name]
    dim = config.get('projection_dim')
    with torch.device('meta'):
        tower = TextTower(**arguments(config, 'text'), dim=dim)
    ours = {('' if k.startswith('text_projection') else 'text_model.') + k: list(v.shape) for k, v in tower.state_dict().items()}
    assert len(ours) == number
    assert hashlib.sha256(json.dumps(sorted(ours.items())).encode()).hexdigest()[:32] == digest
    if (path := STATES / f'{name}.json.gz').exists():
        table = json.loads(gzip.decompress(path.read_bytes()))
        assert {k: v for k, v in table.items() if not k.endswith('position_ids')} == ours


def saved(tmp_path, kind, config):
    model = randomise(kind(config))
    model.save_pretrained(tmp_path)
    return model


@torch.no_grad()
def test_folders_that_transformers_writes_are_read(tmp_path):
    torch.manual_seed(0)
    text = {
        'hidden_size': 8,
        'intermediate_size': 20,
        'num_hidden_layers': 2,
        'num_attention_heads': 2,
        'vocab_size': 40,
        'max_position_embeddings': 6,
        'eos_token_id': 39,
        'bos_token_id': 0,
    }
    image = {
        'hidden_size': 12,
        'intermediate_size': 24,
        'num_hidden_layers': 2,
        'num_attention_heads': 3,
        'image_size': 8,
        'patch_size': 4,
    }
    both = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=5)
    tokens, images = texts(text), torch.randn(5, 3, 8, 8, dtype=torch.float64)
    theirs = saved(tmp_path / 'clip', transformers.CLIPModel, both)
    ours, want = load_clip(tmp_path / 'clip', torch.float64), theirs(input_ids=tokens, pixel_values=images)
    torch.testing.assert_close(ours(images, tokens)[0], want.image_embeds, **CLOSE)
    torch.testing.assert_close(ours(images, tokens)[1], want.text_embeds, **CLOSE)
    alone = load_text_encoder(tmp_path / 'clip', torch.float64)
    torch.testing.assert_close(alone(tokens)[1], theirs.text_model(tokens).pooler_output, **CLOSE)
    for name, kind in (('text', transformers.CLIPTextModel), ('projected', transformers.CLIPTextModelWithProjection)):
        theirs = saved(tmp_path / name / 'text_encoder', kind, transformers.CLIPTextConfig(**text, projection_dim=5))
        tower = load_text_encoder(tmp_path / name, torch.float64)
        want = theirs(input_ids=tokens)
        torch.testing.assert_close(tower(tokens)[0], want.last_hidden_state, **CLOSE)
        torch.testing.assert_close(tower(tokens)[1], want.text_embeds if name == 'projected' else want.pooler_output, **CLOSE)
