"""Low-rank adapters against their definition, a new word against what may not move, the prior against the mixture that it is."""

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from diffbook.adapters import add_lora, add_word, attach, layers, load_lora, merge_lora, prior_loss, save_lora, scale_lora, unmerge_lora
from diffbook.conditioning import Conditional, TextConditioner, conditional_loss
from diffbook.core import Cond
from diffbook.losses import Denoiser
from diffbook.nets.clip import TextTower
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.schedules import CosineSchedule
from diffbook.text import Tokenizer, train_merges
from diffbook.training import Trainer


def shake(model, std=0.2, seed=0):
    "Give every parameter, those that start at zero too, a random number."
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(std * torch.randn(p.shape, generator=g, dtype=torch.float64))
    return model


def small():
    net = UNet(3, channels=(8, 16), blocks=(1, 1), heads=(0, 2, 2), groups=4, cond_dim=6, seq_dim=5).double()
    g = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=g, dtype=torch.float64)  # noqa: E731
    return shake(net), (draw(2, 3, 8, 8), torch.tensor([100.0, 600.0]), Cond(vec=draw(2, 6), seq=draw(2, 4, 5)))


def reader():
    tokenizer = Tokenizer(train_merges(['a red circle', 'a blue square'], 12), 9)
    tower = TextTower(tokenizer.vocab_size, 9, 8, 2, 2, hidden=16)
    return TextConditioner(tokenizer, shake(tower.double(), 0.3), pooled=True)


def plain():
    return nn.ModuleDict(
        {'line': nn.Linear(5, 4), 'grid': nn.Conv2d(5, 4, 3, stride=2, padding=1, padding_mode='circular'), 'deep': nn.Sequential(nn.Linear(4, 4, bias=False))}
    )


def told(model, name='lora', seed=3):
    "Give the second matrices numbers, so that adapters say something."
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers(model).values():
            if name in getattr(layer, 'lora', {}):
                layer.lora[name].up.copy_(0.3 * torch.randn(layer.lora[name].up.shape, generator=g, dtype=torch.float64))
    return model


def test_it_starts_as_nothing_and_only_the_second_matrix_learns():
    net, given = small()
    before = net(*given)
    found = add_lora(net, 3, 5.0)
    torch.testing.assert_close(net(*given), before, rtol=0, atol=1e-13)
    net(*given).square().sum().backward()
    for adapter in found.values():
        assert adapter.down.grad.count_nonzero() == 0 and adapter.down.count_nonzero() == adapter.down.numel()
    assert sum(a.up.grad.abs().sum() > 0 for a in found.values()) >= len(found) - 1  # all but what softmax does not hear
    assert all(p.grad is None for name, p in net.named_parameters() if '.lora.' not in name)
    assert {p for p in net.parameters() if p.requires_grad} == {p for a in found.values() for p in a.parameters()}


@pytest.mark.parametrize('rank, alpha', [(1, None), (3, 6.0), (7, 2.0)])
def test_the_answer_is_the_definition(rank, alpha):
    model = plain().double()
    add_lora(model, rank, alpha)
    told(model)
    gain = 1.0 if alpha is None else alpha / rank
    x, line = torch.randn(6, 5, dtype=torch.float64), model['line']
    change = gain * line.lora['lora'].up @ line.lora['lora'].down
    torch.testing.assert_close(line(x), F.linear(x, line.weight + change, line.bias), rtol=0, atol=1e-12)
    x, grid = torch.randn(2, 5, 6, 6, dtype=torch.float64), model['grid']
    kernel = gain * torch.einsum('or,rihw->oihw', grid.lora['lora'].up, grid.lora['lora'].down)
    torch.testing.assert_close(grid(x), grid._conv_forward(x, grid.weight + kernel, grid.bias), rtol=0, atol=1e-12)


def test_merged_is_unmerged_and_back():
    net, given = small()
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    add_lora(net, 3, 5.0)
    add_lora(net, 2, name='second', seed=1)
    told(net), told(net, 'second', 4)
    scale_lora(net, second=-0.4)
    before = net(*given)
    kept = merge_lora(net)
    assert net.state_dict().keys() == weights.keys()
    torch.testing.assert_close(net(*given), before, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match='has no adapter'):
        merge_lora(net)
    unmerge_lora(net, kept)
    torch.testing.assert_close(net(*given), before, rtol=0, atol=0)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in weights.items())


