"""Distributed training: one process (rank) per device, started by torchrun; a single process without it.

Rank 0 executes the run, writes every file and prints every message. The other ranks (workers) wait for the name of
the next stage, train it in step with rank 0, and write nothing. Messages go through torchrun's own store, numbers
through collective operations (gloo, on GPUs NCCL).

A batch is cut into micro-batches of the size in the recipe (`micro_batch`), which are shared out among the ranks.
Gradients, loss and running statistics of batch normalisation become those of one rank that goes through all
micro-batches in order, but for the rounding of sums. Each rank draws its own dropout.
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

# Rank 0 may work alone for hours between two trainings (export, int8, timing); a lost rank ends the wait anyway.
_STORE_TIMEOUT = datetime.timedelta(days=7)
_GOODBYE_TIMEOUT = datetime.timedelta(minutes=5)
_GO, _STOP = "go", "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """This process: number `rank` of `size` that train together, `local_size` of them on this machine.

    `trainings`, `announced` and `steps` count what the ranks have begun together. All ranks count alike, so the
    numbers can be part of keys in the store.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    store: Store = field(default_factory=HashStore)
    trainings: Iterator[int] = field(default_factory=itertools.count)
    announced: Iterator[int] = field(default_factory=itertools.count)
    steps: Iterator[int] = field(default_factory=itertools.count)


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """The stage of a run to train next; `run` is empty when there is nothing left to train."""

    run: str = ""
    stage: str = ""


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a worker failed; `final`: restarting would not help."""

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
    # Keys that an interrupted attempt left in the store must not be read by this one.
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
    """On rank 0, tell the workers to train `stage` of `run` too."""
    group = process_group()
    if group.size > 1 and group.rank == 0:
        report = msgspec.json.encode(RunReport(run=run, stage=stage)).decode()
        group.store.set(f"stage/{next(group.announced)}", report)


def reported_runs() -> Iterator[RunReport]:
    """On a worker, yield each stage that rank 0 announces, until there are no more."""
    group = process_group()
    for number in group.announced:
        report = msgspec.json.decode(group.store.get(f"stage/{number}"), type=RunReport)
        if not report.run:
            return
        yield report


@contextlib.contextmanager
def rank_zero() -> Iterator[None]:
    """Context of rank 0: at its end, however it comes, dismiss the workers."""
    group = process_group()
    timeout = _GOODBYE_TIMEOUT
    try:
        yield
    except (KeyboardInterrupt, InterruptedRunError, LostRankError):
        # The workers got the same signal, or are gone.
        timeout = datetime.timedelta(milliseconds=1)
        raise
    finally:
        # A missing store means there is no worker left. A late worker must still find its peers.
        with contextlib.suppress(RuntimeError):
            report_run("", "")
            group.store.wait([f"bye/{rank}" for rank in range(1, group.size)], timeout)


@contextlib.contextmanager
def worker() -> Iterator[None]:
    """Context of a worker: put the reason of a failure into the store, for rank 0 to report.

    A LungcliError ends the worker quietly, since rank 0 reports it. Other errors propagate, and torchrun restarts all
    ranks.
    """
    with contextlib.ExitStack() as stack:
        stack.push(_report_failure)
        yield
    with contextlib.suppress(RuntimeError):
        process_group().store.set(f"bye/{process_group().rank}", "")


def _report_failure(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
    del kind, trace
    group = process_group()
    if error is None or isinstance(error, LostRankError):
        return False
    final = isinstance(error, LungcliError)
    failure = _Failure(
        message=error.message if isinstance(error, LungcliError) else f"{type(error).__name__}: {_first_line(error)}",
        hint=error.hint if isinstance(error, LungcliError) else "",
        final=final,
    )
    with contextlib.suppress(RuntimeError):
        group.store.set(f"failure/{group.rank}", msgspec.json.encode(failure).decode())
        # Rank 0 may be waiting for this worker to begin.
        group.store.set(f"ready/{next(group.trainings)}/{group.rank}", "")
    return final


@contextlib.contextmanager
def synchronized() -> Iterator[None]:
    """Context of one training: starts when every rank is ready, and ends on all ranks when rank 0 ends it.

    Raises LungcliError with the reason a worker failed for, LostRankError when a rank disappears without one.
    """
    group = process_group()
    if group.size == 1:
        yield
        return
    finished = False
    try:
        _await_all(group)
        yield
        finished = True
    except RuntimeError as error:
        raise _failure_cause(group, error) from error
    finally:
        if not finished and group.rank == 0:
            with contextlib.suppress(RuntimeError):
                group.store.set(f"turn/{next(group.steps)}", _STOP)


def barrier_step() -> None:
    """Wait for all ranks to begin a step. Raises InterruptedRunError on a worker when rank 0 has stopped."""
    group = process_group()
    if group.size == 1:
        return
    number = next(group.steps)
    if group.rank:
        if group.store.get(f"turn/{number}") == _STOP.encode():
            raise InterruptedRunError("rank 0 has stopped")
        return
    group.store.set(f"turn/{number}", _GO)
    # Every rank has taken part in the step before this one, so none still reads an earlier key.
    group.store.delete_key(f"turn/{number - 1}")


def _await_all(group: ProcessGroup) -> None:
    number = next(group.trainings)
    if group.rank:
        group.store.set(f"ready/{number}/{group.rank}", "")
        return
    for rank in range(1, group.size):
        group.store.get(f"ready/{number}/{rank}")
    for rank, failure in _failures(group):
        raise _as_error(rank, failure)


def _failures(group: ProcessGroup) -> list[tuple[int, _Failure]]:
    others = [rank for rank in range(1, group.size) if group.store.check([f"failure/{rank}"])]
    return [(rank, msgspec.json.decode(group.store.get(f"failure/{rank}"), type=_Failure)) for rank in others]


def _as_error(rank: int, failure: _Failure) -> LungcliError:
    kind = LungcliError if failure.final else LostRankError
    return kind(f"device {rank}: {failure.message}", failure.hint)


def _failure_cause(group: ProcessGroup, error: RuntimeError) -> LungcliError:
    """Return why a collective operation failed: the reason another rank left, else that a rank was lost."""
    with contextlib.suppress(RuntimeError):
        for rank, failure in _failures(group):
            return _as_error(rank, failure)
    return LostRankError(f"a device was lost, or this one failed: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    """First line of the message of `error`, without the location in torch's sources."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^\]]*\.cc:\d+\] ", "", line)


