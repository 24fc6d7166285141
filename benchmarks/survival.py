"""Rows on training that survives: kills, crashes, full disks, damage, numbers that are no numbers, signals, rivals, and time.

The training that suffers all this is that of tests/test_training.py: a small network with everything that a checkpoint
can lose (dropout, running statistics, an integer buffer, tied weights), AdamW, warm-up, clipping, averaged weights.
"""

import contextlib
import errno
import hashlib
import json
import logging
import math
import mmap
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count as numbers
from itertools import islice, product
from pathlib import Path

import torch
from safetensors.torch import save as tensor_bytes
from torch import nn

from benchmarks.reliability import ROOT, count, read, row
from diffbook import training
from diffbook.core import Rows, draw_rows, generator, seeded_noise, uniform
from diffbook.data import batches
from diffbook.losses import Denoiser, training_loss
from diffbook.predictions import predict_v
from diffbook.samplers import ancestral, ddim, euler, heun, sample, uniform_times
from diffbook.scale import in_parts
from diffbook.schedules import CosineSchedule
from diffbook.store import checkpoints as checkpoint_files
from diffbook.store.checkpoints import read_checkpoint
from diffbook.training import Trainer, checkpoints, read_model, save

sys.path.insert(0, str(ROOT / 'tests'))  # the rows call what the tests call, and write nothing twice
import test_training as lesson  # noqa: E402
from test_training import bits, snapshot  # noqa: E402

UPDATES, BATCH = 96, 4  # three epochs of 32 batches
DATA = uniform(0, 'rows', 0, range(UPDATES * BATCH // 3), (3,)).float()


def loss(net: nn.Module, x: torch.Tensor, generator: torch.Generator | Rows) -> torch.Tensor:
    noise = draw_rows(lambda n, g: torch.randn(n, 3, generator=g), len(x), generator)
    return (net(x + 0.3 * noise) - noise).square().mean(1)


def begin(**settings) -> Trainer:
    "The trainer of most rows: everything on that can be lost, and each batch in two parts."
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        net = lesson.Net()
    given = {'warmup': 5, 'total': UPDATES, 'seed': 7, 'device': 'cpu', 'ema': 0.9, 'weight_decay': 0.01, 'backward': in_parts(2)}
    return Trainer(net, loss, **given | settings)


def stream(trainer: Trainer, until: int = UPDATES) -> Iterator:
    return islice(batches(DATA, BATCH, trainer.seed, trainer.step), until - trainer.step)


def go(trainer: Trainer, until: int = UPDATES, **options) -> Trainer:
    for _ in trainer.fit(stream(trainer, until), **options):
        pass
    return trainer


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def fork(work: Callable[[], object]) -> int:  # the child's number
    "Run `work` in a child that has all our imports already, and end it as the interpreter would."
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int, limit: float = 3600.0) -> int | None:  # exit code, minus the signal, or None if it still runs then
    end = time.monotonic() + limit
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.0005)


# R1: kills


class Board:
    "What a child is at, for those who come after its death: two numbers in a file that both have mapped."

    PHASES = ('starting', 'updating', 'saving')

    def __init__(self, path: Path):
        if not path.exists():
            path.write_bytes(bytes(16))
        with path.open('r+b') as file:
            self.page = mmap.mmap(file.fileno(), 16)

    def set(self, step: int, phase: int) -> None:
        self.page[:16] = struct.pack('qq', step, phase)

    def get(self) -> tuple[int, str]:
        step, phase = struct.unpack('qq', self.page[:16])
        return step, self.PHASES[phase]


def train_watched(folder: Path, board: Path) -> None:
    "Train into a folder to the end, and keep the board up to date."
    board, trainer, write = Board(board), begin(), checkpoint_files.write_whole
    board.set(0, 0)

    def writing(*args):
        board.set(trainer.step, 2)
        write(*args)
        board.set(trainer.step, 1)

    checkpoint_files.write_whole = writing
    trainer.resume(folder)
    board.set(trainer.step, 1)
    for step in trainer.fit(stream(trainer), folder, every=3):
        board.set(step.step, 1)


@row('R1', 'a training killed with SIGKILL at any moment goes on to the same bits', goal='200 of 200')
def r1(short: bool, seed: int) -> dict:
    """Train 96 updates with averaged weights, dropout, warm-up, AdamW and each batch in two parts, a checkpoint every
    third; kill the process after a random share of the time a run takes, start it again, until it is done; compare the
    sha256 of sorted weights, averages and moments with that of a run that nobody disturbed. 20 of the processes
    start from nothing, imports and all; the others are forked from one that has imported PyTorch."""
    want, parts = bits(go(begin())), 1 if short else 4  # so many trainings side by side
    kills, fresh = (20, 0) if short else (50, 5)
    with scratch() as root:
        children = []
        for part in range(parts):
            delays = uniform(seed, f'kills {part}', 0, range(20 * kills)).tolist()
            (here := root / str(part)).mkdir()
            children.append(fork(partial(kill_training, here, kills, fresh, delays, want)))
        assert [wait(child) for child in children] == [0] * parts
        found = [json.loads((root / str(part) / 'found').read_text()) for part in range(parts)]
    good, runs, log = (sum(column, start) for column, start in zip(zip(*found), (0, 0, [])))
    return count(good, kills * parts, finished_runs=runs, kills=log, updates=UPDATES)