def test_in_16_bits_weights_come_back_to_the_last_bit():
    model = plain().bfloat16()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = add_lora(model, 2)
    assert all(p.dtype == torch.float32 for a in found.values() for p in a.parameters())
    told(model)
    kept = merge_lora(model)
    exact = before['line.weight'].double() + found['line'].product().double()
    assert torch.equal(model['line'].weight, exact.bfloat16())  # rounded once
    unmerge_lora(model, kept)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())


def test_several_speak_at_once_each_with_its_scale():
    net, given = small()
    plain_answer = net(*given)
    add_lora(net, 2, name='a', where=lambda k: k == 'stem')
    add_lora(net, 2, name='b', seed=5, where=lambda k: k == 'stem')
    told(net, 'a', 1), told(net, 'b', 2)
    stem, w = net.stem, net.stem.weight.clone()
    scale_lora(net, a=0.5, b=-2.0)
    both = net(*given)
    raw = {k: torch.einsum('or,rihw->oihw', a.up, a.down) for k, a in stem.lora.items()}
    merged = w + 0.5 * raw['a'] - 2.0 * raw['b']
    kept = merge_lora(net)
    torch.testing.assert_close(net.stem.weight, merged, rtol=0, atol=1e-13)
    torch.testing.assert_close(net(*given), both, rtol=0, atol=1e-12)
    unmerge_lora(net, kept)
    scale_lora(net, a=0, b=0)
    torch.testing.assert_close(net(*given), plain_answer, rtol=0, atol=0)
    with pytest.raises(ValueError, match="no adapter named 'c'"):
        scale_lora(net, a=1.0, c=1.0)
    assert net.stem.lora['a'].scale == 0


def test_where_and_names_and_what_does_not_fit():
    net, _ = small()
    found = add_lora(net, 2, where=lambda name: '.cross.' in name)
    assert found and all('.cross.' in k for k in found)
    with pytest.raises(ValueError, match='one that .* does not have'):
        add_lora(net, 2, where=lambda name: '.cross.' in name)
    with pytest.raises(ValueError, match='no layer is chosen'):
        add_lora(net, 2, name='b', where=lambda name: False)
    with pytest.raises(ValueError, match='rank'):
        add_lora(net, 0, name='b')
    with pytest.raises(ValueError, match='does not fit'):
        attach(net, 'b', {'stem': next(iter(found.values()))})
    assert all('b' not in getattr(m, 'lora', {}) for m in layers(net).values())


def test_first_numbers_are_a_function_of_seed_and_layer():
    "Standard deviation 1 / sqrt(3 fan-in), the same whichever other layers are chosen; a false alarm once in 1e6 (five standard errors of 8 x 72 numbers)."
    (a, _), (b, _) = small(), small()
    one, two = add_lora(a, 8), add_lora(b, 8, where=lambda k: k == 'stem')
    assert torch.equal(one['stem'].down, two['stem'].down)
    d = one['mid.0.res.conv1'].down
    assert abs(d.square().mean().item() * d[0].numel() * 3 - 1) < 5 * (4 / 5 / d.numel()) ** 0.5


def test_saved_and_loaded_it_says_the_same(tmp_path):
    net, given = small()
    add_lora(net, 3, 6.0)
    told(net)
    before = net(*given)
    save_lora(net, tmp_path / 'mine.safetensors', about={'base': 'small'})
    fresh, _ = small()
    changed = load_lora(fresh, tmp_path / 'mine.safetensors')
    assert set(changed) == set(layers(fresh))
    torch.testing.assert_close(fresh(*given), before, rtol=0, atol=0)
    assert not any(p.requires_grad for k, p in fresh.named_parameters() if '.lora.' in k)
    half, _ = small()
    load_lora(half, tmp_path / 'mine.safetensors', 0.5)
    assert merge_lora(half) and merge_lora(fresh)
    start, _ = small()
    for key, w in start.state_dict().items():
        torch.testing.assert_close(half.state_dict()[key] - w, (fresh.state_dict()[key] - w) / 2, rtol=0, atol=1e-13)


