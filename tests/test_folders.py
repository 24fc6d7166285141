"""Where published parts lie: which of several files is taken, here and from a stand-in for the Hub, and what is refused by name."""

import fnmatch
import io
import json
import shutil
import sys
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_pretrained import LOADERS, filled, parts, small_unet

import diffbook.published as published
from diffbook.nets.clip import CLIP, ImageTower, TextTower
from diffbook.nets.vae import AutoencoderKL
from diffbook.pretrained import (
    load_clip,
    load_schedule,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    load_vae,
    save_pipeline,
    save_published,
)
from diffbook.published import original
from diffbook.published.families import FAMILIES, SHAPES
from diffbook.published.folders import DIFFUSERS, KINDS
from diffbook.published.foreign import ENDINGS

LOADS = LOADERS | {'clip': load_clip}
WEIGHTS = {'unet': (DIFFUSERS, load_unet), 'vae': (DIFFUSERS, load_vae), 'text_encoder': ('model', load_text_encoder), 'clip': ('model', load_clip)}


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp('model')
    save_pipeline(folder, **parts())
    clip = filled(CLIP(TextTower(20, 7, 8, 2, 2, hidden=32, end=19), ImageTower(6, 3, 12, 2, 3, hidden=48), 5))
    text = {
        'hidden_size': 8,
        'intermediate_size': 32,
        'num_hidden_layers': 2,
        'num_attention_heads': 2,
        'vocab_size': 20,
        'max_position_embeddings': 7,
        'eos_token_id': 19,
    }
    image = {'hidden_size': 12, 'intermediate_size': 48, 'num_hidden_layers': 2, 'num_attention_heads': 3, 'image_size': 6, 'patch_size': 3}
    (folder / 'clip').mkdir()
    (folder / 'clip' / 'config.json').write_text(json.dumps({'architectures': ['CLIPModel'], 'text_config': text, 'vision_config': image, 'projection_dim': 5}))
    save_file(clip.state_dict(), folder / 'clip' / 'model.safetensors')
    return folder


class Hub:
    "Repositories in a folder; it gives the files that match, in a new place at every call, and remembers which."

    def __init__(self, root, place):
        self.root, self.place, self.given = root, place, []

    def download(self, repo_id, *, allow_patterns=None, ignore_patterns=None):
        out = self.place / str(len(self.given))
        files = [p.relative_to(self.root / repo_id).as_posix() for p in sorted((self.root / repo_id).rglob('*')) if p.is_file()]
        match = lambda name, patterns: any(fnmatch.fnmatchcase(name, p) for p in patterns)  # noqa: E731
        files = [f for f in files if (allow_patterns is None or match(f, allow_patterns)) and not match(f, ignore_patterns or [])]
        for f in files:
            (out / f).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / repo_id / f, out / f)
        self.given.append(files)
        return str(out)  # which is not there if nothing matched


@pytest.fixture
def hub(monkeypatch, tmp_path):
    library = pytest.importorskip('huggingface_hub')
    monkeypatch.chdir(tmp_path)
    stand_in = Hub(tmp_path / 'hub', tmp_path / 'cache')
    monkeypatch.setattr(library, 'snapshot_download', stand_in.download)
    return stand_in


def mark(folder, part, names, whole=True):
    "Give a part the weights `names`, each with numbers of its own: those of the k-th are all (k + 1) / 8."
    word, _ = WEIGHTS[part]
    source = folder / f'{word}.safetensors'
    tensors = load_file(source)
    source.unlink()
    for k, name in enumerate(names):
        mine = {n: torch.full_like(v, (k + 1) / 8) for n, v in tensors.items()}
        if 'index' not in name:
            save_file(mine, folder / name)
            continue
        shards = [f for f in SHARDS[name.replace(word, 'W')]]
        where = {n: shards[i % 2].replace('W', word) for i, n in enumerate(sorted(mine))}
        for shard in set(where.values()):
            save_file({n: v for n, v in mine.items() if where[n] == shard}, folder / shard)
        (folder / name).write_text(json.dumps({'weight_map': where}))


