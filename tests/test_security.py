"""The rows on security in their short form, and that each of them can fail."""

import argparse
import collections
import datetime
import gzip
import json
import os
import pathlib
import random
import sys
import types
from pathlib import Path

import corpus
import numpy
import pytest
import torch
from packaging.version import Version

from benchmarks import fuzz, security
from benchmarks.reliability import load_parts, run_row
from diffbook import data
from diffbook.store import convert, downloads, files, sets

converts = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split('.')[:2])) < convert.OLDEST, reason='convert asks for a newer torch, which cannot be tricked'
)
pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='limits, forks and /proc as on Linux')
HERE = ('S2', 'S3', 'S5', 'S8', 'S12')  # in this process
APART = ('S1', 'S4', 'S9')  # with processes of their own


@pytest.mark.parametrize('id', [pytest.param(id, marks=converts if id == 'S4' else ()) for id in HERE + APART])
def test_row(id):
    got = run_row(id, short=True)
    assert got['met'], got


def test_rows_are_listed():
    rows = load_parts()
    assert {'R14', *(f'S{k}' for k in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12))} <= rows.keys()


# S1: the gate sees what it should


@pytest.mark.parametrize(
    'source',
    [
        'import pickle', 'from pickle import loads', 'import marshal as m', 'import shelve, json', 'import dill', 'import yaml', 'from torch import load', 'torch.load(f)', 'read = torch.load', 'torch.load(f, weights_only=True)',
        'np.load(f)', 'numpy.load(f, allow_pickle=True)', 'read(f, allow_pickle=x)', 'eval("1")', 'exec(code)', 'builtins.eval(x)', '__import__(name)', 'compile(s, "", "exec")', 'importlib.import_module(name)',
        'importlib.import_module(f"{name}.x")', 'AutoModel.load(x, trust_remote_code=True)', 'config["_target_"]', 'os.system("x")', 'torch.hub.load(x)', 'torch.jit.load(x)', 'def f(self):\n    return getattr(self, "__reduce__")',
    ],
)  # fmt: skip
def test_the_gate_refuses(source):
    assert security.hits(source, 'x.py')


@pytest.mark.parametrize(
    'source',
    [
        'import json',
        'load(f)',
        'model.eval()',
        're.compile("x")',
        'importlib.import_module(f"diffbook.{p}")',
        'read(f, allow_pickle=False)',
        'safetensors.torch.load(b)',
    ],
)
def test_the_gate_lets_through(source):
    assert not security.hits(source, 'x.py')


def test_one_file_may_call_torch_load():
    assert (
        not security.hits('torch.load(f, weights_only=True)', 'convert.py')
        and security.hits('torch.load(f)', 'convert.py')
        and security.hits('torch.load(f, weights_only=x)', 'convert.py')
    )
    assert security.hits('import pickle', 'convert.py')


def test_a_pickle_within_a_loader_is_noticed(monkeypatch):
    monkeypatch.setattr(
        security, 'WATCHED', security.WATCHED.replace('live[0] = False', 'import pickle; pickle.loads(pickle.dumps(pathlib.Path()))\nlive[0] = False')
    )
    assert 'pickle.find_class' in str(security.watched(0)['seen'])


# S2: the fuzzer sees what it should


def one(read, change=fuzz.change_bytes):
    return fuzz.Loader(lambda f: (f.mkdir(parents=True), (f / 'a').write_bytes(b'{"a": 1}')), {'a': change}, read, 1)


@pytest.mark.parametrize(
    'read, what',
    [
        (lambda f: {}['x'], 'KeyError'), (lambda f: json.loads('{'), 'JSONDecodeError'), (lambda f: b'\xff'.decode(), 'UnicodeDecodeError'), (lambda f: (_ for _ in ()).throw(ValueError('')), 'ValueError'),
        (lambda f: (_ for _ in ()).throw(ValueError('bad')), 'names no file'), (lambda f: [i for i in iter(int, 1)], 'hang'), (lambda f: bytearray(3 << 30), 'MemoryError'),
    ],
)  # fmt: skip
def test_the_fuzzer_refuses(read, what, tmp_path, monkeypatch):
    assert fuzz.verdict(one(read), tmp_path, None, False)[0] == what


def test_other_content_is_noticed(tmp_path):
    loader = fuzz.Loader(None, {}, lambda f: {'w': torch.ones(2)}, 1, same=True)
    assert fuzz.verdict(loader, tmp_path, {'w': torch.zeros(2)}, True)[0] == 'other content'


def test_mutants_depend_on_the_seed_alone():
    draw = lambda: [fuzz.change_tensors(fuzz_model(), random.Random(f'{k}')) for k in range(20)]  # noqa: E731
    assert draw() == draw() and len(set(draw())) > 15