def kill_training(root: Path, kills: int, fresh: int, delays: list[float], want: str) -> None:
    "Kill trainings until there were so many kills; write down how many led to equal bits, how many runs ended, what the kills hit."
    folder, board, log, spans, good, run, runs = root / 'run', root / 'board', [], {}, 0, 0, 0
    code = f'from pathlib import Path; from benchmarks.survival import train_watched; train_watched(Path({str(folder)!r}), Path({str(board)!r}))'
    start = lambda apart: subprocess.Popen([sys.executable, '-c', code], cwd=ROOT).pid if apart else fork(partial(train_watched, folder, board))
    for apart in (False, True)[: 1 + bool(fresh)]:
        begun = time.monotonic()
        assert wait(start(apart)) == 0, 'the undisturbed run failed'
        spans[apart] = time.monotonic() - begun
        shutil.rmtree(folder)
    for delay in delays:
        apart, last = len(log) < fresh, len(log) == kills
        Board(board).set(0, 0)
        child = start(apart)
        ended = wait(child) if last else wait(child, 0.6 * delay * spans[apart])
        if ended is None:
            os.kill(child, signal.SIGKILL)
            ended = wait(child)  # 0 if it was done a moment before
        if ended == -signal.SIGKILL:
            log.append([*Board(board).get(), 'fresh' if apart else 'forked'])
            run += 1
            continue
        assert ended == 0, f'the trainer ended with {ended}'
        trainer = begin()
        same = trainer.resume(folder) and trainer.step == UPDATES and bits(trainer) == want
        good, run, runs = good + run * same, 0, runs + 1
        trainer.save(folder)
        assert len(checkpoints(folder)) == 2 and not list(folder.glob('*.tmp')), 'temporary files are left'
        shutil.rmtree(folder)
        if last:
            break
    (root / 'found').write_text(json.dumps([good, runs, log]))


# R2: every prefix of a save


def prefixes(folder: Path, data: str, renames: str) -> list[int]:  # the step that was found after each prefix
    "Cut a save before each of its operations, lose what a power cut may lose, and see what opens."
    states, found = {}, []
    trainer = begin()
    for step in (4, 5):
        go(trainer, step).save(folder)
        states[step] = bits(trainer)
    kept = snapshot(folder)
    states[6] = bits(go(trainer, 6))
    import pytest

    for fatal in numbers(1):
        shutil.rmtree(folder)
        folder.mkdir()
        for name, content in kept.items():
            (folder / name).write_bytes(content)
            os.utime(folder / name, (fatal, fatal))
        with pytest.MonkeyPatch.context() as patches:
            disk, died = lesson.Disk(patches, fatal), False
            try:
                trainer.save(folder)
            except lesson.Killed:
                died = True
        for path in folder.iterdir():
            if path.stat().st_ino in disk.loose and data != 'kept':
                os.truncate(path, path.stat().st_size // 2 if data == 'half' else 0)
        for path, before in disk.renamed if renames == 'lost' else []:
            path.unlink() if before is None else path.write_bytes(before)
        again = begin()
        assert again.resume(folder), f'nothing opens after operation {fatal}'
        assert bits(again) == states[again.step], f'what opens after operation {fatal} is mixed'
        again.save(folder)
        assert not list(folder.glob('*.tmp')), 'a temporary file outlives the next save'
        found.append(again.step)
        if not died:
            return found


CALLS = '?open,openat,write,pwrite64,fsync,?rename,renameat,?renameat2,?unlink,unlinkat,ftruncate,fcntl'


def traced_save(folder: Path, trainer: Trainer, log: Path, *fatal: str) -> int | None:
    "Save in a child under strace, which may inject a kill; give how the child ended, or None where strace may not attach."
    go_on, told = os.pipe()
    child = fork(lambda: os.read(go_on, 1) and trainer.save(folder))
    words = ['strace', '-p', str(child), '-y', '-o', str(log), '-e', f'trace={CALLS}', *fatal]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    said = tracer.stderr.readline()
    os.write(told, b'x')
    ended = wait(child)
    tracer.wait()
    for handle in (go_on, told):
        os.close(handle)
    tracer.stderr.close()
    return ended if 'attached' in said else None


@row('R2', 'a save that stops anywhere leaves the old checkpoint or the new one', goal='every prefix')
def r2(short: bool) -> dict:
    """Cut a save before each of its operations on the disk (open, the halves of the write, flush, fsync, rename, fsync of
    the folder, unlink) and open what is left, for six fates of what was not synced: bytes kept, halved or lost, renames
    kept or lost. At full length also let the kernel kill the process at each system call of a save (strace)."""
    fates, good, found = list(product(('kept', 'half', 'lost'), ('kept', 'lost'))), 0, []
    with scratch() as root:
        for data, renames in fates[-1:] if short else fates:
            found.append(prefixes(root / data / renames, data, renames))
            assert set(found[-1]) == {5, 6}, 'the cuts fall before and after the save'
            good += len(found[-1])
        killed, calls = (None, []) if short or not shutil.which('strace') else killed_saves(root)
    return count(good + (killed or 0), good + (killed or 0), cuts=found, killed_by_the_kernel=killed, calls=calls)


def killed_saves(root: Path) -> tuple[int | None, list[str]]:  # kills, the system calls of a save
    "Let the kernel kill a save at each of its system calls, and open what is left."
    states, trainer, folder = {}, begin(), root / 'kernel'
    for step in (4, 5):
        go(trainer, step).save(folder)
        states[step] = bits(trainer)
    kept = snapshot(folder)
    states[6] = bits(go(trainer, 6))

    def save_again(*fatal: str) -> int | None:
        shutil.rmtree(folder)
        folder.mkdir()
        for name, content in kept.items():
            (folder / name).write_bytes(content)
        return traced_save(folder, trainer, root / 'log', *fatal)

    if save_again() is None:
        return None, []
    calls = [found[0] for line in (root / 'log').read_text().splitlines() if (found := re.match(r'\w+(?=\()', line))]
    for i, name in enumerate(calls):
        ended = save_again('-e', f'inject={name}:signal=KILL:when={calls[: i + 1].count(name)}')
        assert ended == -signal.SIGKILL, f'killed at {name}, the child ended with {ended}'
        again = begin()
        assert again.resume(folder) and bits(again) == states[again.step], f'after system call {i}, {name}'
        again.save(folder)
        assert not list(folder.glob('*.tmp'))
    return len(calls), calls


# R3: a full disk


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    "A file system of so many bytes at `folder`; False where we may not mount one."
    folder.mkdir(parents=True, exist_ok=True)
    done = shutil.which('mount') and subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'none', folder], capture_output=True)
    try:
        yield bool(done) and done.returncode == 0
    finally:
        if done and done.returncode == 0:
            subprocess.run(['umount', folder], check=True)