SHARDS = {  # index -> the two files it names: as diffusers and transformers write them, as diffusers did, and as nobody must
    'W.safetensors.index.json': ['W-00001-of-00002.safetensors', 'W-00002-of-00002.safetensors'],
    'W.safetensors.index.fp16.json': ['W.fp16-00001-of-00002.safetensors', 'W.fp16-00002-of-00002.safetensors'],
    'W.safetensors.index.bf16.json': ['W-00001-of-00002.bf16.safetensors', 'W-00002-of-00002.bf16.safetensors'],
    'W.safetensors.index.odd.json': ['first.safetensors', 'second.safetensors'],
}
THERE = {  # what lies there, in any order; which of them is taken (None: none, by name), and with which variant asked for
    'one file': (['W.safetensors'], 0), 'only half': (['W.fp16.safetensors'], 0), 'half after full': (['W.fp16.safetensors', 'W.safetensors'], 1), 'full before non_ema': (['W.safetensors', 'W.non_ema.safetensors'], 0),
    'only non_ema': (['W.non_ema.safetensors'], 0), 'half before non_ema': (['W.non_ema.safetensors', 'W.fp16.safetensors'], 1), 'only bf16': (['W.bf16.safetensors'], 0),
    'two others': (['W.ema.safetensors', 'W.non_ema.safetensors'], None), 'asked for non_ema': (['W.safetensors', 'W.non_ema.safetensors', 'W.fp16.safetensors'], 1, 'non_ema'), 'asked for half': (['W.safetensors', 'W.fp16.safetensors'], 1, 'fp16'),
    'asked for what is not there': (['W.safetensors', 'W.fp16.safetensors'], None, 'ema'), 'shards': (['W.safetensors.index.json'], 0), 'shards of half': (['W.safetensors.index.fp16.json'], 0), 'shards of another': (['W.safetensors.index.bf16.json'], 0),
    'shards in names of their own': (['W.safetensors.index.odd.json'], 0), 'whole before shards': (['W.safetensors.index.json', 'W.safetensors'], 1), 'full shards before half': (['W.fp16.safetensors', 'W.safetensors.index.json'], 1),
    'asked for shards of half': (['W.safetensors', 'W.safetensors.index.fp16.json'], 1, 'fp16'),
}  # fmt: skip


@pytest.mark.parametrize('from_hub', [False, True], ids=['here', 'hub'])
@pytest.mark.parametrize('part', WEIGHTS)
@pytest.mark.parametrize('case', THERE)
def test_which_file_is_taken(saved, hub, case, part, from_hub):
    "As the words of the module say, and the same from the Hub as from a folder here; the Hub gives no more than it must."
    (names, want, *variant), (word, load) = THERE[case], WEIGHTS[part]
    names, variant = [n.replace('W', word) for n in names], variant[0] if variant else None
    home = hub.root / 'somebody' / 'model'
    shutil.copytree(saved / part, home / KINDS[part].folder)
    mark(home / KINDS[part].folder, part, names)
    source = 'somebody/model' if from_hub else home
    if want is None:
        with pytest.raises((ValueError, FileNotFoundError), match=word if variant else 'variants ema, non_ema, and none is preferred'):
            load(source, variant=variant)
        return
    values = {v.unique().item() for k, v in load(source, variant=variant).state_dict().items() if k != 'cond.bias'}
    assert values == {(want + 1) / 8}
    if from_hub:
        got = {f.split('/')[-1] for f in hub.given[-1]} - {'config.json'}
        index = [n for n in names if 'index' in n and n == names[want]]
        assert (
            got <= {names[want], *(s.replace('W', word) for n in index for s in SHARDS[n.replace(word, 'W')])}
            or names[0] in got
            and case == 'whole before shards'
        )


@pytest.mark.parametrize('part', LOADS)
@pytest.mark.parametrize('nested', [True, False], ids=['in its folder', 'at the top'])
def test_every_part_comes_from_the_hub(saved, hub, part, nested):
    "A repository with all parts and much beside them, or with one part at its top: the same as from the folder here."
    home = hub.root / 'somebody' / 'model'
    if nested and part != 'clip':
        shutil.copytree(saved, home)
        for name in (
            'README.md',
            'model.ckpt',
            'unet/diffusion_pytorch_model.bin',
            'unet/diffusion_pytorch_model.non_ema.safetensors',
            'vae/diffusion_pytorch_model.fp16.safetensors',
        ):
            (home / name).write_bytes(b'large')
    else:
        shutil.copytree(saved / part, home)
    ours, here = LOADS[part]('somebody/model'), LOADS[part](saved / part)
    assert len(hub.given) == 1 and not {f for f in hub.given[0] if f.endswith(('.md', '.ckpt', '.bin')) or 'non_ema' in f or 'fp16' in f}
    if part == 'tokenizer':
        assert (ours.pieces, ours.rules, ours.pad, ours.context) == (here.pieces, here.rules, here.pad, here.context)
    elif part == 'scheduler':
        assert ours.spacing == here.spacing and torch.equal(ours.schedule.betas, here.schedule.betas)
    else:
        assert all(torch.equal(v, here.state_dict()[k]) for k, v in ours.state_dict().items())