def fuzz_model():
    return corpus.whole('model')['model.safetensors']


def test_a_crash_is_counted(monkeypatch):
    monkeypatch.setattr(security.fuzz.sys, 'executable', '/bin/false')
    got = fuzz.run_apart('idx', 3)
    assert got['counts']['crash'] >= 1 and got['wrong']


# S3


@pytest.mark.parametrize('what', corpus.HEADS)
def test_the_reader_refuses_by_itself(what, tmp_path):
    "Before the library behind it is asked."
    path = tmp_path / 'a.safetensors'
    path.write_bytes(corpus.with_head(corpus.HEADS[what], fuzz_model()))
    with pytest.raises(ValueError, match='a.safetensors is damaged or cut short'):
        files.read_header(path)


def test_limits_of_headers(tmp_path):
    "One byte more than is allowed is refused by name, though all is well with it otherwise."
    path, text = tmp_path / 'a.safetensors', b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    for length, right in ((files.MAX_HEADER, True), (files.MAX_HEADER + 1, False)):
        path.write_bytes(length.to_bytes(8, 'little') + text.ljust(length) + b'7')
        if right:
            assert files.read_header(path)[1]['w'].shape == (1,)
        else:
            with pytest.raises(ValueError, match='has a header of 100,000,001 bytes, expected at most 100,000,000: write it anew'):
                files.read_header(path)
    many = {str(k): {'dtype': 'U8', 'shape': [0], 'data_offsets': [0, 0]} for k in range(files.MAX_TENSORS + 1)}
    with pytest.raises(ValueError, match='more than 20,000 tensors'):
        files._entries(json.dumps(many).encode(), 0)


TOLD = {  # what files say of themselves
    'a thumbnail': {'modelspec.thumbnail': 'data:image/jpeg;base64,' + 'A' * 1_500_000}, 'five megabytes': {'x': 'é' * 2_500_000}, 'tags of a training': {'ss_tag_frequency': json.dumps({'a': {f'tag {k}, "odd"': k for k in range(60_000)}})},
    'brackets': {'x': '[{,' * 300_000}, 'quotes': {'x': '"' * 500_000}, 'backslashes': {'x': '\\' * 300_001 + '"\\"[,'}, 'names of tensors': {'x': '"dtype"' * 30_000}, 'many words': {f'{k}': 'v' for k in range(20_000)}, 'controls': {'x': '\0\n\x1f' * 100_000},
}  # fmt: skip


@pytest.mark.parametrize('what', TOLD)
def test_metadata_of_any_length(tmp_path, what):
    "Read as the library that wrote it reads it; and a loader takes the tensors."
    from safetensors import safe_open
    from safetensors.torch import save_file

    from diffbook.pretrained import read_tensors

    save_file({'w': torch.arange(3.0)}, path := tmp_path / 'a.safetensors', TOLD[what])
    assert files.read_header(path)[0] == TOLD[what] == safe_open(path, 'pt').metadata()
    assert read_tensors([path])['w'].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    'head',
    [b'[' * 5_000_000, b'{"a":' * 1_000_000, b'"",' * 1_000_000, b'{"' + b'\\"' * 2_000_000 + b'":' + b'[' * 300_000, b'{"a":[' + b'0,' * 3_000_000 + b'0]}'],
    ids=range(5),
)
def test_long_headers_that_hold_too_much(tmp_path, head):
    "Refused before anything of them is built."
    (tmp_path / 'a.safetensors').write_bytes(len(head).to_bytes(8, 'little') + head)
    before = security.peak()
    with pytest.raises(ValueError, match='more than 20,000 tensors'):
        files.read_header(tmp_path / 'a.safetensors')
    assert security.peak() - before < 60e6


def test_headers_of_this_library_are_read(tmp_path):
    "Also one of as many tensors as are allowed, which takes its time but is right."
    from safetensors.torch import save_file

    save_file({f'{k}': torch.zeros(1) for k in range(9000)}, tmp_path / 'a.safetensors', {'a': 'b'})
    about, spans = files.read_header(tmp_path / 'a.safetensors')
    assert about == {'a': 'b'} and len(spans) == 9000 and spans['7'].shape == (1,)


def test_a_header_agrees_with_the_library_that_wrote_it(tmp_path):
    import safetensors
    from safetensors.torch import load_file, save_file

    newer = (torch.complex64,) if Version(safetensors.__version__) >= Version('0.7') else ()
    kinds = (
        *newer,
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
        torch.float8_e5m2,
    )
    save_file({str(k): torch.zeros(2, 0 if k is torch.int8 else 3).to(k) for k in kinds} | {'one': torch.tensor(1.0)}, tmp_path / 'a.safetensors')
    _, spans = files.read_header(tmp_path / 'a.safetensors')
    assert {k: s.shape for k, s in spans.items()} == {k: tuple(v.shape) for k, v in load_file(tmp_path / 'a.safetensors').items()}


