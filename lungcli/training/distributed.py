"""Training on several devices: one process a device, called a rank, started by torchrun; alone without it.

Rank 0 leads: it goes through the run, writes every file and says every word. The others follow: they wait to be told
which stage to train, train it in step with rank 0, and keep nothing. Words go through torchrun's own store, numbers
through collective operations (gloo, on GPUs NCCL).

A batch is cut into parts that the recipe decides (`micro_batch`), and each rank works on some of them. Gradients,
loss and running statistics of batch normalisation become those of one rank that goes through all parts in order, but
for the rounding of sums. Dropout is drawn by each rank for itself.
"""

import contextlib
import datetime
import functools
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.distributed import HashStore, PrefixStore, Store, rendezvous  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from lungcli.core.errors import InterruptedRunError, LostRankError, LungcliError, UsageError

# What rank 0 does alone between two trainings (export, int8, timing) may take long; a lost rank ends the wait anyway.
_STORE_TIMEOUT = datetime.timedelta(days=7)
_GOODBYE_TIMEOUT = datetime.timedelta(minutes=5)
_GO, _STOP = "go", "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """This process, number `rank` of `size` that train together, `beside` of them on this machine.

    `trainings` and `turns` count what has been begun together: every rank counts alike, so numbers name keys in the
    store.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    store: Store = field(default_factory=HashStore)
    trainings: Iterator[int] = field(default_factory=itertools.count)
    announced: Iterator[int] = field(default_factory=itertools.count)
    steps: Iterator[int] = field(default_factory=itertools.count)


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """The stage of a run that is trained next; an empty run when there is nothing left to train."""

    run: str = ""
    stage: str = ""


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a follower gave up; `final`: it would again."""

    message: str
    hint: str = ""
    final: bool = False


@functools.cache
def process_group() -> ProcessGroup:
    """Join the other processes that torchrun started, once; alone where it started none."""
    if not distributed.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        return ProcessGroup()
    store, rank, size = next(rendezvous("env://", timeout=_STORE_TIMEOUT))
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    # What an attempt that was cut off has left in the store is not meant for this one.
    store = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    group = PrefixStore("group", store)
    distributed.init_process_group(backend, store=group, rank=rank, world_size=size)
    return ProcessGroup(
        rank=rank,
        size=size,
        local_size=int(os.environ["LOCAL_WORLD_SIZE"]),
        store=PrefixStore("words", store),
    )


def report_run(run: str, stage: str) -> None:
    """As rank 0, tell the others to train `stage` of `run` too."""
    ranks = process_group()
    if ranks.size > 1 and ranks.rank == 0:
        word = msgspec.json.encode(RunReport(run=run, stage=stage)).decode()
        ranks.store.set(f"stage/{next(ranks.announced)}", word)


def reported_runs() -> Iterator[RunReport]:
    """As a follower, wait for each stage that rank 0 announces, up to the end."""
    ranks = process_group()
    for number in ranks.announced:
        word = msgspec.json.decode(ranks.store.get(f"stage/{number}"), type=RunReport)
        if not word.run:
            return
        yield word


@contextlib.contextmanager
def rank_zero() -> Iterator[None]:
    """As rank 0, send the others home at the end, however it comes."""
    ranks = process_group()
    waiting = _GOODBYE_TIMEOUT
    try:
        yield
    except (KeyboardInterrupt, InterruptedRunError, LostRankError):
        # The others have had the same signal, or are gone.
        waiting = datetime.timedelta(milliseconds=1)
        raise
    finally:
        # Where the store is gone there is nobody to tell. One that comes late must find its peers.
        with contextlib.suppress(RuntimeError):
            report_run("", "")
            ranks.store.wait([f"bye/{rank}" for rank in range(1, ranks.size)], waiting)


@contextlib.contextmanager
def worker() -> Iterator[None]:
    """As a follower, leave the reason of a failure in the store, for rank 0 to say.

    What rank 0 meets as well, or can say to the user, ends here in peace. Anything else goes on: torchrun starts all
    again after it.
    """
    with contextlib.ExitStack() as stack:
        stack.push(_report_failure)
        yield
    with contextlib.suppress(RuntimeError):
        process_group().store.set(f"bye/{process_group().rank}", "")


def _report_failure(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
    del kind, trace
    ranks = process_group()
    if error is None or isinstance(error, LostRankError):
        return False
    final = isinstance(error, LungcliError)
    failure = _Failure(
        message=error.message if isinstance(error, LungcliError) else f"{type(error).__name__}: {_first_line(error)}",
        hint=error.hint if isinstance(error, LungcliError) else "",
        final=final,
    )
    with contextlib.suppress(RuntimeError):
        ranks.store.set(f"failure/{ranks.rank}", msgspec.json.encode(failure).decode())
        # Rank 0 may be waiting for this one to begin.
        ranks.store.set(f"ready/{next(ranks.trainings)}/{ranks.rank}", "")
    return final


@contextlib.contextmanager
def synchronized() -> Iterator[None]:
    """Train together: begun when every rank is ready, ended by all when rank 0 ends it.

    Raises LungcliError with what a follower failed of, LostRankError when a rank is gone without a word.
    """
    ranks = process_group()
    if ranks.size == 1:
        yield
        return
    finished = False
    try:
        _await_all(ranks)
        yield
        finished = True
    except RuntimeError as error:
        raise _failure_cause(ranks, error) from error
    finally:
        if not finished and ranks.rank == 0:
            with contextlib.suppress(RuntimeError):
                ranks.store.set(f"turn/{next(ranks.steps)}", _STOP)


def barrier_step() -> None:
    """Begin a step together. Raises InterruptedRunError in a follower when rank 0 has stopped."""
    ranks = process_group()
    if ranks.size == 1:
        return
    number = next(ranks.steps)
    if ranks.rank:
        if ranks.store.get(f"turn/{number}") == _STOP.encode():
            raise InterruptedRunError("rank 0 has stopped")
        return
    ranks.store.set(f"turn/{number}", _GO)
    # Every rank has taken part in the step before this one, so none waits for an earlier word.
    ranks.store.delete_key(f"turn/{number - 1}")


def _await_all(ranks: ProcessGroup) -> None:
    number = next(ranks.trainings)
    if ranks.rank:
        ranks.store.set(f"ready/{number}/{ranks.rank}", "")
        return
    for rank in range(1, ranks.size):
        ranks.store.get(f"ready/{number}/{rank}")
    for rank, failure in _failures(ranks):
        raise _as_error(rank, failure)


def _failures(ranks: ProcessGroup) -> list[tuple[int, _Failure]]:
    others = [rank for rank in range(1, ranks.size) if ranks.store.check([f"failure/{rank}"])]
    return [(rank, msgspec.json.decode(ranks.store.get(f"failure/{rank}"), type=_Failure)) for rank in others]


def _as_error(rank: int, failure: _Failure) -> LungcliError:
    kind = LungcliError if failure.final else LostRankError
    return kind(f"device {rank}: {failure.message}", failure.hint)


def _failure_cause(ranks: ProcessGroup, error: RuntimeError) -> LungcliError:
    """Say why working together failed: what another rank said of itself, else that it went without a word."""
    with contextlib.suppress(RuntimeError):
        for rank, failure in _failures(ranks):
            return _as_error(rank, failure)
    return LostRankError(f"a device was lost, or this one failed: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    """First line of what `error` says, without the place in torch's sources."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^\]]*\.cc:\d+\] ", "", line)


