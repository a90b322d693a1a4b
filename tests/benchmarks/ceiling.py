"""Training steps against this machine's own ceilings: matrix products, convolutions that are products, and a copy.

Run: python -m tests.benchmarks.ceiling [NET…] [--threads N] [--rounds N]     (mobilenetv2 and resnet18; two minutes)

The ceilings are torch's: a square matrix product, a 1×1 convolution as wide, and a copy too large for the caches near
the cores. They take turns with steps of `lungcli train`'s own loop (drawn phantoms, 32 of 224 pixels), so that a busy
moment meets both. Arithmetic is that of products and convolutions, forward and backward, a multiply-add as two.

The bound adds up, over every operation that a step dispatches, the longer of what its arithmetic takes at the product's
ceiling and what its bytes, read and written, take at the copy's (the roofline of Williams et al., CACM 2009): torch
without fusion can hardly be faster. Depthwise convolutions, normalisation and activations do little arithmetic on much
memory, which explains part of what keeps MobileNetV2 below the matrix product; the bound says which part.

With one thread, time is the processor's, which other work on the machine hardly lengthens; with more, the wall's.
"""

import argparse
import contextlib
import functools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lungcli.core import cpu as hardware
from lungcli.core import recipe
from lungcli.core.recipe import Recipe
from lungcli.datasets import manifest
from lungcli.datasets.phantom import dataset
from lungcli.training import devices, loop
from tests.benchmarks import machine
from tests.benchmarks.training import steps

NETS = ("mobilenetv2", "resnet18")
TYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WARM_UP, ROUNDS = 2, 6

Clock = Callable[[], float]

# Sides of the product; slices, channels, and side of the convolution's maps; numbers copied.
SIDE, SLICES, CHANNELS, PLACES, COPIED = 2048, 32, 512, 28, 1 << 26

# What the loop calls for each part of a step.
PARTS: dict[str, tuple[Any, str]] = {
    "loading": (loop, "_slices"),
    "augmentation": (loop, "augment"),
    "forward and backward": (loop.TrainStep, "_gradients"),
    "optimizer": (torch.optim.AdamW, "step"),
    "weights' average": (loop, "_average"),
}


@dataclass(slots=True, kw_only=True)
class Work:
    """What each operation of a step does: its arithmetic (FLOP), and the bytes that it reads and writes."""

    operations: list[tuple[float, float]] = field(default_factory=list)

    @property
    def arithmetic(self) -> float:
        """FLOP of the step."""
        return sum(flop for flop, _ in self.operations)

    @property
    def moved(self) -> float:
        """Bytes of the step."""
        return sum(count for _, count in self.operations)

    def bound(self, flops: float, bandwidth: float) -> float:
        """Seconds, where each operation is held up by one of the two ceilings (a second) alone."""
        return sum(max(flop / flops, count / bandwidth) for flop, count in self.operations)


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the work of every operation that is dispatched while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Do the operation and note it; a view does nothing."""
        del types
        given = func(*args, **(kwargs or {}))
        if not func.is_view:
            moved = sum(each.nbytes for each in _tensors((args, given)))
            self.work.operations.append((_flop(func.overloadpacket, args, given), float(moved)))
        return given


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for each in values:
            yield from _tensors(each)


def _flop(operation: Any, args: Sequence[Any], given: Any) -> float:
    """Arithmetic of an operation: 0 for all but products and convolutions.

    Each gradient of a convolution costs what the convolution does. torch's own formula forgets that channels of a
    depthwise one don't mix, and counts the gradient of its weights as many times over as it has channels.
    """
    if operation is torch.ops.aten.convolution_backward:
        out, _, weight, *_, wanted = args
        return float(2 * out.numel() * math.prod(weight.shape[1:]) * sum(wanted[:2]))
    if operation in flop_registry:
        return float(flop_registry[operation](*args, out_val=given))
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of each round: FLOP/s of product and convolution, bytes/s of the copy, seconds of a step and of its parts.

    `work` is that of one step.
    """

    ceilings: list[tuple[float, float, float]]
    step: list[float]
    parts: list[dict[str, float]]
    work: Work


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("nets", nargs="*", default=NETS)
    parser.add_argument("--threads", type=int, default=hardware.physical_cores())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    clock = time.process_time if asked.threads == 1 else time.perf_counter
    if "phantom" not in manifest.existing():
        dataset.make_dataset(name="phantom")
    make = functools.partial(recipe.make, data="phantom", device="cpu", threads=asked.threads, epochs=10_000)
    usual = devices.resolve(make(model=NETS[0]))
    machine.state()
    machine.say(f"torch {torch.__version__}, {asked.threads} threads, medians of {asked.rounds} rounds")
    measured: dict[tuple[str, str], Measured] = {
        (net, precision): measure(make(model=net, precision=precision), asked.rounds, clock)
        for precision in dict.fromkeys(("float32", usual.precision))
        for net in asked.nets
    }
    show_ceilings(measured)
    show_steps(measured)
    show_parts(measured)


