"""What comes in wrong is answered by one clear error that names the value and what was expected, and leaves no trace.

Two tables: calls of the library, and command lines. Every case says which words its message must hold.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import resource

import corpus
import pytest
import torch
from helpers import patch_cli
from PIL import Image
from torch import nn

import diffbook.schedules as schedules
from diffbook import cli, stages
from diffbook.conditioning import Conditional, TextConditioner
from diffbook.core import Cond, build, describe, generator, match_dims, noise
from diffbook.data import Dataset, batches, fetch_data, from_model, load_data, read_folder, to_model
from diffbook.elbo import elbo_terms
from diffbook.exact import GaussianMixture, finite_data, reference_mixture
from diffbook.exercise import grade as check_exercise
from diffbook.gaussian import kl_gaussian
from diffbook.ledger import check
from diffbook.losses import Denoiser, diffusion_loss
from diffbook.metrics import compare, features, frechet_distance, precision_recall
from diffbook.nets.clip import TextTower
from diffbook.nets.unet import UNet
from diffbook.plots import montage
from diffbook.predictions import predict_edm, predict_eps, predict_v
from diffbook.published import unet
from diffbook.recognise import caption_agrees, read_caption, read_shapes
from diffbook.samplers import ddim, heun, sample, trailing_times, uniform_times
from diffbook.shapes import draw_shapes, draw_split, scene_split
from diffbook.store.sets import read_idx
from diffbook.text import Tokenizer
from diffbook.training import EMA, Trainer, load, pick_device, save

NAN, INF = math.nan, math.inf
SCHEDULE = schedules.CosineSchedule()
LAW = reference_mixture()


def tiny():
    return UNet(1, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 0), groups=4)


def model():
    return Denoiser(tiny(), SCHEDULE, predict_v)


def text_model():
    tokenizer = Tokenizer([], 8)
    tower = TextTower(tokenizer.vocab_size, 8, 8, 1, 1, hidden=8, end=tokenizer.end)
    net = UNet(1, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 1), groups=4, seq_dim=8)
    return Conditional(Denoiser(net, SCHEDULE, predict_v), TextConditioner(tokenizer, tower))


def trainer(**settings):
    return Trainer(nn.Linear(2, 2), lambda net, x, g: net(x).square().mean(1), device='cpu', **settings)


X = torch.zeros(2, 1, 8, 8)
HALF = torch.tensor(0.5)
POINTS = torch.zeros(3, 1, dtype=torch.float64)

# name: (call, words of its message)
LIBRARY = {
    # core
    'time of two axes': (lambda: match_dims(torch.zeros(2, 1), X), r't has shape \(2, 1\), expected \(\) or \(2,\)'),
    'time of another batch': (lambda: match_dims(torch.zeros(3), X), r't has shape \(3,\), expected'),
    'seed that is a float': (lambda: noise(0.5, 'x', 0, [0], (2,)), 'seed is 0.5, expected an integer'),
    'seed that is a bool': (lambda: generator(True, 'x'), 'seed is True, expected an integer'),
    'unknown type': (lambda: build({'type': 'os.system'}), "type is 'os.system', expected one of"),
    'unknown argument': (lambda: build({'type': 'ShiftedSchedule', 'shfit': 2}), "ShiftedSchedule has no argument 'shfit', expected"),
    'missing argument': (lambda: build({'type': 'ShiftedSchedule', 'shift': 2.0}), "ShiftedSchedule lacks the argument 'base'"),
    'unregistered object': (lambda: describe(nn.Linear(1, 1)), 'Linear is not registered, .* put @register above'),
    'lambda in a model': (lambda: describe(Denoiser(tiny(), SCHEDULE, lambda s, t: predict_v(s, t))), 'lambda.* is not registered'),
    # ledger, exercise
    'equation id': (lambda: check('gaussian', 1, 1), "id is 'gaussian', expected 'eq-'"),
    'unknown exercise': (lambda: check_exercise('99-1', abs), "no graded exercise '99-1'; graded are"),
    # gaussian, exact
    'variance of zero': (lambda: kl_gaussian(0, 0.0, 0, 1), 'holds 0, expected positive numbers'),
    'variance below zero': (lambda: kl_gaussian(0, 1, 0, -1.0), 'holds -1, expected positive numbers'),
    'weights that do not sum to one': (lambda: GaussianMixture([0.3, 0.3], [[0.0], [1.0]], [[[1.0]], [[1.0]]]), r'weights are \[0.3, 0.3\], expected .* sum 1'),
    'means of another number': (lambda: GaussianMixture([1.0], [[0.0], [1.0]], [[[1.0]]]), r'means has shape \(2, 1\), expected \(1, d\)'),
    'covariance below zero': (lambda: GaussianMixture([1.0], [[0.0]], [[[-1.0]]]), 'eigenvalue -1, expected none below zero'),
    'infinite mean': (lambda: GaussianMixture([1.0], [[INF]], [[[1.0]]]), 'must be finite'),
    'points of another dimension': (lambda: LAW.log_prob(torch.zeros(4, 2)), r'x has shape \(4, 2\), expected \(b, 1\)'),
    'minus five samples': (lambda: LAW.sample(-5), 'n is -5, expected a positive'),
    'flow of many dimensions': (
        lambda: GaussianMixture([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [torch.eye(2).tolist()] * 2).flow(SCHEDULE, torch.zeros(1, 2), 1.0, 0.5),
        'no closed form; use one component or one dimension',
    ),
    'no points': (lambda: finite_data(torch.zeros(0, 2), SCHEDULE), r'points has shape \(0, 2\), expected .* n >= 1'),
    'points with nan': (lambda: finite_data(torch.tensor([[NAN]]), SCHEDULE), 'expected .* finite'),
    # schedules
    'time after the end': (lambda: SCHEDULE.alpha(1.5), r't is 1.5, expected a time in \[0, 1\]'),
    'time before the start': (lambda: SCHEDULE.sigma(torch.tensor([0.5, -0.1])), r't is -0.1, expected a time in \[0, 1\]'),
    'time that is nan': (lambda: SCHEDULE.alpha(NAN), 't is nan, expected a time'),
    'time of a table': (lambda: schedules.DiscreteSchedule(schedules.linear_betas(10)).alpha(11), r't is 11, expected a time in \[0, 10\]'),
    'no betas': (lambda: schedules.DiscreteSchedule([]), r'betas has shape \(0,\), expected \(T,\) with T >= 1'),
    'beta of zero': (lambda: schedules.DiscreteSchedule([0.1, 0.0]), r'betas holds 0, expected values in \(0, 1\]'),
    'beta of two': (lambda: schedules.DiscreteSchedule([0.1, 2.0]), r'betas holds 2, expected values in \(0, 1\]'),
    'beta of nan': (lambda: schedules.DiscreteSchedule([0.1, NAN]), 'betas holds nan, expected values'),
    'table of no steps': (lambda: schedules.linear_betas(0), 'T is 0, expected a positive whole number'),
    'shift of zero': (lambda: schedules.ShiftedSchedule(SCHEDULE, 0.0), 'shift is 0.0, expected a positive number'),
    'noise of another shape': (lambda: SCHEDULE.perturb(X, torch.zeros(2, 1, 8, 7), HALF), r'eps has shape \(2, 1, 8, 7\), expected that of x0, \(2, 1, 8, 8\)'),
    'images in bytes': (lambda: SCHEDULE.perturb(X.byte(), X.byte(), HALF), 'x0 is torch.uint8, expected floating point'),
    # elbo, predictions, losses
    'bound without a table': (lambda: elbo_terms(LAW.denoise(SCHEDULE), SCHEDULE, POINTS), 'schedule is a CosineSchedule, expected a DiscreteSchedule'),
    'sigma_data of zero': (lambda: predict_edm(0.0), 'sigma_data is 0.0, expected a positive number'),
    'noise where no signal is left': (lambda: Denoiser(tiny(), SCHEDULE, predict_eps), 'at .*t.* predict_v'),
    'times of another batch': (lambda: diffusion_loss(model(), X, torch.zeros(3), X), r't has shape \(3,\), expected \(2,\)'),
    'one time for all': (lambda: diffusion_loss(model(), X, HALF, X), r't has shape \(\), expected \(2,\)'),
    # nets
    'image of odd size': (lambda: tiny()(torch.zeros(1, 1, 7, 8), torch.zeros(1)), r'x has shape \(1, 1, 7, 8\), expected .* multiples of 2'),
    'image of three channels': (lambda: tiny()(torch.zeros(1, 3, 8, 8), torch.zeros(1)), r'x has shape \(1, 3, 8, 8\), expected \(b, 1, h, w\)'),
    'noise level of two axes': (lambda: tiny()(X, torch.zeros(2, 1)), r'noise_level has shape \(2, 1\), expected \(2,\)'),
    'condition nobody asked for': (lambda: tiny()(X, torch.zeros(2), Cond(vec=torch.zeros(2, 4))), 'cond holds vec, expected'),
    'heads that do not divide': (lambda: UNet(1, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 3), groups=4), 'heads=.*3 heads cannot share 16'),
    'levels that do not agree': (lambda: UNet(1, channels=(8, 16), blocks=(1,), heads=(0, 0, 0)), r'blocks=\(1,\).* expected as many'),
    'channels of no group': (lambda: UNet(1, channels=(10, 16), groups=8), r'channels=\(10, 16\)'),
    'unknown published key': (lambda: unet.arguments({'colour': 3}), "unknown key 'colour'"),
    'published activation': (lambda: unet.arguments({'act_fn': 'relu'}), "act_fn is 'relu', expected 'silu'"),
    # samplers
    'no sampling steps': (lambda: uniform_times(SCHEDULE, 0), 'n is 0, expected a positive whole number'),
    'half a step': (lambda: uniform_times(SCHEDULE, 2.5), 'n is 2.5, expected a positive whole number'),
    'more steps than whole times': (lambda: trailing_times(SCHEDULE, 5), 'n is 5, expected at most 1'),
    'times that rise': (lambda: list(sample(LAW.denoise(SCHEDULE), SCHEDULE, POINTS, torch.tensor([0.1, 0.5]))), 'expected at least two strictly falling times'),
    'times out of range': (lambda: list(sample(LAW.denoise(SCHEDULE), SCHEDULE, POINTS, torch.tensor([1.2, 0.5]))), 't is 1.2, expected a time'),
    'one time': (lambda: list(sample(LAW.denoise(SCHEDULE), SCHEDULE, POINTS, torch.tensor([0.5]))), r'times has shape \(1,\), expected'),
    'start of nan': (lambda: list(sample(LAW.denoise(SCHEDULE), SCHEDULE, POINTS * NAN, uniform_times(SCHEDULE, 2), heun)), 'x holds values that are not finite'),
    'eta of two': (lambda: ddim(SCHEDULE, LAW.denoise(SCHEDULE), POINTS, HALF, HALF / 2, eta=2.0), 'eta is 2.0, expected a number from 0 to 1'),
    # data
    'empty data set': (lambda: Dataset(torch.zeros(0, 1, 8, 8, dtype=torch.uint8)), 'is empty'),
    'images of floats': (lambda: Dataset(torch.zeros(2, 1, 8, 8)), 'images are torch.float32 .* expected uint8'),
    'labels of another number': (lambda: Dataset(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(3)), '2 images and 3 labels'),
    'floats to the model': (lambda: to_model(X), 'images are torch.float32, expected uint8'),
    'nan from the model': (lambda: from_model(X * NAN), 'not finite'),
    'no batch': (lambda: batches(torch.zeros(4, 1), 0), 'batch_size is 0'),
    'batches of nothing': (lambda: batches(torch.zeros(0, 1), 4), 'batches need examples'),
    'no shapes': (lambda: draw_shapes(0), 'n is 0'),
    'shapes of four pixels': (lambda: draw_shapes(1, 4), 'size 4'),
    'four objects': (lambda: draw_shapes(1, objects=(4,)), r'objects is \(4,\), expected some of'),
    'grey shapes': (lambda: read_shapes(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)), r'shape \(1, 1, 8, 8\), expected uint8 \(n, 3, h, h\)'),
    'captions for another number': (lambda: caption_agrees(['a circle'], torch.zeros(2, 13)), '1 captions and 2 images'),
    'labels of twelve columns': (lambda: caption_agrees('a circle', torch.zeros(2, 12)), r'shape \(2, 12\), expected \(n, 13\)'),
    'one scene without its axis': (lambda: scene_split(torch.zeros(13)), r'shape \(13,\), expected \(n, 13\)'),
    'unknown word': (lambda: read_caption('a huge red circle'), "'huge', expected size .small"),
    'four things in a caption': (lambda: read_caption('a ring and a ring and a ring and a ring'), '4 objects, expected at most 3'),
    'unknown part': (lambda: draw_split(3, split='test'), "split is 'test'.*expected one of train, new scenes, new kinds"),
    'brief share of two': (lambda: draw_split(3, brief=2.0), 'brief 2.0, expected .* a share from 0 to 1'),
    'emoji of 48 pixels': (lambda: load_data('emoji', size=48), 'size is 48, expected 64, 32, 16 or 8'),
    'unknown data': (lambda: load_data('imagenet'), "data set is 'imagenet', expected shapes, fashion-mnist"),
    'unknown split': (lambda: load_data('shapes', 'validation'), "split is 'validation', expected 'train' or 'test'"),
    'unknown fetch': (lambda: fetch_data('imagenet'), "data set is 'imagenet', expected one of"),
    # metrics, plots
    'features of two channels': (lambda: features(torch.zeros(1, 2, 28, 28, dtype=torch.uint8), model=judge()), r'\(1, 2, 28, 28\), expected \(n, 1, h, w\)'),
    'distance of one point': (lambda: frechet_distance(torch.zeros(1, 4), torch.zeros(5, 4)), r'x has shape \(1, 4\), expected .* n of at least 2'),
    'distance of nan': (lambda: frechet_distance(torch.zeros(5, 4), torch.full((5, 4), NAN)), 'y .* finite'),
    'no neighbours': (lambda: precision_recall(torch.zeros(5, 2), torch.zeros(5, 2), k=0), 'k is 0, expected a positive whole number'),
    'too few real images': (lambda: compare(torch.zeros(5, 1, 28, 28), torch.zeros(4, 1, 28, 28), torch.zeros(9, 1, 28, 28), judge()), '5 samples need .* got 4 and 9'),
    'picture of two channels': (lambda: montage(torch.zeros(1, 2, 4, 4)), r'x has shape \(1, 2, 4, 4\), expected'),
    # training
    'rate of zero': (lambda: trainer(lr=0.0), 'lr is 0.0, expected a positive number'),
    'rate of nan': (lambda: trainer(lr=NAN), 'lr is nan, expected a positive number'),
    'warm-up below zero': (lambda: trainer(warmup=-1), 'warmup is -1, expected a whole number, at least 0'),
    'no updates': (lambda: trainer(total=0), 'total is 0, expected a positive whole number'),
    'decay of one': (lambda: trainer(ema=1.0), r'ema is 1.0, expected a number in \[0, 1\)'),
    'decay of two': (lambda: EMA(nn.Linear(1, 1), 2.0), 'decay is 2.0'),
    'clip of zero': (lambda: trainer(clip=0.0), 'clip is 0.0, expected a positive number'),
    'three betas': (lambda: trainer(betas=(0.9, 0.9, 0.9)), r'betas is \[0.9, 0.9, 0.9\], expected two numbers'),
    'seed of text': (lambda: trainer(seed='x'), "seed is 'x', expected an integer"),
    'looking every 0': (lambda: trainer(check_every=0), 'check_every is 0, expected 1'),
    'unknown device': (lambda: pick_device('tpu'), "device is 'tpu', expected one that is here: .*cpu"),
    'nothing to train': (lambda: Trainer(nn.ReLU(), lambda *a: None), 'ReLU has no parameter to train'),
    'saving every 0': (lambda: trainer().fit([], every=0), 'every is 0, expected a positive whole number'),
    'loss of a matrix': (lambda: Trainer(nn.Linear(2, 2), lambda net, x, g: net(x), device='cpu').update(torch.zeros(3, 2)), r'shape \(3, 2\), expected shape \(\) or \(b,\)'),
    'loss without a gradient': (lambda: Trainer(nn.Linear(2, 2), lambda net, x, g: 1.0, device='cpu').update(torch.zeros(3, 2)), 'the loss gave 1.0, expected'),
    'infinite data': (lambda: trainer().update(torch.full((3, 2), INF)), 'update 1 is not finite: batch holds inf in 6 of 6'),
}  # fmt: skip


def judge():
    from diffbook.metrics import Classifier

    return Classifier()


CORPUS = corpus.CONFIGS | corpus.CHECKPOINTS | corpus.IMAGES | corpus.CAPTIONS | corpus.ARCHIVES | corpus.PATHS
ERRORS = (ValueError, FileNotFoundError, FloatingPointError)


@pytest.mark.parametrize('name', LIBRARY)
def test_library(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = LIBRARY[name]
    with pytest.raises(ERRORS, match=words):
        call()
    assert not list(tmp_path.iterdir())


# Folders and files


def edit_config(folder, change):
    path = folder / 'config.json'
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def cut(folder, share):
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flip(folder):
    path = folder / 'model.safetensors'
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)


def foreign(folder):
    from safetensors.torch import save_file

    save_file({'w': torch.zeros(2)}, folder / 'model.safetensors')


def pickled(folder):
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')


FOLDERS = {  # what happens to a published model, words of the message
    'half of the weights': (lambda f: cut(f, 0.5), 'model.safetensors is damaged or cut short'),
    'seven bytes': (lambda f: (f / 'model.safetensors').write_bytes(b'1234567'), 'model.safetensors is damaged'),
    'no bytes': (lambda f: (f / 'model.safetensors').write_bytes(b''), 'model.safetensors is damaged'),
    'header of a terabyte': (lambda f: (f / 'model.safetensors').write_bytes((1 << 40).to_bytes(8, 'little') + b'{}'), 'model.safetensors is damaged'),
    'a flipped bit': (flip, 'model.safetensors is damaged'),
    'weights of another program': (foreign, 'was not written by diffbook'),
    'a pickle instead': (pickled, 'no model.safetensors; pytorch_model.bin is a pickle'),
    'config that is no JSON': (lambda f: (f / 'config.json').write_text('{'), 'config.json is not JSON'),
    'config that is a list': (lambda f: (f / 'config.json').write_text('[]'), 'config.json holds list, expected an object'),
    'unknown key': (lambda f: edit_config(f, lambda c: c.update(extra=1)), "unknown key 'extra', expected"),
    'unknown key of the net': (lambda f: edit_config(f, lambda c: c['model']['net'].update(deep=3)), "UNet has no argument 'deep', expected"),
    'unknown type': (lambda f: edit_config(f, lambda c: c['model'].update(type='Transformer')), "type is 'Transformer', expected one of"),
    'type that is code': (lambda f: edit_config(f, lambda c: c['model'].update(type='__import__')), "type is '__import__', expected one of"),
    'model that is nothing': (lambda f: edit_config(f, lambda c: c.pop('model')), 'model is None, expected'),
    'missing argument': (lambda f: edit_config(f, lambda c: c['model'].pop('schedule')), "Denoiser lacks the argument 'schedule'"),
    'another width': (lambda f: edit_config(f, lambda c: c['model']['net'].update(channels=[16, 16])), 'does not fit the model; .*misshapen: '),
    'another depth': (lambda f: edit_config(f, lambda c: c['model']['net'].update(blocks=[2, 1])), 'does not fit the model; missing: .*'),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / 'model', model(), {'shape': [1, 8, 8], 'data': 'none'})
    return tmp_path / 'model'


def digest(root):
    "Names and bytes of everything below `root`, folders too."
    total = hashlib.sha256()
    for path in sorted(root.rglob('*')):
        total.update(f'{path.relative_to(root)}\n'.encode() + (path.read_bytes() if path.is_file() else b''))
    return total.hexdigest()


@pytest.mark.parametrize('name', FOLDERS)
def test_model_folder(name, folder, capsys):
    "The library and the command line refuse the folder, and the picture is not written."
    damage, words = FOLDERS[name]
    damage(folder)
    before = digest(folder.parent)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load(folder)
    answer = refused(capsys, 'sample', str(folder), '--n', '1', '--out', str(folder.parent / 'x.png'))
    assert re.search(words, answer) and digest(folder.parent) == before


DATA_FILES = {  # how a file comes about, how it is read, words of the message
    'idx of another kind': (lambda f: zipped(f, b'\x00\x00\x08\x02' + bytes(16)), lambda f: read_idx(f, 3), 'begins with 00000802, expected 00000803'),
    'idx that is cut': (lambda f: zipped(f, b'\x00\x00\x08\x01\x00\x00\x00\x09ab'), lambda f: read_idx(f, 1), 'holds 2 bytes of data, its header says 9'),
    'idx that is no gzip': (lambda f: f.write_bytes(b'hello hello'), lambda f: read_idx(f, 1), 'is damaged'),
    'image that is none': (lambda f: f.with_suffix('.png').write_bytes(b'no image'), lambda f: read_folder(f.parent), 'could not be read as PNG'),
    'folder without images': (lambda f: None, lambda f: read_folder(f.parent), 'holds no picture that can be read: no .png'),
    'folder that is not there': (lambda f: None, lambda f: read_folder(f.parent / 'no'), 'is not a folder'),
    'data that is not there': (lambda f: None, lambda f: load_data('mnist', root=f.parent), 'mnist is not complete: .* Fetch it with: diffbook data mnist'),
    'data that is empty': (
        lambda f: [zipped(path, bytes([0, 0, 8, k]) + bytes(4 * k)) for k, path in mnist(f.parent)], lambda f: load_data('mnist', root=f.parent), 'is empty'),
}  # fmt: skip


def zipped(path, data):
    import gzip

    path.write_bytes(gzip.compress(data))


def mnist(root):
    (root / 'MNIST' / 'raw').mkdir(parents=True)
    return [(k, root / 'MNIST' / 'raw' / f'train-{name}-idx{k}-ubyte.gz') for k, name in ((1, 'labels'), (3, 'images'))]


@pytest.mark.parametrize('name', DATA_FILES)
def test_data_file(name, tmp_path):
    write, read, words = DATA_FILES[name]
    write(tmp_path / 'file')
    before = digest(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        read(tmp_path / 'file')
    assert digest(tmp_path) == before


# The command line


def refused(capsys, *argv):
    "Run a command that must be refused: exit code 2, one line on stderr, no traceback. The line comes back."
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(list(argv))
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith('diffbook: ')]
    assert stop.value.code == 2, said
    assert len(lines) == 1 and 'Traceback' not in said.err + said.out, said
    return lines[0]


TRAIN = ('train', '--data', 'shapes', '--out', 'run', '--size', '8', '--width', '8')
SAMPLE = ('sample', 'MODEL', '--out', 'x.png', '--n', '1')
COMMANDS = {  # command line, words of the message
    'no such command': (('paint',), "No such command 'paint'"),
    'no such option': ((*TRAIN, '--speed', '9'), 'No such option.*--speed'),
    'no data': (('train', '--out', 'run'), "Missing option '--data'"),
    'no out': (('train', '--data', 'shapes'), "Missing option '--out'"),
    'data nobody knows': (('train', '--data', 'imagenet', '--out', 'run'), "data set is 'imagenet', expected shapes"),
    'emoji of another size': (('train', '--data', 'emoji', '--size', '48', '--out', 'run'), 'size is 48, expected 64, 32, 16 or 8'),
    'emoji that are not here': (('train', '--data', 'emoji', '--out', 'run', '--data-root', 'nowhere'), 'emoji is not complete.*diffbook data emoji'),
    'data that is not there': (('train', '--data', 'mnist', '--out', 'run', '--data-root', 'nowhere'), 'mnist is not complete.*nowhere.*diffbook data mnist'),
    'data folder without images': (('train', '--data', 'empty', '--out', 'run'), 'empty holds no picture that can be read: no .png'),
    'out that is a file': (('train', '--data', 'shapes', '--out', 'file'), '--out is file, which is a file; expected a folder'),
    'zero steps': ((*TRAIN, '--steps', '0'), '--steps is 0, expected at least 1'),
    'minus one step': ((*TRAIN, '--steps', '-1'), '--steps is -1, expected at least 1'),
    'steps in words': ((*TRAIN, '--steps', 'many'), "'--steps'.*integer.*'many'"),
    'zero minutes': ((*TRAIN, '--minutes', '0'), '--minutes is 0.0, expected a positive number'),
    'minutes of nan': ((*TRAIN, '--minutes', 'nan'), '--minutes is nan, expected a positive number'),
    'both steps and minutes': ((*TRAIN, '--steps', '5', '--minutes', '1'), 'both --steps and --minutes'),
    'empty batches': ((*TRAIN, '--batch-size', '0'), '--batch-size is 0, expected at least 1'),
    'rate below zero': ((*TRAIN, '--lr', '-1'), 'lr is -1.0, expected a positive number'),
    'decay above one': ((*TRAIN, '--ema', '1.5'), r'ema is 1.5, expected a number in \[0, 1\)'),
    'width of nine': (('train', '--data', 'shapes', '--out', 'run', '--size', '8', '--width', '9'), '--width is 9, expected a multiple of 8'),
    'size of two': (('train', '--data', 'shapes', '--out', 'run', '--size', '2'), '--size is 2, expected at least 8'),
    'size of a set that has one': (('train', '--data', 'mnist', '--out', 'run', '--size', '9'), '--size is 9, and mnist has one size'),
    'saving every 0': ((*TRAIN, '--save-every', '0'), '--save-every is 0, expected at least 1'),
    'device that is not there': ((*TRAIN, '--device', 'tpu'), "device is 'tpu', expected one that is here"),
    'seed of text': ((*TRAIN, '--seed', 'x'), "'--seed'.*'x'"),
    'model nobody knows': (('sample', 'nobody', '--out', 'x.png'), "no model 'nobody'; expected a folder"),
    'model that is a pickle': (('sample', 'model.ckpt', '--out', 'x.png'), 'model.ckpt is a pickle'),
    'model folder that is empty': (('sample', 'empty', '--out', 'x.png'), 'empty holds no model.safetensors'),
    'no images': (('sample', 'MODEL', '--n', '0', '--out', 'x.png'), '--n is 0, expected at least 1'),
    'no sampling steps': ((*SAMPLE, '--steps', '0'), '--steps is 0, expected at least 1'),
    'unknown solver': ((*SAMPLE, '--solver', 'magic'), "--solver is 'magic', expected one of ddim"),
    'prompt': ((*SAMPLE, '--prompt', 'a cat'), "--prompt is 'a cat', and .* reads no text; .*--text"),
    'negative prompt': ((*SAMPLE, '--negative', 'a cat'), "--negative is 'a cat', and .* reads no text"),
    'guidance': ((*SAMPLE, '--guidance', '3'), '--guidance is 3.0, and .* reads no text'),
    'guidance of nan': (('sample', 'READER', '--prompt', 'a', '--guidance', 'nan', '--out', 'x.png'), '--guidance is nan, expected a finite number'),
    'mask without a picture': ((*SAMPLE, '--mask', 'mask.png'), '--mask is mask.png, and there is no picture.*--image'),
    'strength without a picture': ((*SAMPLE, '--strength', '0.5'), '--strength is 0.5, and there is no picture'),
    'strength of zero': ((*SAMPLE, '--image', 'photo.png', '--strength', '0'), r'--strength is 0.0, expected a number over 0, up to 1'),
    'strength of two': ((*SAMPLE, '--image', 'photo.png', '--strength', '2'), '--strength is 2.0, expected'),
    'mask of another size': ((*SAMPLE, '--image', 'photo.png', '--mask', 'mask.png'), '--mask mask.png has 9 x 7 pixels, expected 8 x 8 as --image photo.png'),
    'mask that leaves nothing': ((*SAMPLE, '--image', 'photo.png', '--mask', 'photo.png'), 'photo.png is black all over'),
    'picture that is not there': ((*SAMPLE, '--image', 'nowhere.png'), 'nowhere.png could not be read'),
    'picture that is a note': ((*SAMPLE, '--image', 'file'), 'file could not be read as PNG, JPEG'),
    'captions that are not there': (('train', '--data', 'photos', '--text', '--out', 'run'), 'there are no captions: expected a text file beside each image, such as photos'),
    'guided garments': (('evaluate', 'MODEL', '--data', 'mnist', '--guidance', '2'), '--guidance is 2.0, and .* reads no text'),
    'picture that is a text': (('sample', 'MODEL', '--out', 'x.txt'), '--out is x.txt, expected a file that ends in .png'),
    'picture of no known kind': (('sample', 'MODEL', '--out', 'x.bmp'), '--out is x.bmp, expected a file'),
    'picture below a file': (('sample', 'MODEL', '--n', '1', '--steps', '1', '--out', 'file/x.png'), 'file.*(exists|directory)'),
    'size the net cannot draw': ((*SAMPLE, '--size', '7'), r'x has shape \(1, 1, 7, 7\), expected'),
    'evaluation of five': (('evaluate', 'MODEL', '--data', 'mnist', '--n', '5'), '--n is 5, expected at least 10'),
    'evaluation on nothing': (('evaluate', 'MODEL', '--data', 'imagenet'), "data set is 'imagenet'"),
    'evaluation in colour': (('evaluate', 'MODEL', '--data', 'shapes'), r'draws images of shape \(1, 8, 8\), expected \(3, 32, 32\) as in shapes'),
    'unknown set': (('data', 'imagenet'), "data set is 'imagenet', expected shapes"),
    'download of everything': (('data', '--download'), '--download needs the name'),
    'doctor of another device': (('doctor', '--device', 'tpu'), "device is 'tpu'"),
    'conversion of nothing': (('convert', 'nowhere.pt', 'x.safetensors'), 'nowhere.pt is not there'),
    'conversion of a picture': (('convert', 'photo.png', 'x.safetensors'), 'photo.png is no old checkpoint, expected one of .pt'),
    'conversion to a pickle': (('convert', 'old.ckpt', 'x.pt'), 'the output is x.pt, expected a file that ends in .safetensors'),
    'conversion into no folder': (('convert', 'old.ckpt', 'nowhere/x.safetensors'), 'nowhere is not there; expected the folder of x.safetensors'),
    'a billion images': ((*SAMPLE[:-1], '1000000000'), '--n is 1000000000, expected at most 1,048,576'),
    'pictures of a gigapixel': ((*SAMPLE, '--size', '40000'), '--size is 40000, expected at most 10,000'),
    'zoom of a thousand': ((*SAMPLE, '--zoom', '1000'), '--zoom is 1000, expected at most 64'),
    'no columns': ((*SAMPLE, '--columns', '0'), '--columns is 0, expected at least 1'),
}  # fmt: skip


@pytest.mark.parametrize('name', COMMANDS)
def test_command(name, folder, monkeypatch, capsys):
    root = folder.parent
    monkeypatch.chdir(root)
    monkeypatch.delenv('DIFFBOOK_DATA', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(root / 'cache'))
    (root / 'empty').mkdir()
    (root / 'file').write_text('here')
    (root / 'old.ckpt').write_text('here')
    Image.new('L', (8, 8)).save(root / 'photo.png')
    Image.new('L', (9, 7), 255).save(root / 'mask.png')
    (root / 'photos').mkdir()
    Image.new('L', (8, 8)).save(root / 'photos' / 'a.png')
    argv, words = COMMANDS[name]
    if 'READER' in argv:
        save(root / 'reader', text_model(), {'data': 'letters', 'shape': [1, 8, 8]})
    before = digest(root)
    answer = refused(capsys, *[{'MODEL': str(folder), 'READER': 'reader'}.get(a, a) for a in argv])
    assert re.search(words, answer), answer
    assert digest(root) == before, 'something was left behind'


@contextlib.contextmanager
def full_disk():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only_disk():
    "What the system says of a disk that is mounted read-only; permissions do not stop root."
    real = {'open': open, 'mkdir': os.mkdir, 'os.open': os.open}

    def no(path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr('builtins.open', lambda path, mode='r', *a, **k: no(path) if set(mode) & set('wax+') else real['open'](path, mode, *a, **k))
        patches.setattr('io.open', lambda path, mode='r', *a, **k: no(path) if set(mode) & set('wax+') else real['open'](path, mode, *a, **k))
        patches.setattr(os, 'mkdir', lambda path, *a, **k: no(path))
        yield


@contextlib.contextmanager
def no_network():
    "What the system says where there is no network."

    def no(*args, **more):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr('socket.getaddrinfo', no)
        patches.setattr('socket.create_connection', no)
        patches.setattr('time.sleep', lambda seconds: None)
        yield


DISKS = {'full': (full_disk, 'File too large|No space'), 'read-only': (read_only_disk, 'Read-only file system')}
EVALUATE = ('evaluate', 'READER', '--data', 'shapes', '--n', '10', '--steps', '1', '--out', 'numbers.json')
RESUME = (*TRAIN, '--steps', '9', '--batch-size', '2', '--resume')
SURROUNDINGS = {  # where, what is asked for, words of the message
    f'{disk} disk, {" ".join(argv[:3])}{" " + more[0] if more else ""}': (place, (*argv, *more), words)
    for disk, (place, words) in DISKS.items()
    for argv, more in (
        ((*TRAIN, '--steps', '2', '--batch-size', '2'), ()), ((*TRAIN, '--steps', '2', '--batch-size', '2'), ('--save-every', '1')), (RESUME, ()), ((*SAMPLE, '--steps', '1'), ()), (EVALUATE, ()),
        ((*SAMPLE, '--steps', '1'), ('--columns', '2')),
    )
} | {
    f'no network, {name}': (no_network, ('data', name, '--download', '--data-root', 'root'), f'of {name} could not be fetched|could not be fetched: .*goes on from here') for name in ('fashion-mnist', 'mnist', 'cifar10', 'emoji')
} | {
    'a full disk, download': (full_disk, ('data', 'mnist', '--download', '--data-root', 'root'), 'could not be fetched'),
    'a read-only disk, download': (read_only_disk, ('data', 'mnist', '--download', '--data-root', 'root'), 'Read-only|could not be fetched'),
    'a folder that is a file': (contextlib.nullcontext, ('data', 'mnist', '--download', '--data-root', 'file'), 'file.*(Not a directory|exists)'),
    'data in a file': (contextlib.nullcontext, ('train', '--data', 'mnist', '--data-root', 'file', '--out', 'run'), 'mnist is not complete'),
    'emoji in a file': (contextlib.nullcontext, ('train', '--data', 'emoji', '--data-root', 'file', '--out', 'run'), 'emoji is not complete'),
    'a read-only disk, conversion': (read_only_disk, ('convert', 'old.ckpt', 'x.safetensors'), 'old.ckpt could not be converted'),
}  # fmt: skip


@pytest.mark.parametrize('name', SURROUNDINGS)
def test_surroundings(name, folder, monkeypatch, capsys):
    "A disk that takes nothing, no network: one line that says so, and the folder as it was."
    root = folder.parent
    monkeypatch.chdir(root)
    monkeypatch.setenv('TQDM_DISABLE', '1')
    real = cli.app.load_images
    patch_cli(monkeypatch, 'load_images', lambda name, *a: draw_shapes(4, 8) if name == 'shapes' else real(name, *a))
    (root / 'file').write_text('here')
    (root / 'old.ckpt').write_bytes(b'\x80\x02N.')
    context, argv, words = SURROUNDINGS[name]
    if 'READER' in argv:
        save(root / 'reader', text_model(), {'data': 'letters', 'shape': [1, 8, 8]})
        patch_cli(monkeypatch, 'count_captions', lambda *a: {})
    if '--resume' in argv:
        with pytest.raises(SystemExit):
            cli.main([*TRAIN, '--steps', '9', '--batch-size', '2'])
        (root / 'run' / 'checkpoints' / '.writer').unlink(missing_ok=True)
    before = {p: p.read_bytes() for p in root.rglob('*') if p.is_file()}
    with context():
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main([{'MODEL': str(folder), 'READER': 'reader'}.get(a, a) for a in argv])
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith('diffbook: ')]
    assert stop.value.code == 2 and len(lines) == 1 and re.search(words, lines[0]) and 'Traceback' not in said, said
    assert {p: p.read_bytes() for p in root.rglob('*') if p.is_file() and p.name != '.writer'} == before


@pytest.mark.parametrize('disk', DISKS)
def test_disk_keeps_what_was_published(disk, folder):
    before = digest(folder)
    context, words = DISKS[disk]
    with context(), pytest.raises(OSError, match=words):
        save(folder, model())
    assert digest(folder) == before


def test_weights_that_are_not_finite_are_not_published(folder):
    broken, before = model(), digest(folder)
    broken.net.norm.weight.data[0] = NAN
    with pytest.raises(ValueError, match='net.norm.weight holds a number that is not finite'):
        save(folder, broken)
    assert digest(folder) == before


def test_a_broken_model_draws_nothing(folder, capsys, monkeypatch):
    monkeypatch.setattr(stages, 'sample', lambda model, schedule, x, times, solver, cond: iter([x * NAN]))
    before = digest(folder.parent)
    assert '1 of 1 samples are not finite' in refused(capsys, 'sample', str(folder), '--n', '1', '--out', str(folder.parent / 'x.png'))
    assert digest(folder.parent) == before


def test_debug_shows_where(folder, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(['sample', 'nobody', '--out', 'x.png', '--debug'])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and 'Traceback' in said and said.splitlines()[-1].startswith('diffbook: there is no model')


def test_an_unexpected_error_is_one_line_too(capsys, monkeypatch):
    patch_cli(monkeypatch, 'open_model', lambda *a, **k: 1 / 0)
    assert 'division by zero' in refused(capsys, 'sample', 'x', '--out', 'x.png')


# The corpus


@pytest.mark.parametrize('name', CORPUS)
def test_case(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TQDM_DISABLE', '1')
    assert corpus.fault(CORPUS[name], tmp_path) == ''


def test_there_are_enough_cases():
    "What is promised: 500 command lines, of each kind so many; calls of the library and paths come on top."
    least = {'CONFIGS': 150, 'CHECKPOINTS': 100, 'IMAGES': 80, 'CAPTIONS': 50, 'ARCHIVES': 40, 'PATHS': 60}
    for kind, n in least.items():
        assert len(getattr(corpus, kind)) >= n, kind
    assert len(COMMANDS) >= 60 and len(SURROUNDINGS) >= 20
    assert len(LIBRARY) + len(FOLDERS) + len(DATA_FILES) >= 100 and len(CORPUS) == sum(len(getattr(corpus, kind)) for kind in least)