@pytest.mark.parametrize(
    'files',
    [
        ('merges.txt', 'vocab.json'),
        ('merges.txt',),
        ('tokenizer.json',),
        ('tokenizer.json', 'tokenizer_config.json'),
        ('merges.txt', 'vocab.json', 'special_tokens_map.json', 'tokenizer_config.json'),
    ],
    ids=' '.join,
)
@pytest.mark.parametrize('folder', ['tokenizer', 'tokenizer_2', ''])
def test_tokenizers_of_the_hub(saved, hub, files, folder):
    "Any of the layouts, with and without settings, in the folder that is asked for or at the top."
    home = hub.root / 'somebody' / 'model' / folder
    home.mkdir(parents=True)
    plain = load_tokenizer(saved)
    model = {'type': 'BPE', 'vocab': {p: i for i, p in enumerate(plain.pieces)}, 'merges': plain.arguments['merges']}
    for name in files:
        (home / name).write_text(json.dumps({'model': model})) if name == 'tokenizer.json' else shutil.copy(saved / 'tokenizer' / name, home)
    got = load_tokenizer('somebody/model', *([folder] if folder else []))
    assert (got.pieces, got.rules) == (plain.pieces, plain.rules) and got.context == (9 if 'tokenizer_config.json' in files else 77)


def test_what_the_hub_lacks_is_named(saved, hub):
    home = hub.root / 'somebody' / 'model'
    shutil.copytree(saved / 'unet', home / 'unet')
    (home / 'unet' / f'{DIFFUSERS}.safetensors').rename(home / 'unet' / f'{DIFFUSERS}.bin')
    for load, words in ((load_unet, f'somebody/model on the Hub holds no {DIFFUSERS}.safetensors, .*pickles only .*diffbook convert'), (load_vae, 'holds no config.json and no diff'),
                        (load_tokenizer, 'holds no merges.txt and no tokenizer.json'), (load_schedule, 'holds no scheduler_config.json'), (load_clip, 'holds no config.json and no model.safetensors, neither in its top folder')):  # fmt: skip
        with pytest.raises(FileNotFoundError, match=words):
            load('somebody/model')


# Averaged weights


@pytest.mark.parametrize('from_hub', [False, True], ids=['here', 'hub'])
def test_the_folder_of_averaged_weights(hub, from_hub):
    "What training scripts of diffusers write: `unet_ema` with the settings of the averaging beside those of the network."
    home = hub.root / 'somebody' / 'run'
    for k, name in enumerate(('unet', 'unet_ema')):
        save_published(home / name, small_unet())
        mark(home / name, 'unet', [f'{DIFFUSERS}.safetensors'] if k == 0 else [f'{DIFFUSERS}.x.safetensors', f'{DIFFUSERS}.safetensors'])
    said = json.loads((home / 'unet_ema' / 'config.json').read_text())
    said |= {'decay': 0.9999, 'inv_gamma': 1.0, 'min_decay': 0.0, 'optimization_step': 7, 'power': 2 / 3, 'update_after_step': 0, 'use_ema_warmup': False}
    (home / 'unet_ema' / 'config.json').write_text(json.dumps(said))
    source, value = 'somebody/run' if from_hub else home, lambda net: net.stem.bias.unique().item()  # noqa: E731
    assert value(load_unet(source)) == 1 / 8 and value(load_unet(source, folder='unet_ema')) == 2 / 8
    assert from_hub or value(load_unet(home / 'unet_ema')) == 2 / 8
    shutil.rmtree(home / 'unet')
    assert value(load_unet(source)) == 2 / 8


# Files that are none of ours


def torchscript():
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as archive:
        archive.writestr('model/code/__torch__.py', 'def forward(self): pass')
        archive.writestr('model/constants.pkl', b'')
    return out.getvalue()


