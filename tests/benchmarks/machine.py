"""What every benchmark says of the machine, and how it sums up."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence

from lungcli.evaluation import benchmark


def state() -> None:
    """Print the machine."""
    sys.stdout.write(", ".join(f"{key}: {value}" for key, value in benchmark.machine().items()) + "\n")


def say(text: str) -> None:
    """Print one line of the outcome at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def taking_turns(actions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each action over `rounds`, A B A B, so that a busy moment meets all of them."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for taken, action in zip(times, actions, strict=True):
            taken.append(seconds(action))
    return [statistics.median(taken) for taken in times]
