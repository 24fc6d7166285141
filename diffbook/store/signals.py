"""Signals that ask a run to stop: noted where they come, answered where it is safe."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['noted_signals', 'stop_for']


def _stops() -> list[int]:
    "What may tell us to stop; under nohup, nobody hears SIGHUP, and Windows has none."
    known = [getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if name in dir(signal)]
    return [s for s in known if signal.getsignal(s) != signal.SIG_IGN]


@contextmanager
def noted_signals(wanted: bool = True) -> Iterator[list[int]]:
    "Collect Ctrl-C, SIGTERM and SIGHUP in a list instead of stopping at once; a Ctrl-C after one of them stops at once."
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    catch = wanted and threading.current_thread() is threading.main_thread()
    before = {s: signal.signal(s, note) for s in _stops() if catch}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_for(came: list[int]) -> BaseException:
    "What ends a program that a signal told to stop: KeyboardInterrupt for Ctrl-C, else the exit status that shells give."
    number = (came or [signal.SIGTERM])[0]  # none came to us: to another process of the run
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
