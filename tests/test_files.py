"""The one writer: whole or not at all, at any moment, with rights and messages as they should be."""

import os
import signal
import subprocess
import sys

import pytest

from diffbook import core
from diffbook.store import files
from diffbook.store.files import make_folder, replacing, write_whole

CALLS = ('open', 'fsync', 'replace', '_sync_folder')  # what the writer does, in order
KILLED = """
import os, signal, sys
from diffbook.store import files
path, when, after, by_name = sys.argv[1], sys.argv[2], sys.argv[3] == 'after', sys.argv[4] == 'by name'
owner = files if when in ('open', '_sync_folder') else os
real = open if when == 'open' else getattr(owner, when)
def dying(*args, **kwargs):
    if not after:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, when, dying)
if by_name:
    with files.replacing(path) as temporary:
        temporary.write_bytes(b'new' * 100_000)
else:
    files.write_whole(path, b'new' * 100_000)
"""


@pytest.mark.parametrize('how', ['bytes', 'by name'])
@pytest.mark.parametrize('when, moment', [(call, moment) for call in CALLS for moment in ('before', 'after')])
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path, when, moment, how):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    run = subprocess.run([sys.executable, '-c', KILLED, path, when, moment, how], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    done = CALLS.index(when) > CALLS.index('replace') or (when, moment) == ('replace', 'after')
    assert path.read_bytes() == (b'new' * 100_000 if done else b'old')


def test_bytes_are_durable_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    "The order of system calls: the file is synced, then renamed, then its folder is synced."
    told = []
    for name in ('fsync', 'replace'):
        real = getattr(os, name)
        monkeypatch.setattr(
            os,
            name,
            lambda *args, real=real, name=name: (told.append((name, os.path.isdir(f'/dev/fd/{args[0]}') if name == 'fsync' else None)), real(*args))[1],
        )
    write_whole(tmp_path / 'file', b'bytes')
    assert [name for name, _ in told] == ['fsync', 'replace', 'fsync'] and [folder for name, folder in told if name == 'fsync'] == [False, True]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / 'file'
    write_whole(path, b'old')
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b'half')
        raise RuntimeError
    assert path.read_bytes() == b'old' and os.listdir(tmp_path) == ['file']


def test_what_writes_by_name_gives_the_rights_of_new_files(tmp_path):
    "Some libraries write files that nobody else may read."
    (tmp_path / 'plain').touch()
    with replacing(tmp_path / 'file') as temporary:
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / 'file').stat().st_mode == (tmp_path / 'plain').stat().st_mode


@pytest.mark.bad_input
def test_errors_say_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(OSError, match=rf'5 bytes were needed, there is no folder {tmp_path}/none'):
        write_whole(tmp_path / 'none' / 'file', b'12345')

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=r'No space left on device; 5 bytes were needed, [\d,]+ are free'):
        write_whole(tmp_path / 'file', b'12345')
    assert not os.listdir(tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='file is a file, expected a folder'):
        make_folder(tmp_path / 'file')


def test_the_old_names_are_still_there_and_say_where_they_went():
    for name in ('parse_json', 'read_json', 'read_header', 'Span', 'MAX_HEADER', 'KIND_BYTES'):
        with pytest.warns(DeprecationWarning, match=f'diffbook.core.{name} is diffbook.store.files.{name} now'):
            assert getattr(core, name) is getattr(files, name)
    with pytest.raises(AttributeError, match='no_such_name'):
        core.no_such_name  # noqa: B018


def test_files_know_no_tensor():
    "The readers and the writer are plain Python: importing them costs nothing and can reach nothing."
    call = "import sys; import diffbook.store.files; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, '-c', call]).returncode == 0
