"""A process of its own for work that may die, hang or fill memory: its end is one failed request.

Requests and replies are bytes, each after its length.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

_LENGTH = 8


class WorkerProcess:
    """Runs a module that calls `serve`; started when it is first needed, and again after it has died. Thread-safe."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes, seconds: float) -> bytes:
        """Return the reply to a request. Raises TimeoutError where it takes more `seconds`, EOFError where it dies."""
        with self._lock:
            process = self._running()
            too_slow = threading.Event()

            def kill() -> None:
                too_slow.set()
                process.kill()

            hangs = threading.Timer(seconds, kill)
            hangs.daemon = True
            hangs.start()
            try:
                _send(process.stdin, request)
                return _receive(process.stdout)
            except (OSError, EOFError) as error:
                self.end()
                raise (TimeoutError if too_slow.is_set() else EOFError)(str(error)) from error
            finally:
                hangs.cancel()

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