def measure(settings: Recipe, rounds: int, clock: Clock) -> Measured:
    """Take turns between ceilings and steps of the loop."""
    kind = TYPES[settings.precision]
    found = Measured(ceilings=[], step=[], parts=[], work=Work())
    rates = (product(kind, clock), convolution(kind, clock), copy(clock))
    with tempfile.TemporaryDirectory() as scratch, contextlib.closing(steps(settings, Path(scratch))) as running:
        for number in range(WARM_UP + rounds):
            if number == 0:
                with Counting() as counting:
                    next(running)
                found.work.operations.extend(counting.work.operations)
                continue
            with timed(clock) as parts:
                before = clock()
                next(running)
                taken = clock() - before
            reached = tuple(rate() for rate in rates)
            if number >= WARM_UP:
                found.step.append(taken)
                found.parts.append(parts)
                found.ceilings.append((reached[0], reached[1], reached[2]))
    return found


@contextlib.contextmanager
def timed(clock: Clock) -> Iterator[dict[str, float]]:
    """Time what the loop calls for each part of a step: seconds, filled in as they pass."""
    taken = dict.fromkeys(PARTS, 0.0)

    def timing(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            before = clock()
            given = function(*args, **kwargs)
            taken[name] += clock() - before
            return given

        return call

    with contextlib.ExitStack() as stack:
        for name, (owner, function) in PARTS.items():
            stack.enter_context(mock.patch.object(owner, function, timing(name, getattr(owner, function))))
        yield taken


def product(kind: torch.dtype, clock: Clock) -> Callable[[], float]:
    """FLOP/s of a square matrix product."""
    left, right = (torch.rand(SIDE, SIDE).to(kind) for _ in range(2))
    out = torch.empty(SIDE, SIDE, dtype=kind)
    return lambda: 2 * SIDE**3 / fastest(lambda: torch.mm(left, right, out=out), clock)


def convolution(kind: torch.dtype, clock: Clock) -> Callable[[], float]:
    """FLOP/s of a 1×1 convolution, channels last, as the loop has them: the product inside a net."""
    slices = torch.rand(SLICES, CHANNELS, PLACES, PLACES).to(kind).contiguous(memory_format=torch.channels_last)
    kernels = torch.rand(CHANNELS, CHANNELS, 1, 1).to(kind).contiguous(memory_format=torch.channels_last)
    flop = 2 * slices.numel() * CHANNELS
    return lambda: flop / fastest(lambda: torch.conv2d(slices, kernels), clock)


def copy(clock: Clock) -> Callable[[], float]:
    """Bytes a second, read and written, of a copy."""
    source, target = torch.ones(COPIED), torch.ones(COPIED)
    return lambda: 2 * source.nbytes / fastest(lambda: target.copy_(source), clock)


def fastest(action: Callable[[], object], clock: Clock) -> float:
    """Seconds of the fastest of three calls: a ceiling is what can be reached."""
    taken = []
    for _ in range(3):
        before = clock()
        action()
        taken.append(clock() - before)
    return min(taken)


def show_ceilings(measured: dict[tuple[str, str], Measured]) -> None:
    """Print the medians of the ceilings."""
    for precision in dict.fromkeys(precision for _, precision in measured):
        rounds = [row for (_, each), found in measured.items() if each == precision for row in found.ceilings]
        by_product, by_convolution, by_copy = (statistics.median(values) for values in zip(*rounds, strict=True))
        machine.say(
            f"{precision:<9} product {by_product / 1e9:7.1f} GFLOP/s, 1×1 convolution {by_convolution / 1e9:7.1f} "
            f"GFLOP/s, copy {by_copy / 1e9:5.1f} GB/s"
        )


def show_steps(measured: dict[tuple[str, str], Measured]) -> None:
    """Print what a step does and how near it comes to the ceilings; shares are medians of the rounds' own."""
    machine.say(
        f"{'':<22}{'GFLOP':>7}{'GB moved':>10}{'seconds':>9}{'GFLOP/s':>9}"
        f"{'of product':>12}{'of convolution':>16}{'bound ÷ step':>14}"
    )
    for (net, precision), found in measured.items():
        flop, seconds = found.work.arithmetic, statistics.median(found.step)
        rounds = [
            (flop / step / by_product, flop / step / by_convolution, found.work.bound(by_product, by_copy) / step)
            for step, (by_product, by_convolution, by_copy) in zip(found.step, found.ceilings, strict=True)
        ]
        of_product, of_convolution, bound = (statistics.median(shares) for shares in zip(*rounds, strict=True))
        machine.say(
            f"{net:<12}{precision:<10}{flop / 1e9:7.1f}{found.work.moved / 1e9:10.2f}{seconds:9.3f}"
            f"{flop / seconds / 1e9:9.1f}{of_product:12.1%}{of_convolution:16.1%}{bound:14.0%}"
        )


def show_parts(measured: dict[tuple[str, str], Measured]) -> None:
    """Print where the time of a step goes; the rest is drawing seeds, events, and what lies between the parts."""
    machine.say(f"{'share of a step':<22}" + "".join(f"{name:>22}" for name in (*PARTS, "rest")))
    for (net, precision), found in measured.items():
        shares = [
            statistics.median(parts[name] / step for parts, step in zip(found.parts, found.step, strict=True))
            for name in PARTS
        ]
        row = (*shares, 1 - sum(shares))
        machine.say(f"{net:<12}{precision:<10}" + "".join(f"{share:22.1%}" for share in row))


if __name__ == "__main__":
    main()
