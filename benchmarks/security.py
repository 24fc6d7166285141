"""Rows on security: what comes from strangers is refused, and nothing that they wrote is run.

The cases of R14, S6, S7 and S8 are the tables of tests/corpus.py, the mutants those of benchmarks/fuzz.py.
"""

import ast
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import fuzz
from benchmarks.reliability import QUIET, ROOT, count, count_tests, row

sys.path.insert(0, str(ROOT / 'tests'))


@contextlib.contextmanager
def inside(folder: str | Path) -> Iterator[Path]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield Path(folder)
    finally:
        os.chdir(before)


def faults(cases: dict, every: int = 1) -> tuple[int, int, list[str]]:
    "Run every so-manieth case of a table: good ones, all, and what was wrong."
    import corpus

    wrong, chosen = [], list(cases.items())[::every]
    with quiet():
        for name, case in chosen:
            with tempfile.TemporaryDirectory() as place, inside(place):
                if said := corpus.fault(case, Path(place)):
                    wrong.append(f'{name}: {said[:300]}')
    return len(chosen) - len(wrong), len(chosen), wrong[:10]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    before = {k: os.environ.get(k) for k in QUIET}
    os.environ.update(QUIET)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


@row('R14', 'malformed input is answered by one clear line, and leaves no trace', goal='500 of 500')
def r14(short: bool) -> dict:
    """Give the command line configurations, checkpoints, pictures, captions, archives, command lines and surroundings (a full
    disk, a read-only one, no network) that are wrong: exit code 2, one line on stderr that holds the file, the field, the
    value and what is allowed, no traceback, and every byte of the folder as it was. The cases are those of
    tests/test_bad_input.py, run by pytest."""
    which = 'test_case and (picture or caption)' if short else 'test_case or test_command or test_surroundings'
    return count_tests('tests/test_bad_input.py', which)


# S1: nothing is run

MODULES = ('pickle', 'marshal', 'shelve', 'dill', 'cloudpickle', 'joblib', 'yaml', 'imp', 'runpy', 'code', 'codeop')
CALLS = ('eval', 'exec', 'compile', '__import__', 'execfile')
ATTRIBUTES = {
    ('torch', 'load'), ('torch.jit', 'load'), ('torch.hub', 'load'), ('torch.package', 'PackageImporter'), ('os', 'system'), ('os', 'popen'), ('np', 'load'), ('numpy', 'load'),
    ('jit', 'load'), ('hub', 'load'), ('yaml', 'load'), ('pd', 'read_pickle'), ('pandas', 'read_pickle'),
}  # fmt: skip
ALLOWED = {'convert.py': {'torch.load'}, 'graded.py': {'exec', 'compile'}}  # they run apart: old checkpoints, and what students hand in to be run


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f'{dotted(node.value)}.{node.attr}'
    return node.id if isinstance(node, ast.Name) else ''


def hits(source: str, file: str) -> list[str]:
    "Every place of a program that reads code from data, or runs what a string says."
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ''] if isinstance(node, ast.ImportFrom) else []
        bad = [n for n in names if n.split('.')[0] in MODULES]
        if isinstance(node, ast.ImportFrom):
            bad += [f'{node.module}.{a.name}' for a in node.names if (node.module, a.name) in ATTRIBUTES]
        if isinstance(node, ast.Attribute):  # also where it is not called at once
            name = dotted(node)
            bad += [name] if tuple(name.rpartition('.')[::2]) in ATTRIBUTES else []
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            bad += [name] if name in CALLS or name in ('builtins.eval', 'builtins.exec') else []
            bad += [
                k.arg
                for k in node.keywords
                if k.arg in ('allow_pickle', 'trust_remote_code') and not (isinstance(k.value, ast.Constant) and k.value.value is False)
            ]
            safe = any(k.arg == 'weights_only' and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords)
            bad += ['torch.load of programs'] if name == 'torch.load' and not safe else []
            bad += [name] if name.endswith('import_module') and not known_module(node.args[0]) else []
        if isinstance(node, ast.Constant) and node.value in ('_target_', '__reduce__'):
            bad.append(str(node.value))
        found += [f'{file}:{node.lineno} {name}' for name in bad if name not in ALLOWED.get(file, ())]
    return sorted(set(found))