@pytest.mark.parametrize('what', ['channels', 'blocks'])
def test_settings_of_a_giant_build_nothing(what, tmp_path):
    "A model that is said to be larger than its file is refused before its memory is asked for, and before a long loop."
    import time

    from diffbook.training import load

    value = [1 << 20, 1 << 20] if what == 'channels' else [10**9, 1]
    corpus.set_json('config.json', f'model.net.{what}', value, 'model', tmp_path)
    before, begin = security.peak(), time.process_time()
    with pytest.raises(ValueError, match='more numbers than the file holds'):
        load(tmp_path / 'model')
    assert security.peak() - before < 50e6 and time.process_time() - begin < 1


# S4


def test_the_process_may_only_read_one_file(tmp_path):
    "Under the hook: other files, writing, sockets and imports are refused, also when the error is swallowed."

    def work():
        import socket

        source = tmp_path / 'a'
        source.write_bytes(b'x')
        sys.modules.pop('sqlite3', None)  # another test may have imported it
        tried, said = convert._watch(source), []
        for act in (
            lambda: open(source, 'rb').close(),
            lambda: open('/etc/hostname'),
            lambda: open(source, 'w'),
            socket.socket,
            lambda: os.system('true'),
            lambda: __import__('sqlite3'),
            lambda: os.remove(source),
            os.fork,
        ):
            try:
                act()
                said.append('done')
            except RuntimeError:
                said.append('refused')
        return {'said': said, 'tried': len(tried)}

    got = security.in_a_child(work)
    assert got == {'said': ['done', *['refused'] * 7], 'tried': 7}, got


def test_limits_hold(tmp_path):
    def work():
        convert._limit(1000)
        try:
            return {'got': len(bytearray(3 << 30))}
        except MemoryError:
            pass
        try:
            (tmp_path / 'large').write_bytes(bytes(4 << 20))
        except OSError as error:
            return {'errno': error.errno}
        return {}

    assert security.in_a_child(work) == {'errno': 27}


@converts
def test_parts_and_names(tmp_path):
    old = {'model': {'a': torch.ones(2), 'b': [torch.zeros(1), {'c': torch.arange(3)}]}, 'ema': {'a': torch.zeros(2)}, 'step': 7}
    torch.save(old, tmp_path / 'old.pt')
    got = security.in_a_child(lambda: convert.work(tmp_path / 'old.pt', tmp_path / 'a.safetensors', 'model'))
    assert got['left'] == [] and set(files.read_header(tmp_path / 'a.safetensors')[1]) == {'a', 'b.0', 'b.1.c'}
    got = security.in_a_child(lambda: convert.work(tmp_path / 'old.pt', tmp_path / 'b.safetensors'))
    assert got['left'] == ['step'] and 'ema.a' in files.read_header(tmp_path / 'b.safetensors')[1]
    assert "no part 'optimizer'; it holds model, ema, step" in str(
        security.in_a_child(lambda: convert.work(tmp_path / 'old.pt', tmp_path / 'c.safetensors', 'optimizer'))
    )


def stand_in(monkeypatch, module, name, base=object):
    "A class as a training library has it, in modules made for this test: whoever reads the file has neither."
    parts, kind = module.split('.'), type(name, (base,), {'__module__': module})
    for k in range(len(parts)):
        monkeypatch.setitem(sys.modules, '.'.join(parts[: k + 1]), types.ModuleType(parts[k]))
    setattr(sys.modules[module], name, kind)
    return kind


@pytest.fixture
def left_by_a_run(monkeypatch):
    "What training programs leave beside the tensors, by kind."
    callback = stand_in(monkeypatch, 'pytorch_lightning.callbacks.model_checkpoint', 'ModelCheckpoint')
    attributes = stand_in(monkeypatch, 'lightning_fabric.utilities.data', 'AttributeDict', dict)
    stopping, settings = (
        stand_in(monkeypatch, 'lightning.pytorch.callbacks.early_stopping', 'EarlyStopping')(),
        stand_in(monkeypatch, 'omegaconf.dictconfig', 'DictConfig')(),
    )
    stopping.patience, settings._content = 3, {'secret': torch.ones(4)}
    return {
        'a class as a key': {callback: {'best': 1}}, 'scalars': {'a': numpy.float64(1), 'b': numpy.int64(2), 'c': numpy.bool_(True), 'd': numpy.float32(3)}, 'arrays': [numpy.arange(5.0), numpy.random.get_state()],
        'texts': numpy.array(['a', 'b']), 'an object': stopping, 'a dictionary of its own': attributes(a=1, b=numpy.float32(2)), 'settings': settings, 'arguments': argparse.Namespace(out=pathlib.PurePosixPath('x'), when=datetime.datetime(2022, 8, 22)),
        'collections': [collections.defaultdict(list, a=[1]), collections.deque([1]), collections.Counter('ab'), range(3), frozenset([1])], 'a version': torch.torch_version.TorchVersion('1.11.0'),
    }  # fmt: skip


