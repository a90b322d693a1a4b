"""Processes that predict for the page, and whose turn it is: many or slow pictures of one visitor delay nobody else."""

import contextlib
import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lungcli.core import cpu
from lungcli.core.errors import LungcliError, ModelFileError
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging.picture import printable
from lungcli.predict.predict import Failure
from lungcli.web import slice_worker
from lungcli.web.slice_worker import HeatInput, HeatMap, Reply, Request, SliceResult, Upload

SECONDS = 10.0
"""What a picture may take; the largest there may be takes 2 to 4 s."""

# An unknown model file is tried in yet another process first.
LOAD_SECONDS = 60.0
_WAIT_SECONDS = 60.0
# Visitors behind one proxy are one; more would fill the threads of all.
_MAX_WAITING = 24


class BusyError(LungcliError):
    """No turn came: the visitor has too much under way, or all have."""


class Turns:
    """Whose turn it is: a visitor has one at a time, and of those who wait the one whose last turn is longest ago."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: dict[int, str] = {}
        self._served: dict[str, int] = {}
        self._working: set[str] = set()

    @contextlib.contextmanager
    def turn(self, visitor: str) -> Iterator[None]:
        """Wait for a turn of `visitor`, and have it. Raises BusyError."""
        with self._changed:
            if Counter(self._waiting.values())[visitor] >= _MAX_WAITING:
                raise BusyError("too many of your pictures are under way", "wait for their results")
            number = next(self._numbers)
            self._waiting[number] = visitor
            came = self._changed.wait_for(lambda: self._next() == number, _WAIT_SECONDS)
            del self._waiting[number]
            if not came:
                self._changed.notify_all()
                raise BusyError("the page is busy: no turn came within a minute", "try again later")
            self._working.add(visitor)
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._working.remove(visitor)
                self._served[visitor] = next(self._numbers)
                waiting = set(self._waiting.values())
                self._served = {name: at for name, at in self._served.items() if name in waiting}
                self._changed.notify_all()

    def _next(self) -> int | None:
        """The number of who is next, None while nobody can be."""
        if len(self._working) >= self._slots:
            return None
        ready = (item for item in self._waiting.items() if item[1] not in self._working)
        return min(ready, key=lambda item: max(item[0], self._served.get(item[1], 0)), default=(None, ""))[0]


class Workers:
    """The processes, two at least; thread-safe. They start when they are needed."""

    def __init__(self) -> None:
        count = max(2, cpu.physical_cores())
        self._threads = max(1, cpu.physical_cores() // count)
        self.turns = Turns(count)
        self._processes = [WorkerProcess(slice_worker.__name__) for _ in range(count)]
        self._idle = list(self._processes)

    def load(self, model: Path) -> None:
        """Load a model file, so that the first picture needs not wait for it. Raises ModelFileError, BusyError."""
        with self._process("") as process:
            self._load(process, model)

    def predict(self, upload: Upload, model: Path, visitor: str) -> SliceResult:
        """Predict one upload when it is the visitor's turn. Raises ModelFileError, BusyError."""
        shown = printable(upload.name)
        with self._process(visitor) as process:
            self._load(process, model)
            try:
                reply = self._asked(process, model, SECONDS, upload=upload)
            except TimeoutError:
                reason = f"cannot predict {shown}: it takes more than {SECONDS:g} s"
            except EOFError:
                reason = f"cannot predict {shown}: it ends its reader, or needs too much memory"
            else:
                if reply.result:
                    return reply.result
                raise ValueError("no result of an upload")
        failure = Failure(source=upload.name, reason=reason, hint="export it again, smaller, as PNG or DICOM")
        return SliceResult(failure=failure, gave_up=True)

    def explain(self, slice_: HeatInput, model: Path, visitor: str) -> HeatMap:
        """Make a heat-map when it is the visitor's turn. Raises ModelFileError, BusyError, LungcliError."""
        with self._process(visitor) as process:
            self._load(process, model)
            try:
                reply = self._asked(process, model, SECONDS, heat_input=slice_)
            except (TimeoutError, EOFError) as error:
                reason = f"no heat-map: it takes more than {SECONDS:g} s, or too much memory"
                raise LungcliError(reason, "choose a smaller model") from error
        if reply.heat_map:
            return reply.heat_map
        raise ValueError("no heat-map of a slice")

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.end()

    @contextlib.contextmanager
    def _process(self, visitor: str) -> Iterator[WorkerProcess]:
        with self.turns.turn(visitor):
            # The one that was used last has its model loaded.
            process = self._idle.pop()
            try:
                yield process
            finally:
                self._idle.append(process)

    def _load(self, process: WorkerProcess, model: Path) -> None:
        try:
            self._asked(process, model, LOAD_SECONDS)
        except (TimeoutError, EOFError) as error:
            raise ModelFileError(
                f"cannot load {model.name}: it takes too much memory or time", "choose another model"
            ) from error

    def _asked(
        self,
        process: WorkerProcess,
        model: Path,
        seconds: float,
        upload: Upload | None = None,
        heat_input: HeatInput | None = None,
    ) -> Reply:
        request = Request(model=os.fsencode(model), threads=self._threads, upload=upload, heat_input=heat_input)
        reply = msgspec.msgpack.decode(process.ask(msgspec.msgpack.encode(request), seconds), type=Reply)
        if reply.problem:
            raise ModelFileError(reply.problem, reply.hint)
        return reply