def shard_slices(count: int, at_a_time: int, rank: int, size: int) -> list[slice]:
    """Parts of a batch of `count` slices that `rank` of `size` works on: neighbours, at least one.

    The batch is cut as one rank would cut it, `at_a_time` slices (0: all) to a part, and only where that makes fewer
    parts than ranks into one part for each. Raises UsageError when there are fewer slices than ranks.
    """
    if count < size:
        raise UsageError(f"a batch of {count} slices can't be shared by {size} devices", "take fewer --devices")
    bounds = [*range(0, count, at_a_time or count), count]
    if len(bounds) <= size:
        bounds = [-(-count * each // size) for each in range(size + 1)]
    parts = [slice(start, end) for start, end in itertools.pairwise(bounds)]
    return parts[len(parts) * rank // size : len(parts) * (rank + 1) // size]


def micro_batches(count: int, at_a_time: int) -> list[slice]:
    """Parts of a batch that this rank works on; see `shard_slices`."""
    ranks = process_group()
    return shard_slices(count, at_a_time, ranks.rank, ranks.size)


def shard_range(starts: range) -> range:
    """Return this rank's neighbours among `starts`: each belongs to exactly one rank."""
    ranks = process_group()
    return starts[len(starts) * ranks.rank // ranks.size : len(starts) * (ranks.rank + 1) // ranks.size]


def micro_batch(batch: int, device: torch.device) -> int:
    """Slices a part that a new recipe of several ranks asks for; 0: no parts, which one rank always asks for.

    On GPUs, batch normalisation takes its statistics over all ranks. On CPUs torch can't, so they are those of a part,
    and the recipe says so: it means the same on any number of devices.
    """
    size = process_group().size
    return 0 if size == 1 or device.type == "cuda" else -(-batch // size)


def distributed_data_parallel(
    net: nn.Module, device: torch.device, at_a_time: int, position: tuple[int, int]
) -> nn.Module:
    """Wrap `net` so that gradients of all ranks are added up; `net` itself keeps its weights and their names.

    With whole batches (`at_a_time` 0) on GPUs, batch normalisation is made to use the statistics of all ranks. Raises
    LungcliError when ranks found different checkpoints, told by the `position` (epoch, batch) in them.
    """
    ranks = process_group()
    if ranks.size == 1:
        return net
    positions = torch.zeros(ranks.size, 2, dtype=torch.int64)
    positions[ranks.rank] = torch.tensor(position, dtype=torch.int64)
    distributed.all_reduce(positions)
    if not torch.equal(positions, positions[0].expand_as(positions)):
        raise LungcliError(
            "the machines don't find the same checkpoint", "set LUNGCLI_HOME to a folder that all of them share"
        )
    if device.type == "cuda" and at_a_time == 0:
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    where = [device] if device.type == "cuda" else None
    # Buffers that it sends from rank 0 before a step: `synchronized_batch_norm` has left them alike in all ranks.
    return DistributedDataParallel(net, device_ids=where)


def sync_gradients(net: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[None]:
    """Context of one part's pass: gradients are exchanged in that of the last."""
    if isinstance(net, DistributedDataParallel) and not last:
        waiting: contextlib.AbstractContextManager[None] = net.no_sync()
        return waiting
    return contextlib.nullcontext()


def all_reduce_sum(value: float) -> float:
    """Sum of `value` over ranks."""
    if process_group().size == 1:
        return value
    values = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(values)
    return float(values)


def all_gather(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put rows (n, K) together that are each zero in all ranks but one."""
    if process_group().size > 1:
        distributed.all_reduce(torch.from_numpy(rows))
    return rows


@contextlib.contextmanager
def synchronized_batch_norm(net: nn.Module) -> Iterator[None]:
    """Make the running statistics of batch normalisation those of one rank that meets every rank's parts in order.

    One part moves a mean r to (1 − m)·r + m·x, so k parts move it to (1 − m)ᵏ·r + d, with a d that doesn't depend on
    r: each rank's k and d are applied one after the other.
    """
    ranks = process_group()
    layers = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    if ranks.size == 1 or not layers:
        yield
        return
    before, passes = _running_statistics(layers), _batches_seen(layers)
    yield
    counts = _batches_seen(layers) - passes
    left = torch.cat([_decays(layer) for layer in layers]).to(before.device)
    found = torch.stack([_running_statistics(layers), before])
    from_all = [torch.empty_like(found) for _ in range(ranks.size)]
    counted = [torch.empty_like(counts) for _ in range(ranks.size)]
    distributed.all_gather(from_all, found)
    distributed.all_gather(counted, counts)
    value = before
    for (after, start), count in zip(from_all, counted, strict=True):
        kept = left ** int(count)
        value = kept * value + (after - kept * start)
    _set_running_statistics(layers, value, int(passes) + sum(map(int, counted)))


def _running_statistics(layers: list[nn.BatchNorm2d]) -> Tensor:
    """Running means and variances of all layers, float64 (n,)."""
    buffers = [each for layer in layers for each in (layer.running_mean, layer.running_var) if each is not None]
    return torch.cat([buffer.detach().double() for buffer in buffers])


def _batches_seen(layers: list[nn.BatchNorm2d]) -> Tensor:
    """How many parts the layers have met, int64 (1,); layers of one net meet the same."""
    counted = layers[0].num_batches_tracked
    return torch.zeros(1, dtype=torch.int64) if counted is None else counted.detach().clone().view(1)


def _decays(layer: nn.BatchNorm2d) -> Tensor:
    """What one part leaves of a layer's means and variances: 1 − m, float64, as long as in `_running_statistics`."""
    return torch.full((2 * layer.num_features,), 1 - (layer.momentum or 0.0), dtype=torch.float64)


def _set_running_statistics(layers: list[nn.BatchNorm2d], value: Tensor, passes: int) -> None:
    rest = value
    with torch.no_grad():
        for layer in layers:
            for buffer in (layer.running_mean, layer.running_var):
                if buffer is not None:
                    buffer.copy_(rest[: buffer.numel()])
                    rest = rest[buffer.numel() :]
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.fill_(passes)
