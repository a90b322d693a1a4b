"""The edge to Ray: a pool of workers, each with a session of its own, that judges shards and survives lost machines."""

import contextlib
import gc
import logging
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lungcli.batch import filesystem
from lungcli.batch import worker as judge
from lungcli.batch.shards import Shard
from lungcli.batch.worker import WorkerOptions
from lungcli.core import cpu
from lungcli.core.errors import LungcliError, NetworkError, UsageError
from lungcli.imaging import privacy
from lungcli.imaging.picture import printable
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model

# Only names and finished shards pass through it.
_STORE_BYTES = 256 << 20
_LONGEST = 30
# Shards a worker is given at once; the names of all files of a large archive would not fit.
_AHEAD = 64
# How often a shard whose worker is lost is given to another: machines go, but a file may be what ends its reader.
_TRIES_AGAIN = 2
_IN_FULL = " (with --include-phi and another --output it is named in full)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Who works: `workers` of the cluster at `address`, or of one on this machine where that is empty.

    0 workers: one for each so many cores as a worker has threads.
    """

    address: str = ""
    workers: int = 0
    store_bytes: int = _STORE_BYTES


class Worker:
    """Judges shards with the one session it has. Ray makes it on whichever machine has room."""

    def __init__(self, archive: str, model: list[Any], manner: WorkerOptions) -> None:
        import ray

        self._archive, self._manner = archive, manner
        # A reference in a list stays one, so that a worker can be made again on another machine.
        self._model = _loaded(ray.get(model[0]))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Judge the files of a shard: the Parquet file as `content`, or in `fault` why the archive can't be read."""
        names = [os.fsdecode(name) for name in row["files"]]
        content, fault = b"", ""
        try:
            content = judge.predict_shard(filesystem.open_location(self._archive), names, self._model, self._manner)
        except NetworkError as error:
            fault = error.message
        return {"name": row["name"], "content": content, "fault": fault}


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerSpec:
    """What workers are made of: their class, and what it is called with."""

    worker: type[Worker]
    archive: str
    model: list[Any]
    manner: WorkerOptions


def require_installed() -> None:
    """Raise UsageError where the extra is not installed."""
    if missing := [name for name in ("ray", "pyarrow", "fsspec") if find_spec(name) is None]:
        raise UsageError(
            f"--engine ray needs what is not installed: {', '.join(missing)}", "install it: pip install 'lungcli[ray]'"
        )