FILES = {  # name of a file -> its bytes or its tensors, words of the message
    **{f'model{end}': (b'x', f'{what[0].split(" (")[0]}.*expected safetensors: {what[1].split(" (")[0]}') for end, what in ENDINGS.items() if not end.startswith('.ml')},
    'model.pt': (torchscript(), 'a program of TorchScript'), 'MODEL.CKPT': (b'x', 'is a pickle.*diffbook convert'), 'model.bin': (b'x', 'is a pickle.*diffbook convert'), 'openvino_model.bin': (b'x', 'a program for OpenVINO'),
    'openvino_model.xml': (b'x', 'a program for OpenVINO'), 'flax_model.msgpack': (b'x', 'weights for Flax'), 'tf_model.h5': (b'x', 'weights for TensorFlow.*from_tf'),
    'style.safetensors': ({'lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight': (4, 8)}, 'a LoRA, which changes a model and is none .*fuse_lora'),
    'peft.safetensors': ({'base_model.model.down.0.to_q.lora_A.weight': (4, 8)}, 'a LoRA'), 'diffusers.safetensors': ({'unet.down_blocks.0.to_q.lora.up.weight': (4, 8)}, 'a LoRA'), 'loha.safetensors': ({'te.hada_w1_a': (4, 8)}, 'a LoRA'),
    'toy.safetensors': ({'<cat-toy>': (1, 8)}, 'a learned word .textual inversion.*load_textual_inversion'), 'easynegative.safetensors': ({'emb_params': (8, 768)}, 'a learned word'), 'xl.safetensors': ({'clip_l': (2, 8), 'clip_g': (2, 12)}, 'a learned word'),
    'steer.safetensors': ({'control_model.input_blocks.0.0.weight': (4, 4, 3, 3)}, 'a ControlNet'), 'adapter.safetensors': ({'image_proj.proj.weight': (4, 8), 'ip_adapter.1.to_k_ip.weight': (4, 8)}, 'an IP-Adapter'),
    'flux.safetensors': ({'double_blocks.0.img_attn.qkv.weight': (12, 4)}, 'a FLUX transformer.*no U-Net'), 'sd3.safetensors': ({'model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight': (12, 4)}, 'the transformer of Stable Diffusion 3'),
    'sdxl.safetensors': ({'conditioner.embedders.1.model.ln_final.weight': (4,), 'model.diffusion_model.input_blocks.0.0.weight': (4, 4, 3, 3)}, 'Stable Diffusion XL in one file.*load_vae'),
}  # fmt: skip


def write(path, what):
    path.write_bytes(what) if isinstance(what, bytes) else save_file({k: torch.zeros(s) for k, s in what.items()}, path)


@pytest.mark.parametrize('name', FILES)
def test_files_that_are_none_of_ours(tmp_path, name):
    "Handed to a loader, or alone in the folder where weights should lie: named, with what to do."
    what, words = FILES[name]
    write(tmp_path / name, what)
    before = set(sys.modules)
    for load in (load_unet, load_text_encoder, *([load_vae, load_clip, load_schedule, load_tokenizer] if isinstance(what, bytes) else [])):
        with pytest.raises(ValueError, match=words) as info:
            load(tmp_path / name)
        assert name in str(info.value)
    if isinstance(what, bytes):
        (tmp_path / 'config.json').write_text('{}')
        with pytest.raises(ValueError, match=words):
            load_unet(tmp_path)
        with pytest.raises(ValueError, match=words):  # a name alone, of a file that is not here
            load_unet(name) if name != 'model.pt' else load_unet(tmp_path / name)
    assert not {m for m in set(sys.modules) - before if m.split('.')[0] in ('onnx', 'onnxruntime', 'flax', 'tensorflow', 'h5py')}


@pytest.mark.parametrize(
    'name, words',
    [
        ('pytorch_lora_weights.safetensors', 'a LoRA'),
        ('adapter_model.safetensors', 'a LoRA'),
        ('learned_embeds.safetensors', 'a learned word'),
        ('learned_embeds.bin', 'pickle'),
    ],
)
def test_folders_of_what_is_no_model(tmp_path, name, words):
    (tmp_path / 'config.json').write_text('{}')
    write(tmp_path / name, b'x')
    with pytest.raises(ValueError, match=words):
        load_unet(tmp_path)


# Single files


def first_names(vae):
    "A VAE in the names of the first code, by the renaming of the parity tests."
    levels, found = len(vae.arguments['channels']), {}
    table = {
        new.format(level=k, n=n, mirror=levels - 1 - k): old.format(level=k, n=n)
        for old, new in original.ORIGINAL_VAE.items()
        for k in range(levels)
        for n in range(3)
    }
    within = {new: old for old, new in original.WITHIN_VAE.items()}
    for name, v in published.vae.as_published(vae).items():
        head = next((h for h in sorted(table, key=len, reverse=True) if name.startswith(h + '.')), None)
        rest = name.removeprefix(f'{head}.') if head else name
        inner, _, p = rest.rpartition('.')
        found['.'.join(filter(None, (table.get(head), within.get(inner, inner), p)))] = v
    return found