def known_module(node: ast.AST) -> bool:
    "A constant name, or a part of our own package."
    begins = isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant) and str(node.values[0].value).startswith('diffbook.')
    return isinstance(node, ast.Constant) or begins


def programs() -> Iterator[tuple[str, str]]:
    "The package and the code cells of the notebooks."
    for path in sorted((ROOT / 'diffbook').rglob('*.py')):
        yield path.name, path.read_text(encoding='utf-8')
    for path in sorted((ROOT / 'nbs').glob('*.ipynb')):
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            source = ''.join(cell['source'])
            if cell['cell_type'] == 'code':
                yield path.name, '\n'.join('pass' if line.lstrip().startswith(('%', '!')) else line for line in source.splitlines())


EVENTS = (
    'pickle.find_class',
    'exec',
    'subprocess.Popen',
    'os.system',
    'os.exec',
    'os.posix_spawn',
    'os.spawn',
    'os.fork',
    'socket.connect',
    'socket.bind',
    'socket.getaddrinfo',
    'marshal.loads',
    'ctypes.dlopen',
)
WATCHED = """
import sys, json, pathlib, tempfile, warnings
sys.path.insert(0, {root!r})
warnings.simplefilter('ignore')
import torch
from benchmarks import fuzz
torch.manual_seed(0)
place = pathlib.Path(tempfile.mkdtemp())
table = fuzz.loaders()
for name, loader in table.items():
    loader.make(place / name)
    try: loader.read(place / name)  # everything is imported now
    except ValueError: pass
    fuzz.run(name, 3)
seen, live = [], [True]
def hook(event, args):
    if live[0] and event.startswith({events!r}):
        seen.append(event + ' ' + repr(args)[:100])
sys.addaudithook(hook)
for name, loader in table.items():
    try: loader.read(place / name)
    except ValueError: pass
    fuzz.run(name, {n})
live[0] = False
print(json.dumps(dict(seen=sorted(set(seen))[:20], number=len(seen), read=len(table) * ({n} + 1))))
"""


def watched(n: int) -> dict:
    "Run every loader over good files and mutants, in a process that notes what is run, loaded or connected to."
    code = WATCHED.format(root=str(ROOT), events=EVENTS, n=n)
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, env=os.environ | QUIET)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return json.loads(done.stdout.splitlines()[-1])


@row('S1', 'no file can make the library run code', goal='0 places and 0 events')
def s1(short: bool) -> dict:
    """Walk the syntax trees of the package and of all notebooks for pickle and its relatives, torch.load, np.load, eval, exec,
    yaml.load, trust_remote_code and imports by a name that is computed (two files may, each in a process of its own: torch.load
    behind `diffbook convert`, exec behind `diffbook grade`, whose purpose is to run the notebooks it is given). Then read good files and mutants of all kinds with every loader under an audit hook, and
    count unpickling, exec, subprocesses and sockets (numpy parses the head of an array as a literal, which runs nothing)."""
    places = [hit for file, source in programs() for hit in hits(source, file)]
    events = watched(3 if short else 200)
    total = len(places) + events['number']
    return {
        'figure': f'{len(places)} places, {events["number"]} events',
        'met': total == 0,
        'n': events['read'],
        'places': places[:10],
        'events': events['seen'],
    }


