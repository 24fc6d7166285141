"""The prior of unCLIP and what tells its decoder are those of diffusers, in float64.

The sinusoids of the time are in float32 on both sides: published weights were trained with them.
"""

import json

import pytest
import torch
from test_pretrained_parity import CLOSE, randomise

from diffbook.core import Cond
from diffbook.losses import Denoiser, table_index
from diffbook.predictions import predict_x0
from diffbook.pretrained import load_network, save_published
from diffbook.published import prior
from diffbook.samplers import ancestral, clip_x0, sample
from diffbook.schedules import DiscreteSchedule, cosine_betas
from diffbook.unclip import DecoderConditions, PriorTransformer

diffusers = pytest.importorskip('diffusers')
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel  # noqa: E402

SMALL = {'num_attention_heads': 2, 'attention_head_dim': 6, 'num_layers': 2, 'embedding_dim': 10, 'num_embeddings': 7}
TOLD = {'clip_extra_context_tokens': 4, 'clip_embeddings_dim': 10, 'time_embed_dim': 12, 'cross_attention_dim': 6}


def text(b=3, n=7, d=10, seed=0):
    "Vectors, states, and masks of different lengths."
    g = torch.Generator().manual_seed(seed)
    vec, seq = torch.randn(b, d, dtype=torch.float64, generator=g), torch.randn(b, n, d, dtype=torch.float64, generator=g)
    return Cond(vec=vec, seq=seq, mask=torch.arange(n) < torch.tensor([[n], [4], [1]])[:b])