def predict_shards(
    shards: Sequence[Shard],
    archive: str,
    model: bytes,
    manner: WorkerOptions,
    pool: Pool,
    worker: type[Worker] = Worker,
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the Parquet file of every shard, each once, in the order they are finished.

    What a lost machine had in hand is judged by another, by what `worker` makes of it. Raises NetworkError where the
    archive or the cluster can't be reached, LungcliError where a file ends every worker that looks at it.
    """
    with _running(pool, manner.threads) as workers:
        import ray

        crew = _WorkerSpec(worker=worker, archive=archive, model=[ray.put(model)], manner=manner)
        waiting, most = list(shards), _AHEAD * workers
        while waiting:
            wave, later = waiting[:most], waiting[most:]
            done: set[str] = set()
            failed = ""
            try:
                for row in _rows(wave, crew, min(workers, len(wave))):
                    if row["fault"]:
                        raise NetworkError(row["fault"], "the same command goes on when it can be reached")
                    if row["name"] not in done:
                        done.add(row["name"])
                        yield row["name"], row["content"]
            except _ray_error() as error:
                failed = _first_line(error)
            if failed:
                # Workers live for as long as the error's frames refer to them, and keep their cores from the next.
                gc.collect()
                if len(wave) == 1:
                    raise _worker_failure(wave[0], crew, len(waiting), failed)
            # What fails with others may be their fault: ever fewer at a time, until it is alone.
            most = max(1, len(wave) // 4) if failed else min(2 * most, _AHEAD * workers)
            waiting = [shard for shard in wave if shard.name not in done] + later


def _worker_failure(shard: Shard, crew: _WorkerSpec, remaining: int, failed: str) -> LungcliError:
    """Say what ends every worker that takes a shard: a file of it, where those with nothing to do live on."""
    kept, suspects = "the shards that are written are kept", shard.files if _survived((), crew) else ()
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        suspects = suspects[len(half) :] if _survived(half, crew) else half
    if not suspects or _survived(suspects, crew):
        return LungcliError(
            f"{remaining} shards remain, and every worker that took one failed: {failed}",
            f"{kept}; look into Ray's logs, then type the same command",
        )
    called, full = _shown_name(suspects[0], shard, crew), "" if crew.manner.include_phi else _IN_FULL
    return LungcliError(
        f"{remaining} shards remain, and every worker that looks at {called} dies",
        f"{kept}; move that file out of the archive{full if privacy.HIDDEN in called else ''}, "
        "then type the same command",
    )


def _shown_name(name: str, shard: Shard, crew: _WorkerSpec) -> str:
    """Name a file of a shard as its verdict would. A worker finds out how, as even the header may end who reads it.

    Then the headers of its neighbours are left to say which words of its name are a patient's.
    """
    import ray

    shown = filesystem.open_location(crew.archive).named(name)
    if crew.manner.include_phi:
        return printable(shown)
    task = ray.remote(judge.shown_name).options(num_cpus=crew.manner.threads, max_retries=0)
    neighbours = tuple(each for each in shard.files if each != name)
    for read in (shard.files, neighbours):
        with contextlib.suppress(_ray_error()):
            return printable(ray.get(task.remote(crew.archive, read, name)))
    return printable(privacy.without_folders(shown))


def _survived(files: Sequence[str], crew: _WorkerSpec) -> bool:
    """Say whether a worker outlives looking at files."""
    survived = False
    with contextlib.suppress(_ray_error()):
        survived = len(list(_rows([Shard(name="", files=tuple(files))], crew, 1, tries_again=0))) == 1
    gc.collect()
    return survived


@contextlib.contextmanager
def _running(pool: Pool, threads: int) -> Iterator[int]:
    """Join or start a cluster that calls nobody outside; yields the number of workers it has room for."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not pool.address:
        # Ray listens on every interface: only who knows this word may speak to what it starts here.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray
    import ray.data

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with contextlib.ExitStack() as stack:
        if not pool.address:
            temporary = tempfile.TemporaryDirectory(prefix="ray", dir=_short(), ignore_cleanup_errors=True)
            folder = stack.enter_context(temporary)
            quiet |= {
                "num_cpus": (pool.workers or max(1, cpu.physical_cores() // threads)) * threads,
                "object_store_memory": pool.store_bytes,
                "include_dashboard": False,
                "_temp_dir": folder,
            }
        try:
            ray.init(address=pool.address or "local", **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            where = f"the Ray cluster at {pool.address}" if pool.address else "Ray on this machine"
            raise NetworkError(f"cannot reach or start {where}: {_first_line(error)}", "see `ray status`") from error
        stack.callback(ray.shutdown)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield pool.workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)


def _rows(
    shards: Sequence[Shard], crew: _WorkerSpec, workers: int, tries_again: int = _TRIES_AGAIN
) -> Iterator[dict[str, Any]]:
    import ray.data

    # A block a shard: each is given out, retried and handed back by itself.
    rows = [{"name": shard.name, "files": [os.fsencode(name) for name in shard.files]} for shard in shards]
    with warnings.catch_warnings():
        # Ray Data has no other way yet to bound how often a shard is tried.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            crew.worker,
            fn_constructor_args=(crew.archive, crew.model, crew.manner),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=crew.manner.threads,
            max_task_retries=tries_again,
            # One that is made anew after its last try would wait for work that nobody has, on a core that others need.
            max_restarts=tries_again,
        )
    yield from made.iter_rows()


def _short() -> str | None:
    """Where Ray's sockets can lie, whose names may be no longer than 107 bytes; None for the usual place."""
    return None if len(tempfile.gettempdir()) <= _LONGEST else "/tmp"  # noqa: S108 - a folder of our own is made in it


def _loaded(model: bytes) -> Model:
    """Start a model file whose bytes came from another machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        return model_file.load(path, 1)


def _ray_error() -> type[Exception]:
    from ray.exceptions import RayError

    found: type[Exception] = RayError
    return found


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