def vae_of(family, channels=None):
    "A VAE in the shape of a family, without numbers."
    latents, widths, mix = next(shape for shape, names in SHAPES.items() if family in names)
    with torch.device('meta'):
        return AutoencoderKL(channels=channels or widths, latent_channels=latents, mix=mix)


BESIDE = {  # family -> what lies beside its VAE in a whole model
    'Stable Diffusion 1 and 2': {'cond_stage_model.transformer.text_model.final_layer_norm.bias': (4,), 'model.diffusion_model.input_blocks.0.0.weight': (4, 4, 3, 3)},
    'Stable Diffusion XL': {'conditioner.embedders.0.transformer.text_model.final_layer_norm.bias': (4,)}, 'Playground 2.5': {'conditioner.embedders.0.x': (4,), 'edm_mean': (1, 4, 1, 1), 'edm_std': (1, 4, 1, 1)},
    "Stable Diffusion's x4 upscaler": {'cond_stage_model.model.ln_final.bias': (4,), 'model.diffusion_model.input_blocks.0.0.weight': (4, 7, 3, 3)},
    'Stable Diffusion 3': {'model.diffusion_model.joint_blocks.0.x': (4,)}, 'FLUX.1': {'model.diffusion_model.double_blocks.0.x': (4,)},
}  # fmt: skip
SAYS = {
    'Stable Diffusion 1 and 2': ('stable-diffusion-v1', 'stable-diffusion-v2-768-v'),
    'Stable Diffusion XL': ('stable-diffusion-xl-v1-base',),
    'Stable Diffusion 3': ('stable-diffusion-3-medium',),
    'FLUX.1': ('flux-1-dev', 'Flux.1-AE'),
}


@pytest.fixture
def opened(monkeypatch):
    "Files whose tensors have shapes and no numbers."
    held = {}
    monkeypatch.setattr('diffbook.published.reading.read_tensors', lambda files: held['tensors'])
    return held


def scales(vae):
    return vae.scale, vae.shift


def wanted(family):
    "Scale and shift that a family publishes, typed here once more: the latents of unit variance are (z - shift) scale."
    mean, std = [-1.6574, 1.886, -1.383, 2.5155], [8.4927, 5.9022, 6.5498, 5.2299]
    return {
        'Stable Diffusion 1 and 2': (0.18215, 0.0), 'Stable Diffusion XL': (0.13025, 0.0), 'Playground 2.5': (tuple(0.5 / s for s in std), tuple(mean)),
        "Stable Diffusion's x4 upscaler": (0.08333, 0.0), 'Stable Diffusion 3': (1.5305, 0.0609), 'FLUX.1': (0.3611, 0.1159),
    }[family]  # fmt: skip


@pytest.mark.parametrize('family', FAMILIES)
def test_the_scale_of_a_vae_in_one_file(tmp_path, opened, family):
    "From what lies beside it; alone from what the file says, from its shape, or by name: never the scale of another."
    names = first_names(vae_of(family))
    path = tmp_path / 'a.safetensors'
    save_file({'x': torch.zeros(1)}, path)
    opened['tensors'] = {f'first_stage_model.{k}': v for k, v in names.items()} | {k: torch.empty(s, device='meta') for k, s in BESIDE[family].items()}
    assert scales(load_vae(path)) == wanted(family)
    opened['tensors'] = names
    alike = next(found for found in SHAPES.values() if family in found)
    if len(alike) == 1:
        assert scales(load_vae(path)) == wanted(family)
    else:
        with pytest.raises(ValueError, match='nothing in it says by what its latents are scaled') as info:
            load_vae(path)
        assert all(f'{FAMILIES[name]["scaling_factor"]} ({name})' in str(info.value) for name in alike) and str(path) in str(info.value)
    assert scales(load_vae(path, config={'scaling_factor': FAMILIES[family]['scaling_factor']})) == wanted(family)
    for word in SAYS.get(family, ()):
        save_file({'x': torch.zeros(1)}, path, {'modelspec.architecture': word})
        assert scales(load_vae(path)) == wanted(family)