@converts
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'old'])
def test_what_a_training_run_leaves_is_left_out(tmp_path, left_by_a_run, zipped):
    "The tensors arrive, nothing that lies beside them is built, and its names are told."
    for part, held in (('state_dict', left_by_a_run), (None, left_by_a_run), ('model', {})):
        torch.save({**held, part or 'model': collections.OrderedDict(w=torch.arange(3.0))}, tmp_path / 'a.ckpt', _use_new_zipfile_serialization=zipped)
        got = security.in_a_child(lambda: convert.work(tmp_path / 'a.ckpt', tmp_path / 'a.safetensors', part))  # noqa: B023
        assert set(files.read_header(tmp_path / 'a.safetensors')[1]) == {'w' if part else 'model.w'}, got
        assert part or {'a class as a key.ModelCheckpoint.best', 'scalars.a', 'an object', 'a dictionary of its own.b', 'settings'} <= set(got['left'])


def test_stubs_do_nothing():
    "Whatever a file does with a stub: it keeps nothing, and no module of its name is imported."
    before = set(sys.modules)
    for name in ('omegaconf.dictconfig.DictConfig', 'pytorch_lightning.x.Y', 'numpy.core.multiarray.scalar'):
        kind = convert._stub(name)
        one = kind('touch x', 7)
        one.__setstate__({'a': 1})
        assert not hasattr(one, '__dict__') and issubclass(kind, convert.Inert) and kind.__mro__[-1] is object
    assert convert._stub('collections.defaultdict')(list) == {} and set(sys.modules) == before


@converts
@pytest.mark.parametrize(
    'name',
    [
        'numpy.fromfile',
        'numpy.load',
        'os.system',
        'builtins.eval',
        'builtins.getattr',
        'builtins.open',
        'pathlibx.Path',
        'torch.hub.load',
        'torch.optimizer.X',
        'subprocess.run',
        'runpy.run_path',
        'operator.attrgetter',
    ],
)
def test_what_is_not_on_the_list_has_no_stub(tmp_path, name):
    module, _, function = name.rpartition('.')
    (tmp_path / 'a.pt').write_bytes(security.named_call(module, function, 'x'))
    assert convert._stubs(tmp_path / 'a.pt') == []
    said = security.in_a_child(lambda: convert.work(tmp_path / 'a.pt', tmp_path / 'a.safetensors'))
    assert function in said['error'] or 'blocked' in said['error']


def test_a_name_is_found_behind_letters_that_look_like_one(tmp_path):
    "A mark of the format before it, such as place 99 of its memory, is the letter that also begins a name."
    for before in (b'', b'q\x63', b'X\x03\0\0\0abcqA', b'c' * 50):
        (tmp_path / 'a.pt').write_bytes(b'\x80\x02' + before + b'comegaconf.base\nNode\n)R.')
        assert [name for _, name in convert._stubs(tmp_path / 'a.pt')] == ['omegaconf.base.Node']


def test_an_older_torch_converts_nothing(tmp_path):
    def work():
        torch.__version__ = '2.9.1'
        return convert.work(tmp_path / 'a.pt', tmp_path / 'a.safetensors')

    assert 'torch is 2.9.1, expected at least 2.10' in str(security.in_a_child(work))


# S5, S7


@pytest.mark.parametrize('address', ['http://example.org/x', 'ftp://example.org/x', 'http://127.0.0.1.example.org/x', 'data:,x', 'http://localhost/x', 'x'])
def test_addresses_that_are_not_asked(address, tmp_path):
    with pytest.raises(ValueError, match='expected https'):
        list(downloads.pieces(address, 10))


def test_captions_beside_pictures_are_read(tmp_path):
    corpus.photos(tmp_path)
    assert data.read_folder(tmp_path, 4).captions is None
    (tmp_path / '0.txt').write_bytes(b'\xef\xbb\xbf a caf\xc3\xa9,\r\nin the  sun \n')
    (tmp_path / '1.txt').write_text('two')
    assert data.read_folder(tmp_path, 4).captions == ('a café, in the sun', 'two')


def test_a_folder_is_no_gzip_bomb_if_it_is_small(tmp_path):
    "Honest files compress well too: an empty picture is no bomb."
    path = Path(tmp_path) / 'a.gz'
    path.write_bytes(gzip.compress(corpus.idx(500, 28, 28, body=bytes(500 * 784))))
    assert sets.read_idx(path, 3).shape == (500, 28, 28)


def test_no_exif():
    assert security.no_exif()