class Wide(nn.Module):
    "A network whose checkpoint fills some fifty pages."

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(100, 110)

    def forward(self, x):
        return self.layer(x)


def wide() -> Trainer:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Trainer(Wide(), lambda net, x, generator: net(x).square().mean(1), device='cpu', seed=3)


def refused(trainer: Trainer, folder: Path, number: int) -> bool | None:  # None: there was room
    "Does a save that finds no room say so with path, needed and free bytes, and leave the folder as it was?"
    before = snapshot(folder)
    try:
        trainer.save(folder)
    except OSError as error:
        said = str(error)
        names = f'step-{trainer.step:09d}' in str(error.filename) and error.errno == number
        return bool(names and re.search(r'[\d,]+ bytes were needed, [\d,]+ are free', said) and snapshot(folder) == before)
    return None


@row('R3', 'a full disk never costs the last checkpoint', goal='264 of 264')
def r3(short: bool) -> dict:
    """Save onto a file system (tmpfs) of each of 64 sizes around the need, and under a limit on the size of a file
    (RLIMIT_FSIZE) at each of 200 offsets. Either the save is done, or the error names the path and the bytes that were
    needed and are free; then the last checkpoint opens to its bits, and no temporary file is left. In the short form 20
    offsets and no file system."""
    trainer, batch = wide(), uniform(0, 'wide', 0, range(4), (100,)).float()
    trainer.update(batch)
    old = bits(trainer)
    good = n = fitted = 0
    with scratch() as root:
        need = trainer.save(root / 'first').stat().st_size
        (first,) = checkpoints(root / 'first')
        trainer.update(batch)
        new = bits(trainer)
        for limit in [round(i * (need - 1) / 199) for i in range(0, 200, 10 if short else 1)]:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                fine = refused(trainer, root / 'first', errno.EFBIG)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            again = wide()
            good, n = good + bool(fine and again.resume(root / 'first') and bits(again) == old), n + 1
        page = os.sysconf('SC_PAGE_SIZE')
        pages = -(-need // page)
        for extra in range(0 if short else 64):
            with small_disk(root / 'disk', (pages + 1 + extra) * page) as mounted:
                if not mounted:
                    break
                shutil.copy(first, root / 'disk')
                (root / 'disk' / '.writer').touch()
                fine, again = refused(trainer, root / 'disk', errno.ENOSPC), wide()
                fits = fine is None
                fine = (fits or fine) and again.resume(root / 'disk') and bits(again) == (new if fits else old)
                good, n, fitted = good + fine, n + 1, fitted + fits
    return count(good, n, sizes=n - (20 if short else 200), sizes_that_fit=fitted, bytes_needed=need)


# R4: damage


def damage(data: bytes, path: Path, look: Callable[[], bool], flips: int, cuts: int, seed: int) -> int:  # how many were silent
    "Flip bits and cut lengths at random; count after how many of them `look` sees nothing wrong."
    silent = 0
    where = (uniform(seed, 'flips', 0, range(flips)) * 8 * len(data)).long().tolist()
    ends = (uniform(seed, 'cuts', 0, range(cuts)) * len(data)).long().tolist()
    for bit in where:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        silent += look()
    for end in ends:
        path.write_bytes(data[:end])
        silent += look()
    path.write_bytes(data)
    assert look(), 'the whole file opens'
    return silent


@row('R4', 'a damaged file is found, and the one before it is used', goal='0 silent')
def r4(short: bool, seed: int) -> dict:
    """Flip 10,000 single bits of a checkpoint and cut it at 1,000 lengths, and do the same to a published model. Silent
    is what opens with other contents. A run then falls back to the checkpoint before, and says so."""
    flips, cuts = (200, 20) if short else (10_000, 1_000)
    with scratch() as root:
        trainer = begin()
        go(trainer, 9).save(root / 'run')
        back = bits(trainer)
        path = go(trainer, 12).save(root / 'run')

        def opens() -> bool:
            try:
                read_checkpoint(path)
            except ValueError:
                return False
            return True

        silent = damage(path.read_bytes(), path, opens, flips, cuts, seed)
        torch.manual_seed(0)
        save(root / 'model', lesson.Small(), {'name': 'x'})
        file, (config, tensors) = root / 'model' / 'model.safetensors', read_model(root / 'model')

        def other() -> bool:
            try:
                found, values = read_model(root / 'model')
            except ValueError:
                return False
            same = found == config and values.keys() == tensors.keys()
            return not (same and all(torch.equal(values[k], tensors[k]) for k in tensors))

        whole = file.read_bytes()
        silent += damage(whole, file, lambda: other() or file.read_bytes() == whole, flips, cuts, seed)
        path.write_bytes(path.read_bytes()[:-1])
        again = begin()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            fell_back = again.resume(root / 'run') and again.step == 9 and bits(again) == back
        fell_back = fell_back and any('going back' in str(w.message) for w in said)
    n = 2 * (flips + cuts)
    return {'figure': f'{silent} silent of {n:,}', 'met': silent == 0 and fell_back, 'n': n, 'falls_back': fell_back}


# R5: resuming


def forget(folder: Path, target: Path, name: str) -> bool:  # whether the file still opens
    "Copy a checkpoint with one field as a run finds it that begins: what a writer leaves out that forgot it."
    (path,) = checkpoints(folder)
    header, tensors = read_checkpoint(path)
    if name in tensors:
        blank = begin()
        checkpoint_files.wake_optimizer(blank.model, blank.optimizer, tensors)
        own = blank._state()[name]
        different = own if not torch.equal(own, tensors[name]) else torch.zeros_like(own) + 1
        tensors[name] = different.clone().contiguous()
    elif name in header['settings']:
        value = header['settings'][name]
        header['settings'][name] = [0.5, 0.5] if isinstance(value, list) else 'another' if isinstance(value, str) else (value or 0) + 1
    else:
        header[name] = 0
    data = tensor_bytes(tensors, {'diffbook': json.dumps(header)})
    target.mkdir()
    number = int(path.name[5:14])
    (target / f'step-{number:09d}-{hashlib.sha256(data).hexdigest()[:32]}.safetensors').write_bytes(data)
    trainer = begin()
    try:
        trainer.resume(target)
    except ValueError:
        return False
    return True


@row('R5', 'a run taken up at any step ends in the same bits', goal='every step, 0 tolerance, every control red')
def r5(short: bool) -> dict:
    """Stop after each of the 96 updates of three epochs, take the run up in a new trainer, go on to the end, and compare
    all bits. Then, for every field of the checkpoint (each tensor, each setting, step and seed), let the file lose that
    one field, and see that the resume is refused or the comparison fails."""
    steps, states = range(0, UPDATES + 1, 16 if short else 1), {}
    equal = red = at_once = 0
    with scratch() as root:
        trainer = begin()
        for batch in [None, *stream(trainer)]:
            if batch is not None:
                trainer.update(batch)
            if trainer.step in steps:
                trainer.save(root / str(trainer.step))
            states[trainer.step] = bits(trainer)
        for step in steps:
            again = begin(seed=0)
            same = again.resume(root / str(step)) and (again.step, bits(again)) == (step, states[step])
            equal += same and bits(go(again)) == states[UPDATES]
        header, tensors = read_checkpoint(checkpoints(root / '80')[0])
        fields = [*tensors, *header['settings'], *(k for k in header if k != 'settings')]
        for i, name in enumerate(fields):
            if not forget(root / '80', root / f'without {i}', name):
                red += 1
                continue
            again = begin()
            again.resume(root / f'without {i}')
            here = (again.step, bits(again)) != (80, states[80])
            there = bits(go(again)) != states[UPDATES]
            red, at_once = red + (here or there), at_once + (here and not there)
    both = None if short else by_two()
    figure = f'{equal} of {len(steps)} steps, {red} of {len(fields)} controls red' + f'; two processes: {both} of {UPDATES + 1}' * (both is not None)
    met = equal == len(steps) and red == len(fields) and both in (None, UPDATES + 1)
    return {'figure': figure, 'met': met, 'n': len(steps) + len(fields), 'healed_by_the_next_update': at_once}


TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2')
ALONE = {'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1'}


def by_two() -> int:  # at how many steps a run of two processes is taken up with equal bits
    with scratch() as root:
        words = [sys.executable, *TORCHRUN, '-m', 'benchmarks.survival', str(root)]
        done = subprocess.run(words, cwd=ROOT, env=os.environ | ALONE, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return int((root / 'equal').read_text())


def work_together(root: Path) -> None:
    "One of the processes of `by_two`: stop and take up the run of a team at every step."
    from diffbook.scale import join, share, shared

    team, equal = join('cpu', timeout=600), 0
    new = lambda: begin(backward=shared(team))  # a batch norm needs more than the one row that a half would be
    line = lambda trainer: islice(batches(share(DATA, team), BATCH, trainer.seed, trainer.step), UPDATES - trainer.step)
    trainer, states = new(), {}
    for batch in [None, *line(trainer)]:
        if batch is not None:
            trainer.update(batch)
        trainer.save(root / str(trainer.step))
        states[trainer.step] = bits(trainer)
    for step in range(UPDATES + 1):
        team.agree('the step', step)  # the file of the first process is there
        again = new()
        same = again.resume(root / str(step)) and (team.rank > 0 or bits(again) == states[step])  # the file is that of the first
        for batch in line(again):
            again.update(batch)
        same = same and (bits(again) == states[UPDATES] or step == UPDATES and team.rank > 0)  # others keep statistics of their own
        equal += not team.any(not same)
    if team.rank == 0:
        (root / 'equal').write_text(str(equal))


# R7: workers of torchrun


def newest(folder: Path) -> int:
    found = checkpoints(folder)
    return int(found[0].name[5:14]) if found else -1


def workers(parent: int) -> list[int]:
    "The processes that torchrun started, while all of them live."
    with contextlib.suppress(OSError):  # one may end while we look
        found = Path(f'/proc/{parent}/task/{parent}/children').read_text().split()
        return [int(p) for p in found if 'diffbook.cli' in read(f'/proc/{p}/cmdline')]
    return []


@row('R7', 'a worker killed under torchrun: all start again and go on to the same bits', goal='20 of 20, no stall over 60 s')
def r7(short: bool, seed: int) -> dict:
    """Train in two processes under torchrun (gloo, loopback), a checkpoint every second update. Kill one of the two, drawn at
    random, when a random update is reached, up to three times a run; torchrun starts both again. The last checkpoint must
    have the digest of the undisturbed run; a stall is the time from a kill to the next new checkpoint."""
    kills, steps, good, done, stalls, runs = 1 if short else 20, 240, 0, 0, [], 0
    draw = iter(uniform(seed, 'workers', 0, range(10 * kills), (2,)).tolist())

    def launch(out: Path) -> subprocess.Popen:
        words = [sys.executable, *TORCHRUN, '--max-restarts', '3', '-m', 'diffbook.cli', *small_training(root, out, steps, 2)]
        quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
        return subprocess.Popen([*words, '--timeout', '20'], cwd=ROOT, env=os.environ | ALONE, **quiet)

    with scratch() as root:
        pictures(root / 'pictures')
        assert launch(root / 'calm').wait() == 0, 'the undisturbed run failed'
        want = checkpoints(root / 'calm' / 'checkpoints')[0].name
        while done < kills:
            out, here = root / str(runs), 0
            folder, run = out / 'checkpoints', launch(out)
            for part in range(min(3, kills - done)):
                where, who = next(draw)
                goal = round(steps * (part + where) / 3.2)
                while newest(folder) < goal and run.poll() is None:
                    time.sleep(0.005)
                found = workers(run.pid) if run.poll() is None else []
                if len(found) < 2:
                    continue
                before, start = newest(folder), time.monotonic()
                os.kill(found[int(2 * who)], signal.SIGKILL)
                here += 1
                while newest(folder) <= before and run.poll() is None:
                    time.sleep(0.01)
                stalls.append(round(time.monotonic() - start, 1))
            same = run.wait() == 0 and checkpoints(folder)[0].name == want
            good, done, runs = good + here * same, done + here, runs + 1
    figure = f'{good} of {done}, longest stall {max(stalls):.0f} s'
    return {'figure': figure, 'met': good == done and max(stalls) <= 60, 'n': done, 'stalls': stalls, 'runs': runs}


# R9: repeatability


RUN = "import sys; from diffbook.cli import main\nfor words in ' '.join(sys.argv[1:]).split(' / '):\n try: main(words.split())\n except SystemExit as e: assert not e.code"


def commands(*each: list[str], threads: int = 1) -> None:
    "Run commands of the library in a fresh process."
    words = [word for one in each for word in ('/', *one)][1:]
    environment = os.environ | {'OMP_NUM_THREADS': str(threads), 'TQDM_DISABLE': '1'}
    done = subprocess.run([sys.executable, '-c', RUN, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def pictures(folder: Path) -> Path:
    "Write a folder of small pictures to train on."
    from PIL import Image

    folder.mkdir()
    for i, image in enumerate((uniform(0, 'pictures', 0, range(12), (8, 8, 3)) * 256).to(torch.uint8)):
        Image.fromarray(image.numpy()).save(folder / f'{i}.png')
    return folder


def small_training(root: Path, out: Path, steps: int, save_every: int = 1000) -> list[str]:
    return ['train', '--data', str(root / 'pictures'), '--out', str(out), '--steps', str(steps), '--size', '8', '--width', '8',
            '--batch-size', '4', '--save-every', str(save_every), '--device', 'cpu']  # fmt: skip


def digest(*paths: Path) -> str:
    return hashlib.sha256(b''.join(hashlib.sha256(p.read_bytes()).digest() for p in paths)).hexdigest()


@row('R9', 'the same command gives the same bits', goal='every rerun')
def r9(short: bool) -> dict:
    """Run `diffbook train` and `diffbook sample` in six fresh processes on one thread, then in two on two threads: weights,
    averages, moments and the picture must have one sha256 for each number of threads. (Between one and two threads
    nothing is promised; what was found is in the details.)"""
    runs, seen = {1: 2} if short else {1: 6, 2: 2}, {1: [], 2: []}
    with scratch() as root:
        pictures(root / 'pictures')
        for threads in runs:
            for i in range(runs[threads]):
                out = root / f'{threads}-{i}'
                drawing = ['sample', str(out), '--out', str(out / 'x.png'), '--n', '4', '--steps', '4', '--device', 'cpu']
                commands(small_training(root, out, 20), drawing, threads=threads)
                seen[threads].append(digest(out / 'model.safetensors', out / 'x.png', *checkpoints(out / 'checkpoints')[:1]))
    good = sum(d == v[0] for v in seen.values() for d in v[1:])
    return count(good, sum(runs.values()) - len(runs), one_thread_equals_two=seen[1][:1] == seen[2][:1] if seen[2] else None)


# R10: a sample and its batch


@row('R10', 'a sample does not depend on the others in its batch', goal='noise equal to the bit, pictures within 1e-5')
def r10(short: bool) -> dict:
    """Draw 64 garments with the model of the package and the ancestral sampler, in batches of 1, 2, 7 and 64 (in the short
    form 8 garments, by 1 and 8): start and noise must be the same bits, pictures the same within 1e-5."""
    from diffbook.core import noise

    model, n, sizes = training.load('fashion-mnist'), *((8, (1, 8)) if short else (64, (1, 2, 7, 64)))
    times, drawn, worst, same = uniform_times(model.schedule, 3 if short else 10), {}, 0.0, True
    for size in sizes:
        parts = []
        for first in range(0, n, size):
            own = range(first, min(first + size, n))
            x = noise(1, 'start', 0, own, (1, 28, 28)).float()
            *_, x0 = sample(model, model.schedule, x, times, partial(ancestral, noise=seeded_noise(1, start=first)))
            parts.append((x, seeded_noise(1, start=first)(x, times[1]), x0))
        drawn[size] = [torch.cat(p) for p in zip(*parts)]
    for x, z, x0 in drawn.values():
        same = same and torch.equal(x, drawn[n][0]) and torch.equal(z, drawn[n][1])
        worst = max(worst, (x0 - drawn[n][2]).abs().max().item())
    return {'figure': f'noise {"equal" if same else "different"}, pictures within {worst:.2g}', 'met': same and worst <= 1e-5, 'n': n * len(sizes)}


# R11: numbers that are not finite


class Told(nn.Module):
    "The network of the lesson, told the noise level."

    def __init__(self):
        super().__init__()
        self.net, self.level = lesson.Net(), nn.Linear(1, 3)

    def forward(self, x, noise_level, cond=None):
        return self.net(x + self.level(noise_level[:, None] / 1000))


class Plain(nn.Module):
    "A network without randomness of its own."

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 3)

    def forward(self, x, noise_level, cond=None):
        return self.last(torch.tanh(self.first(torch.cat([x, noise_level[:, None] / 1000], 1))))


def denoising(net: type[nn.Module] = Told, **settings) -> Trainer:
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        model = Denoiser(net(), CosineSchedule(), predict_v)
    return Trainer(model, lambda model, x0, generator: training_loss(model, x0, generator), warmup=5, seed=7, device='cpu', ema=0.9, **settings)


def poison(trainer: Trainer, batch: torch.Tensor, where: str, value: float, draw: torch.Generator) -> str:
    "Put one bad number in; give how the error should begin."
    names = dict(trainer.model.named_parameters())
    name = list(names)[int(torch.randint(len(names), (), generator=draw))]
    spot = int(torch.randint((batch if where == 'data' else names[name]).numel(), (), generator=draw))
    if where == 'data':
        batch.view(-1)[spot] = value
        return 'batch holds'
    if where == 'weight':
        names[name].data.view(-1)[spot] = value
        return f'{name} holds'
    if where == 'gradient':
        names[name].register_hook(lambda g: g.flatten().index_fill(0, torch.tensor([spot]), value).view_as(g))
        return f'the gradient of {name} holds'
    plain, i = trainer._forward, spot % len(batch)
    trainer._forward = lambda *given: plain(*given) + torch.zeros(len(batch)).index_fill(0, torch.tensor([i]), value)
    return 'loss holds'


@row('R11', 'a number that is not finite never spreads', goal='100 of 100')
def r11(short: bool, seed: int) -> dict:
    """Put nan, inf or -inf into the data, the loss, a gradient or a weight at a random place and a random update. The
    trainer must stop with the update, the tensor and the noise level named, before weights, averages and files change."""
    cases = [*product(('data', 'loss', 'gradient', 'weight'), (math.nan, math.inf, -math.inf))]
    good, n, silent = 0, 12 if short else 100, []
    with scratch() as root:
        for i in range(n):
            where, value = cases[i % len(cases)]
            draw = generator(seed, 'poison', i)
            trainer, step = denoising(), int(torch.randint(8, (), generator=draw))
            line = batches(DATA, 6, trainer.seed)
            for batch in islice(line, step):
                trainer.update(batch)
            trainer.save(root / str(i))
            files, average = snapshot(root / str(i)), lesson.bits_of(trainer.ema.model)
            batch = next(line).clone()
            name = poison(trainer, batch, where, value, draw)
            weights = [p.detach().clone() for p in trainer.model.parameters()]
            try:
                list(trainer.fit([batch], root / str(i)))
                said = ''
            except FloatingPointError as error:
                said = str(error)
            kept = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(weights, trainer.model.parameters()))
            quiet = lesson.bits_of(trainer.ema.model) == average and snapshot(root / str(i)) == files and trainer.step == step
            named = said.startswith(f'update {step + 1} is not finite: {name} ') and re.search(r'noise levels? -?[\d.]+', said)
            good += bool(kept and quiet and named)
            silent += [] if kept and quiet and named else [f'{where} {value}: {said}']
    return count(good, n, missed=silent[:5])


# R12: signals


@row('R12', 'SIGTERM and Ctrl-C save first', goal='50 of 50 within 5 s')
def r12(short: bool, seed: int) -> dict:
    """Start `diffbook train`, and at a random moment after its first checkpoint send SIGTERM or Ctrl-C. It must save and end
    within 5 seconds, with exit code 143 or 130; `--resume` must end in the model of a run that nobody disturbed. The
    processes are forked from one that has imported the library; 6 of them start from nothing."""
    from diffbook.cli import main

    n, fresh, steps = (4, 0, 30) if short else (50, 6, 60)
    share, codes = uniform(seed, 'signals', 0, range(n)).tolist(), {signal.SIGTERM: 143, signal.SIGINT: 130}
    good, slowest, late, missed = 0, 0.0, 0, []

    def silently(words: list[str]) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        for handle in (1, 2):
            os.dup2(null, handle)
        main(words)

    def begun(out: Path, apart: bool) -> int:  # the child, when its first checkpoint is written
        words = small_training(root, out, steps)
        quiet = {'cwd': ROOT, 'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
        child = subprocess.Popen([sys.executable, '-m', 'diffbook.cli', *words], **quiet).pid if apart else fork(partial(silently, words))
        while not (out / 'training.csv').exists():  # the loop begins
            assert wait(child, 0.002) is None, 'the training ended before it began'
        return child

    with scratch() as root:
        pictures(root / 'pictures')
        child, start = begun(root / 'calm', False), time.monotonic()
        assert wait(child) == 0
        want, span = digest(root / 'calm' / 'model.safetensors'), time.monotonic() - start
        for i in range(n):
            out, number = root / str(i), (signal.SIGTERM, signal.SIGINT)[i % 2]
            child = begun(out, i < fresh)
            time.sleep(0.8 * share[i] * span)
            start = time.monotonic()
            os.kill(child, number)
            ended, took = wait(child), time.monotonic() - start
            late += ended == 0  # the signal came after the last update
            if ended:
                assert wait(fork(partial(silently, [*small_training(root, out, steps), '--resume']))) == 0
            fine = ended in (0, codes[number]) and took <= 5 and digest(out / 'model.safetensors') == want
            good, slowest = good + fine, max(slowest, took)
            missed += [] if fine else [f'{number.name}: code {ended} after {took:.1f} s']
            shutil.rmtree(out)
    return count(good, n, slowest_seconds=round(slowest, 2), after_the_last_update=late, missed=missed)


# R13: one writer


@row('R13', 'one writer a folder: a second trainer is refused, and told by whom', goal='20 of 20')
def r13(short: bool) -> dict:
    """Let two processes race for one folder: one trains, the other is refused with the process number and the host of the
    first. Kill both with SIGKILL: the lock goes with its process, and a third trains on."""
    races = 2 if short else 20
    with scratch() as root:
        for i in range(races):
            (root / str(i)).mkdir()
            lesson.test_two_trainers_in_one_folder(root / str(i), 1)
    return count(races, races)


# R15: nothing grows

GROWTH = """
import os, sys, threading, torch
from benchmarks import survival as s
def usage():
    import gc; gc.collect()
    pages = int(open('/proc/self/statm').read().split()[1])
    return [pages * os.sysconf('SC_PAGE_SIZE'), len(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task'))]
steps, calls = int(sys.argv[1]), int(sys.argv[2])
trainer = s.denoising()
stream = s.batches(s.DATA, 6, trainer.seed)
marks = []
def train(n):
    for _ in s.islice(trainer.fit(stream, sys.argv[3], every=max(1, n // 10)), n):
        pass
def draw(n):
    model = trainer.ema.model
    for i in range(n):
        for solver in (s.ddim, s.heun, s.ancestral):
            *_, x = s.sample(model, model.schedule, torch.zeros(4, 3), s.uniform_times(model.schedule, 3), solver)
for part in range(5):
    train(steps // 5); draw(calls // 5); marks.append(usage())
print(*(v for mark in marks for v in mark))
"""


@row('R15', 'nothing grows with time', goal='memory < 1 %, open files and threads constant')
def r15(short: bool) -> dict:
    """In a fresh process make 20,000 updates with checkpoints and 2,000 sampling calls with each of three samplers, and
    look after each fifth: between the first look and the last, resident memory may grow by less than 1 %, and the
    numbers of open files and threads not at all."""
    steps, calls = (500, 50) if short else (20_000, 2_000)
    with scratch() as root:
        words = [sys.executable, '-c', GROWTH, str(steps), str(calls), str(root / 'run')]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=os.environ | {'OMP_NUM_THREADS': '1'})
        assert done.returncode == 0, done.stderr
    marks = [int(v) for v in done.stdout.split()]
    looks = [marks[i : i + 3] for i in range(0, len(marks), 3)]
    growth, still = looks[-1][0] / looks[0][0] - 1, looks[0][1:] == looks[-1][1:]
    figure = f'memory {growth:+.2%}, files and threads {"constant" if still else "not constant"}'
    return {'figure': figure, 'met': growth < 0.01 and still, 'n': steps + 3 * calls, 'looks': looks}


# R16: compiled


class Recompilations(logging.Handler):
    "Count how often each function is compiled again."

    def __enter__(self) -> dict[str, int]:
        torch._logging.set_logs(recompiles=True)
        self.seen, self.log = {}, logging.getLogger('torch._dynamo.guards.__recompiles')
        self.log.handlers, self.log.propagate = [self], False
        return self.seen

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r'Recompiling function (\S+)', record.getMessage()):
            self.seen[found[1]] = self.seen.get(found[1], 0) + 1

    def __exit__(self, *error: object) -> None:
        self.log.handlers, self.log.propagate = [], True
        torch._logging.set_logs()


@row('R16', 'compiled equals eager', goal='within 1e-5, no function compiled again more than 3 times')
def r16(short: bool) -> dict:
    """Compile the denoiser, and let every sampler use it at 20 pairs of times and 3 sizes of the batch; clip a compiled denoiser
    at 20 numbers; train 20 updates of a network without dropout (whose compiled kernel draws otherwise) with the loss compiled.
    Compare with the same without compilation, relative to the largest number compared (at least 1), and count how often each
    function is compiled again. (Limits of clipping are Python numbers: PyTorch compiles anew for each, up to its own limit of
    8, and these are counted apart.)"""
    import torch._dynamo as dynamo

    from diffbook.samplers import clip_x0

    sizes, values = ((4, 2), 4) if short else ((4, 7, 2), 20)
    worst, trainer = {}, denoising()
    model, schedule = trainer.model.eval().requires_grad_(False), trainer.model.schedule
    pairs = [tuple(torch.tensor(v, dtype=torch.float64) for v in (0.99 - 0.9 * i / values, 0.94 - 0.9 * i / values)) for i in range(values)]
    solvers = {'ddim': ddim, 'euler': euler, 'heun': heun, 'ancestral': ancestral, 'ddim, eta 0.5': partial(ddim, eta=0.5)}
    states = {b: uniform(0, 'compiled', 0, range(b), (3,)).float() for b in sizes}

    def compare(name: str, got: torch.Tensor, want: torch.Tensor) -> None:
        off = (got - want).abs().max() / want.abs().max().clamp(min=1)
        worst[name] = max(worst.get(name, 0.0), off.item())

    dynamo.reset()
    with Recompilations() as again:
        quick = torch.compile(model)
        for (name, solver), b, (t, s) in product(solvers.items(), sizes, pairs):
            compare(name, *(solver(schedule, f, states[b], t, s) for f in (quick, model)))
        if not short:
            runs = [one.fit(batches(DATA, 6)) for one in (denoising(Plain), denoising(Plain, compile=True))]
            compare('training', *(torch.stack([s.loss for s in islice(run, 20)]) for run in runs))
    with Recompilations() as floats:
        clipped = lambda x, t, high: clip_x0(model, -high, high)(x, t)
        quick = torch.compile(clipped)
        for i in range(values):
            compare('clipping', *(f(states[sizes[0]], pairs[0][0], 0.1 + i / values) for f in (quick, clipped)))
    most, often = max(worst.values()), max(again.values(), default=0)
    figure = f'within {most:.1g}, at most {often} times'
    return {
        'figure': figure,
        'met': most <= 1e-5 and often <= 3,
        'n': len(solvers) * len(sizes) * values + values,
        'worst': worst,
        'again': again,
        'again_clipping': floats,
    }


# R17: old files


KEPT = ROOT / 'tests' / 'kept'
DIGESTS = {'0.1.0': 'fc58d42a98eb5f7709c387a3229165053130d2b0f17efb849400fa1a11596142'}  # of all bits after resume


@row('R17', 'checkpoints of older versions open', goal='every kept file')
def r17(short: bool) -> dict:
    "Open the checkpoint that each version left in tests/kept, compare the digest of all its tensors, and train on."
    good = 0
    for version, want in DIGESTS.items():
        trainer = lesson.make(lesson.Net)
        good += trainer.resume(KEPT / version) and bits(trainer) == want
        trainer.update(lesson.DATA[:4])
    return count(good, len(DIGESTS))


if __name__ == '__main__':
    work_together(Path(sys.argv[1]))