def test_a_scale_of_ones_own(tmp_path, opened):
    "A VAE of another shape, or with numbers of its own, has the scale that the caller says, and no family's."
    path = tmp_path / 'a.safetensors'
    save_file({'x': torch.zeros(1)}, path)
    opened['tensors'] = first_names(vae_of('FLUX.1'))
    assert scales(load_vae(path, config={'scaling_factor': 0.7})) == (0.7, 0.0)
    assert scales(load_vae(path, config={'scaling_factor': 0.3611, 'shift_factor': 0.2})) == (0.3611, 0.2)
    opened['tensors'] = first_names(vae_of('Stable Diffusion XL', (32, 64)))
    assert scales(load_vae(path, config={'scaling_factor': 0.7})) == (0.7, 0.0)
    with pytest.raises(ValueError, match='0.18215 .Stable Diffusion 1 and 2. or .* 0.3611'):
        load_vae(path)


def tower_names(prefix, extra=()):
    tower = filled(TextTower(20, 7, 64, 2, 1, end=None))
    return {f'{prefix}{k}': v for k, v in tower.state_dict().items()} | {f'{prefix.removesuffix("text_model.")}{k}': v for k, v in dict(extra).items()}, tower


PREFIXES = ['cond_stage_model.transformer.text_model.', 'cond_stage_model.transformer.', 'text_model.', '']
ODD = {  # what old and merged files hold beside the weights, and what they do with the places
    'nothing': {}, 'places': {'text_model.embeddings.position_ids': torch.arange(7)[None]}, 'rounded places': {'text_model.embeddings.position_ids': torch.arange(7)[None].half() * 0.9},
    'places without prefix': {'embeddings.position_ids': torch.arange(7)[None]}, 'a projection': {'text_projection.weight': torch.ones(5, 64), 'logit_scale': torch.ones(())},
}  # fmt: skip


@pytest.mark.parametrize('odd', ODD)
@pytest.mark.parametrize('prefix', PREFIXES)
def test_text_towers_in_one_file(tmp_path, prefix, odd):
    "With and without `text_model`, in a whole model and alone; what no shape shows of one that lies alone is asked for."
    tensors, tower = tower_names(prefix, ODD[odd])
    save_file(tensors, path := tmp_path / 'a.safetensors')
    config = {} if prefix.startswith('cond') else {'hidden_act': 'quick_gelu'}
    if config:
        with pytest.raises(ValueError, match='no shape shows the activation .*quick_gelu.*gelu'):
            load_text_encoder(path)
    ours = load_text_encoder(path, config=config)
    assert all(torch.equal(v, tower.state_dict()[k]) for k, v in ours.state_dict().items()) and ours.arguments['activation'] is tower.arguments['activation']


def test_averaged_weights_in_one_file(tmp_path):
    "The weights of training are read unless `ema` is asked for, which is named without dots."
    net = small_unet(blocks=(2, 2), heads=(8, 0, 8))
    table = {new: old for old, new in original.filled(original.ORIGINAL_UNET, original._counts(2, [True, False])).items()}
    within = {new: old for old, new in original.WITHIN_UNET.items()}
    names = {}
    for name, v in published.unet.as_published(net).items():
        head = max((h for h in table if name.startswith(h + '.')), key=len)
        inner, _, p = name.removeprefix(f'{head}.').rpartition('.')
        names['.'.join(filter(None, (table[head], within.get(inner, inner) if 'resnets' in head or 'samplers' in head else inner, p)))] = v
    plain = {f'model.diffusion_model.{k}': torch.full_like(v, 1.0) for k, v in names.items()}
    averaged = {f'model_ema.diffusion_model{k.replace(".", "")}': torch.full_like(v, 2.0) for k, v in names.items()}
    save_file(
        plain | averaged | {'model_ema.decay': torch.ones(()), 'model_ema.num_updates': torch.ones((), dtype=torch.int64)}, path := tmp_path / 'a.safetensors'
    )
    config = {'norm_num_groups': 4}
    assert load_unet(path, config=config).stem.bias.unique().item() == 1.0
    assert {v.unique().item() for v in load_unet(path, config=config, variant='ema').state_dict().values()} == {2.0}
    save_file(plain, path)
    for load, variant in ((load_unet, 'ema'), (load_unet, 'fp16'), (load_vae, 'ema')):
        with pytest.raises(ValueError, match=f'no variant {variant!r}|holds no vae'):
            load(path, config=config, variant=variant)
