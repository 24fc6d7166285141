"""Recipes: all that makes a model of the zoo, by name; and the draw of times behind them."""

import math
from dataclasses import replace

import pytest
import torch

from diffbook.cli.models import open_model
from diffbook.cli.train import METHOD_NAMES, RECIPE_NAMES
from diffbook.conditioning import Conditional
from diffbook.core import describe, generator
from diffbook.data import Dataset, to_model
from diffbook.demo import BATCH, STEPS
from diffbook.losses import Denoiser
from diffbook.predictions import predict_velocity
from diffbook.recipes import METHODS, RECIPES, by_method, captioned, middling, plain, recipe, single_shapes
from diffbook.schedules import CosineSchedule, KarrasSchedule, RectifiedFlowSchedule, ShiftedSchedule
from diffbook.training import load, read_model, save

LIKE = {  # recipe -> model of the zoo, and pictures that stand for its data: what is made depends on their shape alone
    'fashion-mnist': ('fashion-mnist', (1, 28, 28)),
    'fashion-mnist-fine': ('fashion-mnist-fine', (1, 28, 28)),
    'shapes': ('shapes', (3, 32, 32)),
    'emoji-latent': ('emoji', (3, 64, 64)),
}


def pictures(shape, n=4):
    return Dataset((255 * torch.rand(n, *shape, generator=generator(0, 'pictures'))).to(torch.uint8), captions=('a red ring',) * n, name='shapes')


@pytest.mark.parametrize('name', LIKE)
def test_a_recipe_makes_what_the_zoo_holds(name):
    "Network, schedule, prediction and reader, by the configuration that the model of the zoo was saved with."
    of, shape = LIKE[name]
    made, about = recipe(name), read_model(of)[0]['about']
    if made.reader is not None:  # the towers of the zoo are stored with its models
        stored = load(of)
        made = replace(made, reader=lambda found: stored.conditioner)
    model = made.model(pictures(shape))
    assert describe(model) == describe(load(of)) and model.state_dict().keys() == load(of).state_dict().keys()
    assert sum(p.numel() for p in model.parameters()) == about['parameters'] and made.codec == about.get('codec')
    assert list(made.shape or shape) == about['shape'] and made.batch == about['batch']


@pytest.mark.parametrize('make', [plain, captioned])
@pytest.mark.parametrize('side', [16, 64])
def test_what_the_command_line_makes_fits_the_pictures(make, side):
    found = pictures((3, side, side))
    made = make(16)
    model = made.model(found)
    assert isinstance(model, Conditional if make is captioned else Denoiser)
    loss = made.loss(model, made.examples(found, model), generator(1, 'loss'))
    assert loss.shape == (4,) and torch.isfinite(loss).all()
    net = (model.denoiser if make is captioned else model).net
    assert len(list(describe(net)['channels'])) == (3 if side > 48 else 2)


def test_the_garments_have_the_numbers_of_their_record():
    made, about = recipe('fashion-mnist'), read_model('fashion-mnist')[0]['about']
    assert (made.steps, made.lr, made.ema, made.steps * made.batch) == (about['steps'], about['rate'], about['ema'], about['images'])