def shard_slices(count: int, at_a_time: int, rank: int, size: int) -> list[slice]:
    """Return the micro-batches, at least one, of a batch of `count` slices that `rank` of `size` works on.

    The batch is cut as a single rank would cut it, into micro-batches of `at_a_time` slices (0: all); where that makes
    fewer than there are ranks, each rank gets one. Raises UsageError when there are fewer slices than ranks.
    """
    if count < size:
        raise UsageError(f"a batch of {count} slices can't be shared by {size} devices", "take fewer --devices")
    bounds = [*range(0, count, at_a_time or count), count]
    if len(bounds) <= size:
        bounds = [-(-count * number // size) for number in range(size + 1)]
    parts = [slice(start, end) for start, end in itertools.pairwise(bounds)]
    return parts[len(parts) * rank // size : len(parts) * (rank + 1) // size]


def micro_batches(count: int, at_a_time: int) -> list[slice]:
    """Micro-batches of a batch that this rank works on; see `shard_slices`."""
    group = process_group()
    return shard_slices(count, at_a_time, group.rank, group.size)


def shard_range(starts: range) -> range:
    """Return the contiguous part of `starts` that belongs to this rank; each start belongs to exactly one."""
    group = process_group()
    return starts[len(starts) * group.rank // group.size : len(starts) * (group.rank + 1) // group.size]


def micro_batch(batch: int, device: torch.device) -> int:
    """Return the micro-batch size of a new recipe; 0, the whole batch, on a single rank and on GPUs.

    On GPUs, batch normalisation takes its statistics over all ranks. On CPUs torch cannot, so they are those of a
    micro-batch, and the recipe says so: it then means the same on any number of devices.
    """
    size = process_group().size
    return 0 if size == 1 or device.type == "cuda" else -(-batch // size)


def distributed_data_parallel(
    net: nn.Module, device: torch.device, at_a_time: int, position: tuple[int, int]
) -> nn.Module:
    """Wrap `net` in DistributedDataParallel where there are several ranks; `net` keeps its weights and their names.

    With whole batches (`at_a_time` 0) on GPUs, batch normalisation uses the statistics of all ranks. Raises
    LungcliError when the ranks resume from checkpoints with different `position` (epoch, batch).
    """
    group = process_group()
    if group.size == 1:
        return net
    positions = torch.zeros(group.size, 2, dtype=torch.int64)
    positions[group.rank] = torch.tensor(position, dtype=torch.int64)
    distributed.all_reduce(positions)
    if not torch.equal(positions, positions[0].expand_as(positions)):
        raise LungcliError(
            "the machines don't find the same checkpoint", "set LUNGCLI_HOME to a folder that all of them share"
        )
    if device.type == "cuda" and at_a_time == 0:
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    device_ids = [device] if device.type == "cuda" else None
    # It broadcasts buffers of rank 0 before a step: `synchronized_batch_norm` has made them equal on all ranks.
    return DistributedDataParallel(net, device_ids=device_ids)


def sync_gradients(net: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[None]:
    """Context of the pass of one micro-batch: gradients are exchanged only in that of the last."""
    if isinstance(net, DistributedDataParallel) and not last:
        unsynchronized: contextlib.AbstractContextManager[None] = net.no_sync()
        return unsynchronized
    return contextlib.nullcontext()


def all_reduce_sum(value: float) -> float:
    """Sum of `value` over ranks."""
    if process_group().size == 1:
        return value
    values = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(values)
    return float(values)


def all_gather(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Combine rows (n, K), each of which is zero on all ranks but one."""
    if process_group().size > 1:
        distributed.all_reduce(torch.from_numpy(rows))
    return rows


@contextlib.contextmanager
def synchronized_batch_norm(net: nn.Module) -> Iterator[None]:
    """Make the running statistics of batch normalisation those of one rank that sees all micro-batches in order.

    One micro-batch moves a mean r to (1 − m)·r + m·x, so k of them move it to (1 − m)ᵏ·r + d, where d does not depend
    on r: the k and d of each rank are applied one after the other.
    """
    group = process_group()
    layers = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d) and layer.training]
    if group.size == 1 or not layers:
        yield
        return
    before, batches_before = _running_statistics(layers), _batches_seen(layers)
    yield
    counts = _batches_seen(layers) - batches_before
    decays = torch.cat([_decays(layer) for layer in layers]).to(before.device)
    statistics = torch.stack([_running_statistics(layers), before])
    statistics_of_ranks = [torch.empty_like(statistics) for _ in range(group.size)]
    counts_of_ranks = [torch.empty_like(counts) for _ in range(group.size)]
    distributed.all_gather(statistics_of_ranks, statistics)
    distributed.all_gather(counts_of_ranks, counts)
    running = before
    for (after, start), count in zip(statistics_of_ranks, counts_of_ranks, strict=True):
        decay = decays ** int(count)
        running = decay * running + (after - decay * start)
    _set_running_statistics(layers, running, int(batches_before) + sum(map(int, counts_of_ranks)))


def _running_statistics(layers: list[nn.BatchNorm2d]) -> Tensor:
    """Running means and variances of all layers, float64 (n,)."""
    buffers = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var) if buffer is not None]
    return torch.cat([buffer.detach().double() for buffer in buffers])


def _batches_seen(layers: list[nn.BatchNorm2d]) -> Tensor:
    """How many micro-batches the layers have seen, int64 (1,): the same for all layers of a net."""
    tracked = layers[0].num_batches_tracked
    return torch.zeros(1, dtype=torch.int64) if tracked is None else tracked.detach().clone().view(1)


def _decays(layer: nn.BatchNorm2d) -> Tensor:
    """The share 1 − m of a layer's statistics that one micro-batch leaves, float64, shaped as `_running_statistics`."""
    return torch.full((2 * layer.num_features,), 1 - (layer.momentum or 0.0), dtype=torch.float64)


def _set_running_statistics(layers: list[nn.BatchNorm2d], value: Tensor, batches: int) -> None:
    rest = value
    with torch.no_grad():
        for layer in layers:
            for buffer in (layer.running_mean, layer.running_var):
                if buffer is not None:
                    buffer.copy_(rest[: buffer.numel()])
                    rest = rest[buffer.numel() :]
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.fill_(batches)
