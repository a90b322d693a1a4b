"""What the heat-maps of a visitor's newest results are made from, until they are asked for."""

import dataclasses
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lungcli.web.slice_worker import HeatInput
from lungcli.web.uploads import KEPT_SECONDS

# Some 2,500 slices of 256 px, or two visits with as many of 1,024 px as the page takes.
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    visit: int
    model: Path
    slices: tuple[HeatInput | None, ...]
    used: float

    @property
    def size(self) -> int:
        return sum(len(slice_.prepared) for slice_ in self.slices if slice_)


class HeatInputs:
    """Slices by session, of its newest results only; thread-safe.

    They are dropped `KEPT_SECONDS` after the last of a session's was asked for, and sooner beyond `MOST_BYTES`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # The one that was used last comes last.
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, session: str, visit: int, model: Path, slices: Sequence[HeatInput | None]) -> None:
        """Keep the slices of a visit, which `model` has predicted, instead of those of the session's earlier one."""
        with self._lock:
            self._kept.pop(session, None)
            self._kept[session] = _Kept(visit=visit, model=model, slices=tuple(slices), used=self._clock())
            while self._kept and sum(kept.size for kept in self._kept.values()) > MOST_BYTES:
                self._kept.popitem(last=False)

    def find(self, session: str, visit: int, number: int) -> tuple[HeatInput, Path] | None:
        """Return slice `number` of a visit, from 0, and its model; None where it is not kept, or has no prediction."""
        self.sweep()
        with self._lock:
            kept = self._kept.get(session)
            if kept is None or kept.visit != visit or not 0 <= number < len(kept.slices):
                return None
            self._kept[session] = dataclasses.replace(kept, used=self._clock())
            self._kept.move_to_end(session)
            slice_ = kept.slices[number]
            return (slice_, kept.model) if slice_ else None

    def drop(self, session: str) -> None:
        """Drop the slices of a session."""
        with self._lock:
            self._kept.pop(session, None)

    def sweep(self) -> None:
        """Drop what was not used for so long."""
        with self._lock:
            over = self._clock() - KEPT_SECONDS
            while self._kept and next(iter(self._kept.values())).used < over:
                self._kept.popitem(last=False)