def test_first_weights_are_a_function_of_the_seed_and_leave_the_global_stream_alone():
    found, made = pictures((1, 8, 8)), plain(8)
    before = torch.random.get_rng_state()
    first, again, other = (made.model(found, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(v, again[k]) for k, v in first.items()) and any(not torch.equal(v, other[k]) for k, v in first.items())


def test_a_trainer_follows_its_recipe_and_what_is_changed():
    made = replace(plain(8), lr=3e-4, steps=77, ema=0.9, weight_decay=0.2, warmup=5)
    settings = made.trainer(made.model(pictures((1, 8, 8))), seed=4, device='cpu').settings
    assert {k: settings[k] for k in ('lr', 'total', 'ema', 'weight_decay', 'warmup')} == {'lr': 3e-4, 'total': 77, 'ema': 0.9, 'weight_decay': 0.2, 'warmup': 5}
    assert made.trainer(made.model(pictures((1, 8, 8))), device='cpu', lr=1e-2).settings['lr'] == 1e-2


def watched(made, found):
    "A model of a recipe, its loss on all that was found, and what its network was given and answered."
    model, seen = made.model(found), []
    denoiser = getattr(model, 'denoiser', model)
    denoiser.net.register_forward_pre_hook(lambda net, given: seen.append(given[:2]))
    denoiser.net.register_forward_hook(lambda net, given, out: seen.append(out))
    loss = made.loss(model, made.examples(found, model), generator(1, 'loss'))
    return model, loss, seen


@pytest.mark.parametrize('make', [plain, captioned])
def test_the_method_flow_regresses_noise_minus_data_on_straight_paths(make):
    "By hand: mix along the line, ask for the difference, no weight; half of the times lie within one normal quartile of the middle."
    found, before = pictures((3, 8, 8)), make(8)
    made = by_method('flow', before)
    assert by_method(None, before) is before and replace(before, schedule=made.schedule, prediction=predict_velocity, draw=made.draw, weight=None) == made
    model, loss, seen = watched(made, found)
    (x, level), y = seen[0], seen[1]
    x0, t = to_model(found.images), (level / 1000)[:, None, None, None]
    assert torch.allclose(loss, (y - (x - x0) / t).square().flatten(1).mean(1), rtol=1e-3)  # eps - x0 = (x_t - x0) / t
    t = made.draw(made.schedule, 2**14, generator(2, 'draw'))
    assert abs((torch.logit(t).abs() < torch.special.ndtri(torch.tensor(0.75))).double().mean() - 0.5) < 5 * 0.5 / 2**7  # one in 1.7 million at chance


@pytest.mark.parametrize('make', [plain, captioned])
def test_the_method_edm_asks_for_the_target_of_the_paper(make):
    "By hand, in the letters of the paper: D = c_skip x + c_out F(c_in x; c_noise), weighted by lambda, at levels that are log-normal around the spread."
    found, before = pictures((3, 8, 8)), make(8)
    made = by_method('edm', before).fitted(found)
    model, loss, seen = watched(made, found)
    (given, c_noise), F = seen[0], seen[1]
    x0 = to_model(found.images)
    sigma, spread = torch.exp(4 * c_noise)[:, None, None, None], x0.square().mean().sqrt()
    x = given * torch.sqrt(sigma**2 + spread**2)
    D = spread**2 / (sigma**2 + spread**2) * x + sigma * spread / torch.sqrt(sigma**2 + spread**2) * F
    weight = (sigma**2 + spread**2) / (sigma * spread) ** 2
    assert torch.allclose(loss, (weight * (D - x0) ** 2).flatten(1).mean(1), rtol=2e-2)  # the recipe rounds the spread
    t = made.draw(made.schedule, 2**14, generator(2, 'draw'))
    assert abs((t < spread * torch.exp(torch.tensor(-1.2)) / 0.5).double().mean() - 0.5) < 5 * 0.5 / 2**7  # one in 1.7 million at chance
    assert describe(by_method('edm', before).model(found)) == describe(model), 'who forgets to fit it gets the same model'


def test_latents_have_unit_variance_for_edm():
    assert by_method('edm', recipe('emoji-latent')).fitted(pictures((3, 8, 8))).prediction.sigma_data == 1.0


def test_the_method_flow_keeps_a_shift():
    made = by_method('flow', recipe('emoji-64'))
    assert isinstance(made.schedule, ShiftedSchedule) and made.schedule.shift == recipe('emoji-64').schedule.shift
    assert isinstance(made.schedule.base, RectifiedFlowSchedule)
    t = torch.linspace(0.05, 0.95, 9, dtype=torch.float64)
    slower, line = made.prediction(made.schedule, t), RectifiedFlowSchedule()
    assert torch.allclose(made.weight(made.schedule, t) * slower[1] ** 2, torch.ones(9, dtype=torch.float64))  # eps - x0 counts as it is
    assert torch.allclose(made.schedule.log_snr(t), line.log_snr(line.time_at(line.log_snr(t) - 2 * math.log(made.schedule.shift))))


@pytest.mark.parametrize(('method', 'kind', 'solver'), [('consistency', 'Denoiser', 'renoise'), ('meanflow', 'FlowMap', 'jump')])
def test_models_of_few_steps_train_are_saved_and_draw_in_one_and_four(method, kind, solver, tmp_path):
    found, made = pictures((1, 8, 8)), by_method(method, plain(8))
    model = made.model(found)
    trainer = made.trainer(model, device='cpu', bf16=False)
    losses = [step.loss.item() for step in trainer.fit(made.examples(found, model) for _ in range(3))]
    assert type(model).__name__ == kind and all(math.isfinite(v) and v > 0 for v in losses)
    save(tmp_path / 'model', trainer.ema.model, about={'shape': [1, 8, 8]})
    opened = open_model(str(tmp_path / 'model'), 'cpu', solver=solver)
    drawn = [opened.stage.draw(3, steps=n, seed=1) for n in (1, 4)]
    assert all(x.shape == (3, 1, 8, 8) and torch.isfinite(x).all() for x in drawn) and not torch.equal(*drawn)
    if kind == 'FlowMap':
        with pytest.raises(ValueError, match='--solver is ddim, and .* holds a FlowMap; jump'):
            open_model(str(tmp_path / 'model'), 'cpu')


def test_models_of_few_steps_read_no_captions():
    for method in ('consistency', 'meanflow'):
        with pytest.raises(ValueError, match='has no way to drop captions'):
            by_method(method, captioned(8))


def test_the_demo_says_what_its_recipe_does():
    assert (STEPS, BATCH) == (recipe('demo').steps, recipe('demo').batch)


@pytest.mark.parametrize('centre', [-0.4, 0.6])
def test_middling_times_are_one_fifth_even_and_else_logit_normal(centre):
    "By the cumulative distribution in closed form; one draw in each of b slices leaves at most 1 / b between the two."
    schedule, b = CosineSchedule(), 4096
    t = middling(schedule, b, generator(0, 'middling'), centre).sort().values
    cdf = 0.2 * t + 0.8 * torch.special.ndtr(torch.logit(t) - centre)
    drawn = (torch.arange(b, dtype=torch.float64) + 0.5) / b
    assert (cdf - drawn).abs().max() < 3 / b  # two strata, each cut at slices of its own
    wide = KarrasSchedule(80.0)
    assert torch.allclose(middling(wide, b, generator(0, 'middling'), centre).sort().values, t * wide.t_max)


def test_single_shapes_are_windows_around_their_object():
    found = single_shapes(64, 16, seed=3)
    assert found.images.shape == (64, 3, 16, 16)
    assert torch.equal(single_shapes(8, 16, seed=3, start=8).images, found.images[8:16])
    ground = found.images[:, :, 0, 0][:, :, None, None]
    assert ((found.images != ground).any(1).flatten(1).double().mean(1) > 0.05).all()  # something stands before the ground


@pytest.mark.parametrize(('call', 'words'), [
    (lambda: recipe('nobody'), "recipe is 'nobody', expected one of fashion-mnist"),
    (lambda: recipe('shapes', rate=1), 'a recipe has no rate; its fields are net, schedule'),
    (lambda: plain(12), '--width is 12, expected a multiple of 8'),
    (lambda: by_method('magic', plain(8)), '--method is magic, expected one of flow, edm, consistency, meanflow'),
])  # fmt: skip
def test_a_recipe_that_cannot_be(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_names_of_recipes_are_fields_of_one_table():
    assert set(RECIPE_NAMES) == RECIPES.keys() and set(METHOD_NAMES) == METHODS.keys(), 'what --help lists'
    assert {'fashion-mnist', 'shapes', 'emoji-latent', 'demo'} <= RECIPES.keys()
    assert recipe('shapes', steps=3) == replace(RECIPES['shapes'], steps=3)