def test_without_alpha_the_gain_is_one(tmp_path):
    model, g = plain(), torch.Generator().manual_seed(0)
    down, up = torch.randn(4, 5, generator=g), torch.randn(4, 4, generator=g)
    for file, more, gain in (('a', {}, 1.0), ('b', {'line.alpha': torch.tensor(8.0)}, 2.0)):
        save_file({'line.lora_A.weight': down, 'line.lora_B.weight': up, **more}, tmp_path / f'{file}.safetensors')
        load_lora(model, tmp_path / f'{file}.safetensors', name=file)
        torch.testing.assert_close(model['line'].lora[file].product(), gain * up @ down)


@pytest.mark.parametrize(
    'said, gain',
    [({'lora_alpha': 6, 'r': 4}, 1.5), ({'lora_alpha': 6, 'r': 4, 'use_rslora': True}, 3.0), ({'lora_alpha': 6, 'alpha_pattern': {'line': 2}}, 0.5)],
)
def test_a_folder_of_peft_says_alpha_beside(said, gain, tmp_path):
    import json

    model = plain()
    down, up = torch.randn(4, 5), torch.randn(4, 4)
    save_file({'base_model.model.line.lora_A.weight': down, 'base_model.model.line.lora_B.weight': up}, tmp_path / 'adapter_model.safetensors')
    (tmp_path / 'adapter_config.json').write_text(json.dumps(said))
    load_lora(model, tmp_path)
    torch.testing.assert_close(model['line'].lora['lora'].product(), gain * up @ down)


@pytest.mark.parametrize(
    'tensors, words',
    [
        ({'line.hada_w1_a': (4, 2)}, 'hada_w1_a.*LoHa'),
        ({'line.lokr_w1': (4, 2)}, 'LoKr'),
        ({'line.lora_A.weight': (2, 5), 'line.lora_B.weight': (4, 2), 'line.dora_scale': (4, 1)}, 'dora_scale.*DoRA'),
        ({'line.lora_A.weight': (2, 5)}, "'line' has down alone"),
        ({'nowhere.lora_A.weight': (2, 5), 'nowhere.lora_B.weight': (4, 2)}, "'nowhere' is no layer of this model"),
        ({'line.lora_A.weight': (2, 6), 'line.lora_B.weight': (4, 2)}, r"'line' has down \(2, 6\) .* a weight \(4, 5\)"),
        ({'line.lora_A.weight': (2, 5), 'line.lora_B.weight': (4, 3)}, r'up \(4, 3\)'),
        ({'line.lora_A.weight': (2, 5), 'line.lora_B.weight': (4, 2), 'line.weight': (4, 5)}, "'line.weight' is no name of a LoRA"),
        ({'line.lora_A.weight': (2, 5), 'line.lora_B.weight': (4, 2), 'line.lora_B.bias': (4,)}, 'a changed bias'),
    ],
)
def test_what_cannot_be_applied_is_refused_by_name_and_nothing_is_changed(tensors, words, tmp_path):
    model = plain()
    save_file({k: torch.zeros(shape) for k, shape in tensors.items()}, tmp_path / 'x.safetensors')
    with pytest.raises(ValueError, match=words):
        load_lora(model, tmp_path / 'x.safetensors')
    assert not any(hasattr(m, 'lora') for m in layers(model).values())


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match='no .safetensors file'):
        load_lora(plain(), tmp_path / 'lora.pt')
    save_file({'line.lora_A.weight': torch.full((2, 5), math.nan), 'line.lora_B.weight': torch.zeros(4, 2)}, tmp_path / 'x.safetensors')
    with pytest.raises(ValueError, match='line, down.*nan'):
        load_lora(plain(), tmp_path / 'x.safetensors')
    model = plain()
    add_lora(model, 2)['line'].up.data.fill_(math.inf)
    with pytest.raises(ValueError, match='line.lora_B.weight holds a number that is not finite'):
        save_lora(model, tmp_path / 'y.safetensors')
    with pytest.raises(ValueError, match='ends in .safetensors'):
        save_lora(model, tmp_path / 'y.bin')


