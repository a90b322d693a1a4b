"""A process of its own for work that may die, hang or fill memory: its end is one failed request.

Requests and replies are bytes, each after its length.
"""

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

_LENGTH = 8


class WorkerProcess:
    """Runs a module that calls `serve`; started when it is first needed, and again after it has died. Thread-safe."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._limit = _Limit()

    def start(self) -> None:
        """Start the process, unless it runs, without waiting until it answers."""
        with self._lock:
            self._running()

    def ask(self, request: bytes, seconds: float) -> bytes:
        """Return the reply to a request. Raises TimeoutError where it takes more `seconds`, EOFError where it dies."""
        with self._lock:
            process = self._running()
            self._limit.begin(process, seconds)
            try:
                _send(process.stdin, request)
                return _receive(process.stdout)
            except (OSError, EOFError) as error:
                self.end()
                raise (TimeoutError if self._limit.passed else EOFError)(str(error)) from error
            finally:
                self._limit.end()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._process = subprocess.Popen(  # noqa: S603 - a module of this program
                [sys.executable, "-P", "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    # What it could not be sent any more does not matter.
                    _close(pipe)
            process.wait()


class _Limit:
    """Kills a process whose request is under way for too long.

    One thread serves many requests: to start one for each takes as long as to hand over a slice.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._due = self._wakes = math.inf
        self.passed = False

    def begin(self, process: "subprocess.Popen[bytes]", seconds: float) -> None:
        """Kill the process after so many seconds, if `end` is not called before; `passed` says whether."""
        with self._changed:
            self._process, self._due, self.passed = process, time.monotonic() + seconds, False
            # One that was begun before a fork is not there after it.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
            elif self._due < self._wakes:
                self._changed.notify()

    def end(self) -> None:
        """Kill it no more."""
        with self._changed:
            self._due = math.inf

    def _watch(self) -> None:
        with self._changed:
            while self._process and self._due < math.inf:
                left = self._due - time.monotonic()
                if left <= 0:
                    self._process.kill()
                    self.passed, self._due = True, math.inf
                else:
                    self._wakes = self._due
                    self._changed.wait(left)
            self._thread = None


def serve(reply: Callable[[bytes], bytes], most_bytes: int) -> None:
    """Answer the requests on stdin, with no more memory than `most_bytes` where the system can see to it."""
    # Ctrl-C reaches all processes of a terminal; what is worked on is finished, and then stdin ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _bound(most_bytes)
    # Libraries print as well, and that would be taken for a reply.
    replies, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            request = _receive(sys.stdin.buffer)
        except EOFError:
            return
        _send(replies, reply(request))


def _bound(most_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        return


def _send(pipe: IO[bytes] | None, content: bytes) -> None:
    if pipe is None:
        raise EOFError
    pipe.write(len(content).to_bytes(_LENGTH, "little"))
    # Apart: both in one would copy what may be a GiB.
    pipe.write(content)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> bytes:
    head = pipe.read(_LENGTH) if pipe else b""
    length = int.from_bytes(head, "little")
    content = pipe.read(length) if pipe and len(head) == _LENGTH else b""
    if len(head) < _LENGTH or len(content) < length:
        raise EOFError
    return content
