"""A process that dies, hangs or is ended: one failed request, and the next one is answered."""

import sys
from pathlib import Path

import pytest

from lungcli.core.worker_process import WorkerProcess

MODULE = """
import os, time
from lungcli.core import worker_process

def reply(content):
    print("a library has something to say", flush=True)
    if content == b"die":
        os._exit(1)
    if content == b"hang":
        time.sleep(600)
    if content == b"fill":
        return bytes(8 << 30)
    return content[::-1]

worker_process.serve(reply, 2 << 30)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerProcess:
    (tmp_path / "answering.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    return WorkerProcess("answering")


def test_what_kills_a_process_fails_alone(worker: WorkerProcess) -> None:
    try:
        for harm, error, seconds in ((b"die", EOFError, 60.0), (b"hang", TimeoutError, 0.5), (b"fill", EOFError, 60.0)):
            assert worker.ask(b"abc", 60.0) == b"cba"
            assert worker.ask(b"", 60.0) == b""
            with pytest.raises(error):
                worker.ask(harm, seconds)
        assert worker.ask(bytes(1 << 20) + b"x", 60.0)[:1] == b"x"
    finally:
        worker.end()


def test_one_thread_sees_to_the_time_of_many_requests_and_ends_with_it(worker: WorkerProcess) -> None:
    try:
        assert worker.ask(b"abc", 600.0) == b"cba"
        thread = worker._limit._thread
        assert thread
        assert [worker.ask(b"abc", 600.0 + number % 2) for number in range(50)] == [b"cba"] * 50
        assert worker._limit._thread is thread
        # It wakes for a limit that ends before the one it waits for, and then nothing is under way.
        with pytest.raises(TimeoutError):
            worker.ask(b"hang", 0.1)
        thread.join(60)
        assert not thread.is_alive()
        assert worker.ask(b"abc", 60.0) == b"cba"
    finally:
        worker.end()


def test_a_process_is_started_ahead_and_once(worker: WorkerProcess) -> None:
    try:
        worker.start()
        started = worker._process
        worker.start()
        assert worker.ask(b"abc", 60.0) == b"cba"
        assert worker._process is started
    finally:
        worker.end()
