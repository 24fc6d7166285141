"""Turn an old checkpoint into safetensors. It is a pickle, which can run code when it is read: so a process of its own
reads it, which may do that and nothing else. This is the one file of the package that calls `torch.load`.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

OLDEST = (2, 10)  # of torch: before, weights_only could be got round
MOST, DEPTH = 100_000, 32  # things in a file, and how deeply they may lie in each other
SPARE = 1 << 30  # bytes of memory beyond four times the file
ENDINGS = ('.pt', '.pth', '.bin', '.ckpt', '.pkl', '.pickle')
HEAD = 1 << 24  # bytes at the front of an old file in which its names are looked for; the numbers come after them
STUBBED = (  # modules whose classes a training run leaves beside its tensors: each becomes an empty stub, and none is imported
    'pytorch_lightning', 'lightning', 'lightning_fabric', 'lightning_lite', 'lightning_utilities', 'torchmetrics', 'omegaconf', 'argparse', 'pathlib',
    'numpy.core.multiarray', 'numpy._core.multiarray', 'numpy.dtype', 'numpy.dtypes', 'numpy.ndarray', 'numpy.random', 'torch.optim', 'torch.torch_version',
    'datetime', 'decimal', 'fractions', 'uuid', 'enum', 'typing', 'collections', 'copyreg', 'functools.partial', 'transformers.training_args',
    'transformers.trainer_utils', *(f'builtins.{n}' for n in ('object', 'frozenset', 'range', 'slice', 'list', 'dict', 'tuple', 'int', 'float', 'str', 'bool', 'bytes')),
)  # fmt: skip
FILLED = {'collections.defaultdict': dict, 'AttributeDict': dict, 'easydict.EasyDict': dict, 'collections.deque': list}  # ends of names -> what is filled in place of them
OLDER = {'copy_reg': 'copyreg', '__builtin__': 'builtins', 'xrange': 'range', 'unicode': 'str', 'long': 'int'}  # names of Python 2, which pickles still use
FORBIDDEN = (
    'socket', 'subprocess', 'shutil', 'ctypes', 'pickle', 'marshal', 'exec', 'compile', 'import', 'tempfile', 'glob', 'sys', 'signal', 'syslog', 'resource',
    'os.system', 'os.exec', 'os.fork', 'os.posix_spawn', 'os.spawn', 'os.startfile', 'os.kill', 'os.remove', 'os.rename', 'os.mkdir', 'os.rmdir', 'os.chmod',
    'os.chown', 'os.link', 'os.symlink', 'os.truncate', 'os.chdir', 'os.putenv', 'os.unsetenv', 'os.listdir', 'os.scandir', 'os.utime',
)  # fmt: skip


# Here: what the library and the command line call


def convert(
    source: str | Path,  # a .pt, .pth, .bin or .ckpt file
    out: str | Path,  # a .safetensors file; one that is there is replaced, whole
    *,
    part: str | None = None,  # which dictionary of the file; None: its state_dict, or all of it
    seconds: float = 600,  # to wait
) -> dict[str, Any]:  # tensors, bytes, what was left out, and what kept the network away
    "Read an old checkpoint in a process that may do nothing else, and write its tensors."
    from diffbook.store.files import read_header, replacing  # here, and not above: the process below imports nothing of the package

    source, out = Path(source), Path(out)
    if not source.is_file():
        raise FileNotFoundError(f'{source} is not there, or is no file')
    if source.suffix not in ENDINGS:
        raise ValueError(f'{source} is no old checkpoint, expected one of {", ".join(ENDINGS)}')
    if out.suffix != '.safetensors' or out.is_dir():
        raise ValueError(f'the output is {out}, expected a file that ends in .safetensors')
    if not out.parent.is_dir():
        raise FileNotFoundError(f'{out.parent} is not there; expected the folder of {out.name}')
    with replacing(out) as temporary:
        report = _ask(source, temporary, part, seconds)
        _, spans = read_header(temporary)  # the process is believed no more than the file
    return report | {'tensors': len(spans)}


def _ask(source: Path, target: Path, part: str | None, seconds: float) -> dict[str, Any]:
    "Start the process and hear what it says."
    keep = ('PATH', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'SYSTEMROOT', 'TMPDIR')
    env = {k: os.environ[k] for k in keep if k in os.environ} | {'OMP_NUM_THREADS': '1', 'PYTHONDONTWRITEBYTECODE': '1'}
    call = [sys.executable, '-I', __file__, str(source.absolute()), str(target.absolute()), *([part] if part else [])]
    try:
        done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=env, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(f'{source} could not be converted: it was not read within {seconds:g} seconds') from None
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = {'error': f'the process that read it ended with code {done.returncode}, as if something in it had broken out or used too much'}
    if 'error' in said or done.returncode != 0:
        raise ValueError(f'{source} could not be converted: {said.get("error", done.returncode)}')
    return said


# There: the process


def _no_network() -> str:
    "Leave the network, where the system lets us; say what keeps it away."
    import ctypes

    with suppress(OSError, AttributeError):
        for flags in (0x40000000, 0x50000000):  # a network of our own, as root or with users of our own
            if ctypes.CDLL(None).unshare(flags) == 0:
                return 'a network of its own, which is empty'
    return 'a hook that refuses sockets'


def _check_zip(path: Path) -> None:
    "Refuse an archive that torch did not write like this."
    with path.open('rb') as file:
        if file.read(2) != b'PK':
            return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    names = [e.filename for e in entries]
    if len(names) > MOST or len(set(names)) < len(names):
        raise ValueError(f'the archive has {len(names)} entries, of {len(set(names))} names')
    if strange := [n for n in names if n.startswith(('/', '\\')) or '..' in n.split('/') or '\\' in n or '\0' in n or ':' in n]:
        raise ValueError(f'the archive names {strange[0]!r}')
    if any(e.compress_type != zipfile.ZIP_STORED or e.file_size != e.compress_size for e in entries):
        raise ValueError('the archive is compressed, which torch never does')
    if sum(e.file_size for e in entries) > path.stat().st_size:
        raise ValueError('the archive holds more than its own size')
    if any('/code/' in n or n.endswith('constants.pkl') for n in names):
        raise ValueError('it is a program (TorchScript), which no stranger should run here; ask whoever made it for the state_dict() of the model')
    if sum(n.endswith('data.pkl') for n in names) != 1:
        raise ValueError('the archive holds not one table of tensors')


def _limit(size: int) -> None:
    "Take from this process what the conversion of so many bytes does not need."
    import resource
    import signal

    pages = int(Path('/proc/self/statm').read_text().split()[0]) if os.path.exists('/proc/self/statm') else 1 << 21
    used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    wanted = {
        'RLIMIT_AS': pages * resource.getpagesize() + 4 * size + SPARE, 'RLIMIT_CPU': used + 60 + size // 10_000_000,
        'RLIMIT_FSIZE': 2 * size + (1 << 20), 'RLIMIT_CORE': 0, 'RLIMIT_NPROC': 0,
    }  # fmt: skip
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails with a message
    for name, value in wanted.items():
        with suppress(ValueError, OSError, AttributeError):  # macOS bounds no memory
            resource.setrlimit(getattr(resource, name), (value, value))


def _watch(source: Path) -> list[str]:
    "Refuse, from now on and for ever, all that reading a checkpoint does not need; the list holds what was tried."
    tried: list[str] = []

    def hook(event: str, args: tuple) -> None:
        if event == 'open':
            writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if not writes and os.fspath(args[0]) == str(source):
                return
        elif not event.startswith(FORBIDDEN):
            return
        tried.append(event)
        raise RuntimeError(f'the file asks for {event}, which a checkpoint has no need of')

    sys.addaudithook(hook)
    return tried


class Inert:
    "Stand where an object stood that is not wanted: take anything, keep nothing, do nothing."

    __slots__ = ()

    def __new__(cls, *args: Any) -> 'Inert':
        return object.__new__(cls)

    def __init__(self, *args: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _stub(name: str) -> type:
    "An empty class of this name; in place of a dictionary or list of some kind it gives an ordinary one."
    plain = next((kind for end, kind in FILLED.items() if name.endswith(end)), None)
    more = {} if plain is None else {'__new__': lambda cls, *args: plain()}
    return type(name.rpartition('.')[2], (Inert,), {'__slots__': (), **more})


def _stubs(source: Path) -> list[tuple[type, str]]:
    "An empty class for each name on the list that the file mentions; the names are looked for in its bytes, and nothing is built."
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            data = archive.read(next(n for n in archive.namelist() if n.endswith('data.pkl')))
    else:
        with source.open('rb') as file:
            data = file.read(HEAD)
    found = re.findall(rb'(?=c([A-Za-z_][\w.]{0,99})\n([A-Za-z_][\w.]{0,99})\n)', data)  # at every letter: a mark of the format can look like one
    names = {f'{OLDER.get(module, module)}.{OLDER.get(name, name)}' for module, name in ((m.decode(), n.decode()) for m, n in found)}
    return [(_stub(name), name) for name in sorted(names) if any(name == known or name.startswith(known + '.') for known in (*STUBBED, *FILLED))]


def _tensors(value: Any, name: str = '', depth: int = 0) -> Iterator[tuple[str, Any]]:
    "All that a checkpoint holds, by name: a dictionary in a dictionary has names with dots."
    if depth > DEPTH:
        raise ValueError(f'it holds things in things, {DEPTH} deep and more')
    if isinstance(value, Mapping):
        for key, inner in value.items():
            key = key.__name__ if isinstance(key, type) else key
            yield from _tensors(inner, f'{name}.{key}' if name else str(key), depth + 1)
    elif isinstance(value, (list, tuple)):
        for key, inner in enumerate(value):
            yield from _tensors(inner, f'{name}.{key}' if name else str(key), depth + 1)
    else:
        yield name, value


def _choose(loaded: Any, part: str | None) -> Any:
    if part is None:
        return loaded['state_dict'] if isinstance(loaded, Mapping) and isinstance(loaded.get('state_dict'), Mapping) else loaded
    if not isinstance(loaded, Mapping) or part not in loaded:
        held = ', '.join(str(k) for k in list(loaded)[:20]) if isinstance(loaded, Mapping) else type(loaded).__name__
        raise ValueError(f'it holds no part {part!r}; it holds {held}')
    return loaded[part]


def _gather(loaded: Any, part: str | None, size: int) -> tuple[dict[str, Any], list[str]]:
    "The tensors of a checkpoint, each in memory of its own, and the names of what is none."
    import torch

    found, left, total = {}, [], 0
    for k, (name, value) in enumerate(_tensors(_choose(loaded, part))):
        if k >= MOST:
            raise ValueError(f'it holds more than {MOST:,} things')
        if not isinstance(value, torch.Tensor):
            left.append(name)
            continue
        if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
            raise ValueError(f'{name} is {value.dtype}, {value.layout}; expected plain tensors')
        total += value.numel() * value.element_size()
        if total > 4 * size + (1 << 20) or name in found:
            raise ValueError(f'at {name} its tensors come to {total:,} bytes or a name stands twice, and the file has {size:,} bytes')
        found[name] = value.detach().clone(memory_format=torch.contiguous_format)
    if not found:
        raise ValueError('it holds no tensor' + f'; left out were {", ".join(left[:20])}' * bool(left))
    return found, left


def work(source: Path, target: Path, part: str | None = None) -> dict[str, Any]:
    "Read and write, under all limits; what this process was is over afterwards."
    network = _no_network()
    import encodings.latin_1  # noqa: F401  # in which old pickles keep bytes
    import io
    import warnings

    import torch
    from safetensors.torch import save, save_file

    if tuple(int(n) for n in torch.__version__.split('.')[:2]) < OLDEST:
        raise ValueError(f'torch is {torch.__version__}, expected at least {".".join(map(str, OLDEST))}: older ones could be tricked')
    warnings.simplefilter('ignore')
    for zipped in (True, False):  # import now what reading imports
        buffer = io.BytesIO()
        torch.save({'w': torch.zeros(1), 'h': torch.zeros(1).half()}, buffer, _use_new_zipfile_serialization=zipped)
        buffer.seek(0)
        save(torch.load(buffer, map_location='cpu', weights_only=True))
    size = source.stat().st_size
    _check_zip(source)
    _limit(size)
    torch.serialization.add_safe_globals(_stubs(source))
    tried = _watch(source)
    try:
        loaded = torch.load(str(source), map_location='cpu', weights_only=True)
    except Exception as error:
        raise ValueError(_short(error)) from None
    if tried:
        raise ValueError(f'the file asks for {tried[0]}, which a checkpoint has no need of')
    tensors, left = _gather(loaded, part, size)
    save_file(tensors, target, {'format': 'pt'})
    return {'bytes': sum(v.numel() * v.element_size() for v in tensors.values()), 'left': left[:20], 'network': network}


def _short(error: BaseException) -> str:
    "What is worth saying of an error of torch."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if 'WeightsUnpickler error' in line or 'GLOBAL' in line or 'Unsupported' in line]
    return f'{type(error).__name__}: {(told or lines or ["no reason given"])[0][:300]}'


def main() -> None:
    try:
        said = work(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
    except BaseException as error:
        said = {'error': str(error) if isinstance(error, ValueError) and str(error) else _short(error)}
    sys.stdout.write(json.dumps(said) + '\n')
    sys.stdout.flush()
    os._exit('error' in said)  # nothing of what was read is called on the way out


if __name__ == '__main__':
    main()