def test_stored_in_half_precision_alpha_stays_exact(tmp_path):
    model = plain()
    add_lora(model, 3, 1000.1)
    save_lora(model, tmp_path / 'x.safetensors', dtype=torch.float16)
    found = load_file(tmp_path / 'x.safetensors')
    assert found['line.lora_A.weight'].dtype == torch.float16 and found['line.alpha'] == torch.tensor(1000.1)


def test_training_moves_the_adapter_and_nothing_else():
    net, (x, t, cond) = small()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    add_lora(net, 2)
    loss = lambda m, batch, g: (m(batch, t, cond) - 1).square().mean()  # noqa: E731
    trainer = Trainer(net, loss, lr=0.05, warmup=0, weight_decay=0.5, device='cpu')
    first, *_, last = trainer.fit([x] * 30)
    assert last.loss < 0.5 * first.loss
    assert all(torch.equal(net.state_dict()[k], v) and torch.equal(trainer.ema.model.state_dict()[k], v) for k, v in before.items())


# A new word


def test_a_new_word_is_one_token_that_starts_with_a_known_meaning():
    r = reader()
    old, (before,) = r(['a red circle']), r.tokenizer(['a red circle'])
    row = add_word(r, '<toy>', 'circle')
    assert torch.equal(r.tokenizer(['a red circle'])[0], before)
    tokens = r.tokenizer(['a red <toy>'])[0]
    assert (tokens == r.tokenizer.vocab_size - 1).sum() == 1 and len(r.tower.embeddings.token_embedding.weight) == r.tokenizer.vocab_size
    new = r(['a red circle'])
    assert torch.equal(new.seq, old.seq) and torch.equal(new.vec, old.vec)  # the end is where it was
    if len(r.tokenizer.encode('circle')) == 1:
        torch.testing.assert_close(r(['a red <toy>']).seq, new.seq, rtol=0, atol=0)
    assert [p for p in r.parameters() if p.requires_grad] == [row]


def test_the_end_of_a_text_is_found_though_a_new_token_is_larger():
    "OpenAI's tower looks for its largest token: a new word would be taken for the end."
    r = reader()
    assert r.tower.end is None
    add_word(r, '<toy>', 'circle')
    tokens = r.tokenizer(['<toy> is red'])
    assert r.tower.end_of(tokens) == tokens[0].tolist().index(r.tokenizer.end)


def test_weight_decay_leaves_all_other_rows_alone():
    r = reader()
    add_word(r, '<toy>', 'circle')
    before = {k: v.clone() for k, v in r.state_dict().items()}
    loss = lambda m, batch, g: (m(batch).vec - 1).square().mean()  # noqa: E731
    first, *_, last = Trainer(r, loss, lr=0.05, warmup=0, weight_decay=0.5, device='cpu').fit([['a red <toy>', 'a <toy>']] * 20)
    assert last.loss < first.loss
    moved = [k for k, v in r.state_dict().items() if not torch.equal(v, before[k])]
    assert moved == ['tower.embeddings.token_embedding.new']


def test_a_word_is_refused_that_is_none():
    r = reader()
    with pytest.raises(ValueError, match='one token already'):
        add_word(r, 'a', 'red')
    add_word(r, '<toy>', 'red')
    with pytest.raises(ValueError, match='another word was added before'):
        add_word(r, '<other>', 'red')


# What is to be kept


def test_the_two_terms_are_one_loss_of_a_mixture():
    r = reader()
    net = UNet(3, channels=(8,), blocks=(1,), heads=(0, 2), groups=4, cond_dim=8, seq_dim=8).double()
    model = Conditional(Denoiser(shake(net), CosineSchedule(), predict_v), r)
    g = lambda: torch.Generator().manual_seed(3)  # noqa: E731
    new, old = (torch.randn(4, 3, 8, 8).double(), ['a red circle'] * 4), (torch.randn(4, 3, 8, 8).double(), ['a blue square'] * 4)
    one = g()
    parts = [conditional_loss(model, part, one).mean() for part in (new, old)]
    torch.testing.assert_close(prior_loss(model, (new, old), g(), 0.25), parts[0] + 0.25 * parts[1])
    torch.testing.assert_close(prior_loss(model, (new, old), g(), 0.0), parts[0])