@row('S2', 'no file crashes a loader, hangs it, or raises an error that is not ours', goal='0 of 100,000 mutants')
def s2(short: bool, seed: int) -> dict:
    """Change whole files a little (bits, bytes, JSON trees, headers; see benchmarks/fuzz.py) and read them: checkpoints,
    models, shards, the published layout, single files, tokenizers, pictures, captions, archives, idx and npz files. Wrong is
    a crash, more than 1 s of processor time, more than 1 GB beyond what there was, an error that is no ValueError or OSError or
    does not name the file, and other content where a digest guards it."""
    n, counts, wrong, slowest, kinds = 0, {}, [], 0.0, fuzz.loaders()
    whole = sum(loader.share for loader in kinds.values())
    ask = lambda name: fuzz.run(name, 40, seed) if short else fuzz.run_apart(name, -(-100_000 * kinds[name].share // whole), seed)
    with ThreadPoolExecutor(1 if short else os.cpu_count()) as pool:  # long runs are processes of their own
        results = list(map(ask, kinds)) if short else list(pool.map(ask, kinds))
    for got in results:
        n, wrong, slowest = n + got['n'], wrong + got['wrong'], max(slowest, got['slowest'])
        for what, number in got['counts'].items():
            counts[what] = counts.get(what, 0) + number
    bad = sum(v for k, v in counts.items() if k not in ('read', 'refused'))
    return {'figure': f'{bad} of {n:,} mutants', 'met': bad == 0, 'n': n, 'counts': counts, 'slowest, s': slowest, 'wrong': wrong[:20]}


# S3: headers


def headers() -> dict[str, bytes]:
    "Files of at most two megabytes that claim too much."

    def header(text: bytes, length: int | None = None, body: bytes = b'') -> bytes:
        return (len(text) if length is None else length).to_bytes(8, 'little') + text + body

    entry = lambda shape, end: json.dumps({'w': {'dtype': 'F32', 'shape': shape, 'data_offsets': [0, end]}}).encode()
    many = b'{' + b','.join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(21_000)) + b'}'
    return {
        'claims a terabyte': header(b'{}', 1 << 40), 'claims all there can be': header(b'{}', 2**64 - 1), 'claims 100 MB': header(b'{}', 100_000_000), 'two megabytes of spaces': header(b' ' * (1 << 21)),
        'a shape of 2^80': header(entry([1 << 40, 1 << 40], 8), body=bytes(8)), 'a shape of a terabyte': header(entry([1 << 38], 1 << 40)), 'a shape that wraps round': header(entry([1 << 32, 1 << 32], 0)),
        'places of a terabyte': header(entry([2], 1 << 40), body=bytes(8)), '21,000 tensors': header(many), 'a million lists': header(b'[' + b'[],' * 340_000 + b'0]'), 'a deep list': header(b'[' * 1_000_000),
        'half a million numbers': header(b'{"w":[' + b'0,' * 500_000 + b'0]}'), 'a number of a million digits': header(b'{"w":' + b'9' * 1_000_000 + b'}'), 'a text of a megabyte': header(b'{"w":"' + b'a' * 1_000_000 + b'"}'),
        'a key of a megabyte': header(b'{"' + b'a' * 1_000_000 + b'":3}'), 'a shape of many axes': header(entry([1] * 90_000, 4), body=bytes(4)), 'escapes': header(b'{"w":"' + b'\\u0041' * 170_000 + b'"}'),
        'many objects': header(b'{"w":' + b'{"a":' * 150_000 + b'1' + b'}' * 150_000 + b'}'), 'many keys': header(b'{' + b','.join(b'"%d":0' % i for i in range(110_000)) + b'}'), 'an exponent': header(b'{"w":1e999999999}'),
    }  # fmt: skip


@row('S3', 'a header that claims too much is refused before memory is set aside', goal='all in 10 ms and 50 MB')
def s3(short: bool) -> dict:
    """Read files of at most 2 MB whose headers claim a terabyte, 2^80 numbers, a million lists: every one is refused; the
    processor time of the best of three tries, and the growth of the process over all of them. The short form judges no times."""
    from diffbook.store.files import read_header

    slowest, which, refused, files = 0.0, '', 0, headers()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / 'a.safetensors'
        for name, data in files.items():
            path.write_bytes(data)
            best = 1e9
            for _ in range(3):
                begin = time.process_time()
                try:
                    read_header(path)
                except ValueError:
                    refused += 1
                best = min(best, time.process_time() - begin)
            slowest, which = max((slowest, which), (best, name))
        before = peak()
        for data in files.values():
            path.write_bytes(data)
            with contextlib.suppress(ValueError):
                read_header(path)
        grown = (peak() - before) / 1e6
    figure = f'{refused // 3} of {len(files)} refused, at most {1e3 * slowest:.1f} ms, {grown:.0f} MB'
    return {
        'figure': figure,
        'met': refused == 3 * len(files) and (short or slowest < 0.010) and grown < 50,
        'n': len(files),
        'slowest': which,
        'refused': refused == 3 * len(files),
        'megabytes': grown,
    }


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


# S4: old checkpoints, which are programs


class Call:
    "An object whose pickle calls a function when it is read."

    def __init__(self, f: Callable, *args):
        self.f, self.args = f, args

    def __reduce__(self):
        return self.f, self.args


def zip_of(*records: tuple[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', packing) as archive:
        for name, data in records:
            archive.writestr(zipfile.ZipInfo(name), data, packing)
    return out.getvalue()


def named_call(module: str, name: str, argument: str) -> bytes:
    "A pickle, written by hand, that calls module.name(argument)."
    text = argument.encode()
    return b'\x80\x02c' + module.encode() + b'\n' + name.encode() + b'\nX' + struct.pack('<I', len(text)) + text + b'\x85R.'


def malicious(marker: Path) -> dict[str, bytes]:
    "Checkpoints that would write the file `marker`, use up the memory, or trick the reader; all inert but for that."
    import torch

    def saved(value, **how) -> bytes:
        out = io.BytesIO()
        torch.save(value, out, **how)
        return out.getvalue()

    touch, code = f'touch {marker}', f"open({str(marker)!r}, 'w').close()"
    good = saved({'w': torch.zeros(2)})
    inner = {n: zipfile.ZipFile(io.BytesIO(good)).read(n) for n in zipfile.ZipFile(io.BytesIO(good)).namelist()}
    table, data = next(n for n in inner if n.endswith('data.pkl')), next(n for n in inner if n.endswith('data/0'))
    rest = [(n, v) for n, v in inner.items() if n != table]
    laughs = {}
    for _ in range(40):
        laughs = {'a': laughs, 'b': laughs}
    return {
        'os.system': saved({'w': Call(os.system, touch)}), 'eval': saved(Call(eval, code)), 'exec': saved(Call(exec, code)), 'open': saved(Call(open, str(marker), 'w')), 'a subprocess': saved([Call(subprocess.call, ['touch', str(marker)])]),
        'in a list in a dictionary': saved({'a': {'b': [torch.zeros(1), Call(os.system, touch)]}}), 'mkdir': saved(Call(os.mkdir, str(marker))), 'a path that is made': saved(Call(Path.touch, marker)), 'in the old format': saved({'w': Call(os.system, touch)}, _use_new_zipfile_serialization=False),
        'a plain pickle': pickle.dumps(Call(os.system, touch)), 'protocol 0': pickle.dumps(Call(os.system, touch), 0), 'protocol 5': pickle.dumps({'a': Call(exec, code)}, 5), 'the oldest opcodes': b'cos\nsystem\n(S' + repr(touch).encode() + b'\ntR.',
        'by hand': zip_of((table, named_call('os', 'system', touch)), *rest), 'posix': zip_of((table, named_call('posix', 'system', touch)), *rest), 'runpy': zip_of((table, named_call('runpy', 'run_path', str(marker))), *rest),
        'torch.load within': zip_of((table, named_call('torch.serialization', 'load', str(marker))), *rest), 'torch.hub': zip_of((table, named_call('torch.hub', 'load', str(marker))), *rest),
        'an attribute of an attribute': zip_of((table, named_call('torch._utils', '_import_dotted_name', 'os.system')), *rest), 'numpy': zip_of((table, named_call('numpy', 'fromfile', str(marker))), *rest), 'a builtin by another name': zip_of((table, named_call('__builtin__', 'eval', code)), *rest),
        'two tables': zip_of((table, inner[table]), (table.replace('archive', 'other'), named_call('os', 'system', touch)), *rest) if 'archive' in table else zip_of((table, inner[table]), ('other/data.pkl', named_call('os', 'system', touch)), *rest),
        'a name that leads out': zip_of((f'../../../..{marker}', b'x'), (table, inner[table]), *rest), 'an absolute name': zip_of((str(marker), b'x'), (table, inner[table]), *rest),
        'a bomb': zip_of((table, inner[table]), (data, bytes(200 << 20)), packing=zipfile.ZIP_DEFLATED), 'TorchScript': zip_of(('archive/code/__torch__.py', b'def f():\n  return 1\n'), ('archive/constants.pkl', named_call('os', 'system', touch)), (table, inner[table])),
        'laughs': saved(laughs), 'a deep list': b'\x80\x02' + b']' * 100_000 + b'a' * 99_999 + b'.', 'a text of an exabyte': b'\x80\x04\x8e' + (1 << 60).to_bytes(8, 'little') + b'.', 'a view of a terabyte': saved({'w': torch.zeros(1).expand(1 << 38)}),
        'a tar': b''.join([b'pickle'.ljust(100, b'\0'), bytes(412)]) + named_call('os', 'system', touch).ljust(512, b'\0'), 'cut short': good[: len(good) // 2], 'a wrong number of bytes': zip_of((table, inner[table]), (data, b'1')),
    }  # fmt: skip


def in_a_child(work: Callable[[], dict], seconds: float = 600) -> dict:
    "Fork, do the work there under all limits, and hear what it says: what `python -I convert.py` does, without a new import of torch."
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ear)
        try:
            said = work()
        except BaseException as error:
            said = {'error': f'{type(error).__name__}: {error}'[:500]}
        os.write(mouth, json.dumps(said).encode())
        os._exit(0)
    os.close(mouth)
    timer = threading.Timer(seconds, lambda: os.kill(child, 9))
    timer.start()
    with open(ear, 'rb') as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    timer.cancel()
    return json.loads(text) if text else {'error': 'died'}


@row('S4', 'an old checkpoint is converted in a process that can do nothing else', goal='33 of 33 refused or harmless, no marker; a good one converted')
def s4(short: bool) -> dict:
    """Convert checkpoints that would call os.system, eval, open and others when read, in every format of torch, with tricks of
    pickles and of zip archives, bombs and views of a terabyte: none writes its marker, none leaves a file. In the short form
    each is read by the same function under the same limits in a forked child, and two go through the command line."""
    import torch

    from diffbook.store import convert

    good, wrong = 0, []
    with tempfile.TemporaryDirectory() as place, inside(place) as home:
        marker = home / 'marker'
        files = malicious(marker)
        for k, (name, data) in enumerate(files.items()):
            source, out = home / f'{k}.pt', home / f'{k}.safetensors'
            source.write_bytes(data)
            if short and k > 0:
                said = in_a_child(lambda: convert.work(source, out))  # noqa: B023
            else:
                said = refusal(lambda: convert.convert(source, out, seconds=600))  # noqa: B023
            ok = 'error' in said and not marker.exists() and {p.name for p in home.iterdir()} == {source.name}
            good += ok
            wrong += [] if ok else [f'{name}: {str(said)[:200]} {sorted(p.name for p in home.iterdir())}']
            for path in home.iterdir():
                path.unlink() if path.is_file() else path.rmdir()
        torch.save({'state_dict': {'a': torch.ones(3), 'b': torch.zeros(2, 2).half()}, 'epoch': 3}, home / 'good.ckpt')
        report = convert.convert(home / 'good.ckpt', home / 'good.safetensors', seconds=600)
        from safetensors.torch import load_file

        back = load_file(home / 'good.safetensors')
        kept = set(back) == {'a', 'b'} and bool((back['a'] == 1).all()) and report['tensors'] == 2
    return count(good, len(files), wrong=wrong, network=report['network'], good_one=kept) | ({} if kept else {'met': False})


def refusal(call: Callable) -> dict:
    try:
        return call()
    except (ValueError, OSError) as error:
        return {'error': str(error)[:500]}


# S5: bad servers

BODY = bytes(range(256)) * 40
LARGE = 64 << 20


def send(handler, status: int, body: bytes = b'', **headers) -> None:
    handler.send_response(status)
    for key, value in headers.items():
        handler.send_header(key.replace('_', '-'), value)
    handler.end_headers()
    handler.wfile.write(body)


def endless(handler, piece: bytes, pause: float = 0.0, head: bool = True) -> None:
    "Send a piece again and again for as long as somebody listens."
    if head:
        send(handler, 200)
    with contextlib.suppress(OSError):
        for _ in range(100_000):
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause)


def raw(handler, data: bytes) -> None:
    handler.wfile.write(data)


SERVERS: dict[str, Callable] = {
    'other bytes': lambda h: send(h, 200, bytes(len(BODY))), 'a wrong last byte': lambda h: send(h, 200, BODY[:-1] + b'x'), 'too short': lambda h: send(h, 200, BODY[:-1]), 'too long': lambda h: send(h, 200, BODY + b'x'), 'nothing': lambda h: send(h, 200),
    'cut off': lambda h: send(h, 200, BODY[:100], Content_Length=str(len(BODY))), 'a length that is too large': lambda h: send(h, 200, BODY[:-1], Content_Length=str(1 << 50)), 'HTML with 200': lambda h: send(h, 200, b'<html>sign in</html>', Content_Type='text/html'),
    'not found': lambda h: send(h, 404, BODY), 'an error': lambda h: send(h, 500, BODY), 'forbidden': lambda h: send(h, 403, b'no'), 'to http': lambda h: send(h, 302, Location=f'http://127.0.0.1:{h.server.server_port}/good'),
    'to a file': lambda h: send(h, 302, Location='file:///etc/passwd'), 'to ftp': lambda h: send(h, 301, Location='ftp://127.0.0.1/x'), 'to itself': lambda h: send(h, 307, Location='/again'), 'to nowhere': lambda h: send(h, 302, Location=''),
    'a gzip bomb': lambda h: send(h, 200, gzip.compress(bytes(1 << 24)), Content_Encoding='gzip'), 'without end': lambda h: endless(h, b'x' * 65536), 'slowly': lambda h: endless(h, b'x', 0.05), 'silent': lambda h: time.sleep(1.5),
    'no HTTP': lambda h: raw(h, b'hello, this is no HTTP\r\n\r\n'), 'a head without end': lambda h: endless(h, b'HTTP/1.1 200 OK\r\n' + b'X-A: ' + b'a' * 60_000 + b'\r\n', head=False), 'a chunk of nonsense': lambda h: raw(h, b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc'),
}  # fmt: skip


@contextlib.contextmanager
def server(answer: Callable) -> Iterator[str]:
    "A server on this machine, on a port of the system's choice."

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == '/good':
                send(self, 200, BODY)
            else:
                with contextlib.suppress(OSError):
                    answer(self)

        def log_message(self, *args):
            pass

    one = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    one.daemon_threads = True
    thread = threading.Thread(target=one.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{one.server_port}/'
    finally:
        one.shutdown()
        one.server_close()


@row('S5', 'a download is whole and what was meant, or leaves nothing', goal='23 of 23')
def s5(short: bool) -> dict:
    """Fetch a file of known length and digest from servers on this machine that send other bytes, too few, too many, without
    end, slowly or not at all, lead on to http, ftp or a file, answer with a page or a bomb or with no HTTP: an error that says so
    within 5 s, and nothing left on the disk. The patience of 30 s is set to 0.3 s. The same code takes the file from a good server."""
    from diffbook.store import downloads, sets

    good, wrong = 0, []
    name = 'a.bin'
    with fuzz.swapped(downloads, 'PATIENCE', 0.3), quiet():
        for title, behave in SERVERS.items():
            with tempfile.TemporaryDirectory() as place, server(behave) as url:
                entry = sets.Source('here', (url,), {name: (len(BODY), hashlib.sha256(BODY).hexdigest())}, ())
                with swapped_item(sets.SOURCES, 'here', entry):
                    begin = time.monotonic()
                    said = refusal(lambda: sets.fetch_data('here', place) and {})  # noqa: B023
                    seconds = time.monotonic() - begin
                left = list(Path(place).rglob('*'))
                ok = 'error' in said and not left and seconds < 20
                good += ok
                wrong += [] if ok else [f'{title}: {said} {left} {seconds:.1f} s']
        with tempfile.TemporaryDirectory() as place, server(lambda h: send(h, 200, BODY)) as url:
            entry = sets.Source('here', (url,), {name: (len(BODY), hashlib.sha256(BODY).hexdigest())}, ())
            with swapped_item(sets.SOURCES, 'here', entry):
                took = (sets.fetch_data('here', place) / name).read_bytes() == BODY
    return count(good, len(SERVERS), wrong=wrong, good_one=took) | ({} if took else {'met': False})


@contextlib.contextmanager
def swapped_item(table: dict, key: str, value) -> Iterator[None]:
    table[key] = value
    try:
        yield
    finally:
        del table[key]


# S6, S7, S8: archives, pictures and captions, paths


@row('S6', 'no archive writes, fills or fools', goal='all of 40 and more')
def s6(short: bool) -> dict:
    "Read archives with links, devices, names that lead out, bombs, wrong sizes and sums, as the data sets they claim to be; see tests/corpus.py."
    import corpus

    good, n, wrong = faults(corpus.ARCHIVES, 9 if short else 1)
    return count(good, n, wrong=wrong)


@row('S7', 'pictures and captions are what they say, and small enough', goal='all of 130 and more')
def s7(short: bool) -> dict:
    """Train on a folder with one bad picture (another format, truncated, of gigapixels, with bombs of text, of 81 scans) or one
    bad caption (no UTF-8, control characters, over 64 KiB); and see that no EXIF comes through to what is written."""
    import corpus

    good, n, wrong = faults(corpus.IMAGES | corpus.CAPTIONS, 20 if short else 1)
    return count(good, n, wrong=wrong, exif_dropped=no_exif()) | ({} if no_exif() else {'met': False})


def no_exif() -> bool:
    "Whether a picture with EXIF data is read as its pixels, and written without."
    import numpy
    from PIL import Image

    from diffbook.data import read_image, save_images

    with tempfile.TemporaryDirectory() as place:
        exif = Image.Exif()
        exif[0x010E], exif[0x8825] = 'a secret', {1: 'N', 2: (1.0, 2.0, 3.0)}
        Image.fromarray(numpy.zeros((8, 8, 3), numpy.uint8)).save(Path(place) / 'a.jpg', exif=exif)
        there = b'a secret' in (Path(place) / 'a.jpg').read_bytes()
        save_images(read_image(Path(place) / 'a.jpg', 8).float()[None] / 127.5 - 1, Path(place) / 'b.png')
        with Image.open(Path(place) / 'b.png') as written:
            return there and not written.getexif() and b'secret' not in (Path(place) / 'b.png').read_bytes()


@row('S8', 'no name leads out of its folder', goal='all of 60 and more')
def s8(short: bool) -> dict:
    "Name files by .., absolute paths, other systems' paths, NUL, devices, addresses and thousands of letters, in the index of a model and on the command line."
    import corpus

    good, n, wrong = faults(corpus.PATHS, 6 if short else 1)
    return count(good, n, wrong=wrong)


# S9: the network

ALONE = """
import sys, json
seen = []
def hook(event, args):
    if event.startswith('socket.') and event != 'socket.gethostname':
        seen.append(event)
sys.addaudithook(hook)
import pkgutil, importlib, pathlib, tempfile, os, runpy
os.chdir(tempfile.mkdtemp())
import diffbook
for module in pkgutil.walk_packages(diffbook.__path__, 'diffbook.'):
    if module.name not in ('diffbook.demo', 'diffbook.convert', 'diffbook.store.convert') and '.exercises.' not in module.name:
        importlib.import_module(module.name)
from diffbook import cli
def ask(*argv):
    try: cli.main(list(argv))
    except SystemExit as stop: assert stop.code == 0, (argv, stop.code)
import numpy
from PIL import Image
os.mkdir('photos')
for k in range(4): Image.fromarray(numpy.full((8, 8, 3), 50 * k, numpy.uint8)).save(f'photos/{k}.png')
ask('train', '--data', 'photos', '--size', '8', '--width', '8', '--steps', '2', '--batch-size', '2', '--out', 'run')
ask('train', '--data', 'photos', '--size', '8', '--width', '8', '--steps', '2', '--batch-size', '2', '--out', 'run', '--resume')
ask('sample', 'run', '--n', '1', '--steps', '1', '--out', 'x.png')
ask('sample', 'shapes', '--n', '1', '--steps', '1', '--prompt', 'a small red circle', '--out', 'y.png')
ask('data')
print()
print(json.dumps(sorted(set(seen))))
"""


@row('S9', 'no socket is opened unless asked', goal='0 sockets, with and without a network')
def s9(short: bool) -> dict:
    """Import every module, train, resume, sample with and without a prompt and list data sets under an audit hook that counts
    every event of sockets; then the same in a network namespace that is empty, where the system lets us make one."""
    call = [sys.executable, '-c', ALONE]
    runs = {'with a network': call}
    if subprocess.run(['unshare', '-n', 'true'], capture_output=True).returncode == 0 if which('unshare') else False:
        runs['without'] = ['unshare', '-n', *call]
    if short:
        runs = dict(list(runs.items())[-1:])
    said = {}
    for name, command in runs.items():
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | QUIET | {'PYTHONPATH': str(ROOT)})
        said[name] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else [f'failed: {done.stderr[-300:]}']
    events = [e for found in said.values() for e in found]
    return {'figure': f'{len(events)} sockets, {len(runs)} runs', 'met': not events, 'n': len(runs), 'events': events, 'runs': list(runs)}


def which(name: str) -> str | None:
    import shutil

    return shutil.which(name)


# S11, S12: what others run for us


@row('S11', 'actions are named by commit, and the wheel is the same each time', goal='0 actions by name; equal bytes')
def s11(short: bool) -> dict:
    "Read every workflow for actions that are not named by a commit of 40 digits; at full length build the wheel twice and compare digests."
    loose = []
    for path in sorted((ROOT / '.github' / 'workflows').glob('*.yml')):
        loose += [f'{path.name}: {use}' for use in re.findall(r'uses:\s*(\S+)', path.read_text()) if not re.search(r'@[0-9a-f]{40}$', use)]
    same = None if short else wheel() == wheel()
    return {
        'figure': f'{len(loose)} by name' + ('' if short else f', wheels {"equal" if same else "differ"}'),
        'met': not loose and same is not False,
        'n': 1,
        'loose': loose,
    }


def wheel() -> str:
    "The digest of a wheel built from a copy of the tracked files."
    with tempfile.TemporaryDirectory() as place:
        names = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split('\0')
        for name in filter(None, names):
            path = Path(place) / 'source' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((ROOT / name).read_bytes())
        env = os.environ | {'SOURCE_DATE_EPOCH': '1600000000'}
        subprocess.run(
            [sys.executable, 'setup.py', '-q', 'bdist_wheel', '--dist-dir', f'{place}/dist'],
            cwd=Path(place) / 'source',
            check=True,
            capture_output=True,
            env=env,
        )
        (built,) = Path(place, 'dist').glob('*.whl')
        return hashlib.sha256(built.read_bytes()).hexdigest()


SECRETS = re.compile(
    r'AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}|hf_[A-Za-z]{34}|-----BEGIN [A-Z ]*PRIVATE KEY-----|xox[baprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}'
)


@row('S12', 'notebooks hold no script of strangers and no secret', goal='0 hits')
def s12(short: bool) -> dict:
    "Look through the outputs of all notebooks for scripts, frames and JavaScript, and through notebooks, package, tools and tests for keys and tokens."
    found = []
    for path in sorted((ROOT / 'nbs').glob('*.ipynb')):
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            for out in cell.get('outputs', ()):
                kinds = set(out.get('data', {}))
                text = json.dumps(out.get('data', {}).get('text/html', ''))
                if 'application/javascript' in kinds or re.search(r'<(script|iframe|object|embed)\b|\bon(load|error|click)=', text, re.I):
                    found.append(f'{path.name} {cell.get("id")}: a script')
    for folder in ('nbs', 'diffbook', 'tools', 'tests', 'benchmarks', '.github'):
        for path in sorted((ROOT / folder).rglob('*')):
            if path.suffix in ('.py', '.ipynb', '.yml', '.md', '.json', '.sh', '.txt', '.toml') and SECRETS.search(path.read_text(encoding='utf-8')):
                found.append(f'{path.relative_to(ROOT)}: a secret')
    return {'figure': f'{len(found)} hits', 'met': not found, 'n': 1, 'hits': found[:10]}