def noisy(b=3, d=10, seed=1):
    return torch.randn(b, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def theirs():
    return randomise(diffusers.PriorTransformer(**SMALL))


def ask(theirs, x, t, cond):
    return theirs(x, t, cond.vec, cond.seq, cond.mask).predicted_image_embedding


@torch.no_grad()
def test_the_prior_answers_as_diffusers_does_and_goes_back(tmp_path, theirs):
    theirs.save_pretrained(tmp_path / 'prior')
    ours, t, cond, x = load_network(tmp_path), torch.tensor([0, 431, 999]), text(), noisy()
    assert isinstance(ours, PriorTransformer) and ours.mean.dtype == torch.float64
    torch.testing.assert_close(ours(x, t.double(), cond), ask(theirs, x, t, cond), **CLOSE)
    torch.testing.assert_close(ours.decode(x), theirs.post_process_latents(x), **CLOSE)
    torch.testing.assert_close(ours.encode(ours.decode(x)), x, **CLOSE)
    save_published(tmp_path / 'back', ours)
    again = diffusers.PriorTransformer.from_pretrained(tmp_path / 'back', torch_dtype=torch.float64)
    torch.testing.assert_close(ask(again, x, t, cond), ask(theirs, x, t, cond), rtol=0, atol=0)


@torch.no_grad()
def test_without_a_mask_ours_still_reads_from_left_to_right(tmp_path, theirs):
    "diffusers drops both masks together: there a prior without a padding mask is another network."
    theirs.save_pretrained(tmp_path)
    ours, t, cond, x = load_network(tmp_path), torch.tensor([5, 6, 7]), text(), noisy()
    whole = Cond(vec=cond.vec, seq=cond.seq, mask=torch.ones_like(cond.mask))
    alone = Cond(vec=cond.vec, seq=cond.seq)
    torch.testing.assert_close(ours(x, t.double(), alone), ask(theirs, x, t, whole), **CLOSE)
    assert (ask(theirs, x, t, alone) - ask(theirs, x, t, whole)).abs().max() > 1e-2


@torch.no_grad()
def test_the_walk_of_the_prior_is_that_of_the_pipeline(tmp_path, theirs):
    "Grid, clip and step of UnCLIPScheduler, with its tables in float64, by our ancestral step with the same noise."
    theirs.save_pretrained(tmp_path)
    scheduler = diffusers.UnCLIPScheduler(prediction_type='sample', clip_sample_range=1.5)
    schedule = DiscreteSchedule(cosine_betas(1000))
    scheduler.betas = schedule.betas
    scheduler.alphas, scheduler.alphas_cumprod, scheduler.one = 1 - schedule.betas, (1 - schedule.betas).cumprod(0), torch.tensor(1.0).double()
    scheduler.set_timesteps(6)
    cond, x, fresh = text(), noisy(), torch.randn(6, 3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    want, rows = x, scheduler.timesteps.tolist()
    assert rows == [round(999 / 5 * i) for i in range(6)][::-1]
    for k, t in enumerate(rows):
        y = ask(theirs, want, torch.tensor([t] * 3), cond)
        last = k + 1 == len(rows)
        mean = scheduler.step(y, t, want, prev_timestep=None if last else rows[k + 1], generator=torch.Generator().manual_seed(0)).prev_sample
        chance = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        std = 0.0 if last else scheduler._get_variance(t, prev_timestep=rows[k + 1])
        want = mean + std * (fresh[k] - chance)
    denoise = clip_x0(Denoiser(load_network(tmp_path), schedule, predict_x0, noise_input=table_index), -1.5, 1.5)
    drawn = iter(fresh)
    times = torch.tensor([*(float(t + 1) for t in rows), 0.0], dtype=torch.float64)
    *_, got = sample(denoise, schedule, x, times, lambda *a, **k: ancestral(*a, **k, noise=lambda x, s: next(drawn)), cond)
    torch.testing.assert_close(got, want, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize('of_picture', [True, False])
def test_what_the_decoder_is_told(tmp_path, of_picture):
    theirs = randomise(UnCLIPTextProjModel(**TOLD))
    theirs.save_pretrained(tmp_path / 'text_proj')
    ours, cond, z = load_network(tmp_path, folder='text_proj'), text(), noisy()
    assert isinstance(ours, DecoderConditions)
    twice = lambda v: torch.cat([v, v])  # noqa: E731
    seq, vec = theirs(image_embeddings=z, prompt_embeds=twice(cond.vec), text_encoder_hidden_states=twice(cond.seq), do_classifier_free_guidance=True)
    half = slice(3, None) if of_picture else slice(0, 3)  # first the picture that is none
    got = ours(z if of_picture else None, cond.vec, cond.seq, cond.mask)
    torch.testing.assert_close(got.vec, vec[half], **CLOSE)
    torch.testing.assert_close(got.seq, seq[half], **CLOSE)
    assert torch.equal(got.mask, torch.nn.functional.pad(cond.mask, (4, 0), value=True))


def test_sizes_of_the_published_prior():
    "On the meta device: names, shapes and the billion of numbers of Karlo's, whose settings are the defaults of the class."
    with torch.device('meta'):
        theirs, ours = diffusers.PriorTransformer(), PriorTransformer(**prior.arguments({}))
        told, own = UnCLIPTextProjModel(time_embed_dim=1536, cross_attention_dim=1536), DecoderConditions(768, 1536, 1536)
    want = {k: v.shape for k, v in theirs.state_dict().items()}
    assert {k: v.shape for k, v in prior.as_published(ours).items()} == want
    assert sum(v.numel() for v in theirs.state_dict().values()) == sum(v.numel() for v in ours.state_dict().values()) > 1e9
    assert sum(p.numel() for p in told.parameters()) == sum(p.numel() for p in own.parameters())


REFUSED = {'additional_embeddings': 3, 'dropout': 0.1, 'norm_in_type': 'layer', 'embedding_proj_norm_type': 'layer', 'encoder_hid_proj_type': None,
           'added_emb_type': None, 'time_embed_dim': 24, 'embedding_proj_dim': 5, 'clip_embed_dim': 5, 'time_embed_act_fn': 'gelu', 'rate': 3}  # fmt: skip


@pytest.mark.parametrize('key', REFUSED)
def test_settings_of_another_build_are_refused_by_name(tmp_path, theirs, key):
    theirs.save_pretrained(tmp_path)
    load_network(tmp_path)
    file = tmp_path / 'config.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: REFUSED[key]}))
    with pytest.raises(ValueError, match=key):
        load_network(tmp_path)


def test_a_prior_with_other_states_has_no_published_layout(tmp_path):
    with pytest.raises(ValueError, match='seq_dim'):
        save_published(tmp_path, PriorTransformer(10, 12, 1, 2, context=7, seq_dim=6))
