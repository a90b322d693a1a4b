"""The Ray pool: workers, each with a session of its own, that predict shards and survive the loss of machines."""

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
from lungcli.batch.shards import Shard
from lungcli.batch.worker import WorkerOptions, predict_shard, shown_name
from lungcli.core import cpu
from lungcli.core.errors import LungcliError, NetworkError, UsageError
from lungcli.imaging import privacy
from lungcli.imaging.picture import printable
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model

# The object store holds only names and finished shards.
_STORE_BYTES = 256 << 20
_LONGEST = 30
# Shards per worker submitted at once; the names of all files of a large archive would not fit.
_AHEAD = 64
# Retries of a shard whose worker is lost: machines fail, but a file may also crash its reader.
_TRIES_AGAIN = 2
_IN_FULL = " (with --include-phi and another --output it is named in full)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The workers: `workers` of the cluster at `address`, or of one on this machine where that is empty.

    With 0 workers, as many as there are cores for the threads of each.
    """

    address: str = ""
    workers: int = 0


class Worker:
    """Predicts shards with one session. Ray creates it on any machine with free cores."""

    def __init__(self, archive: str, model: list[Any], options: WorkerOptions) -> None:
        import ray

        self._archive, self._options = archive, options
        # Ray does not resolve a reference in a list, so a worker can be recreated on another machine.
        self._model = _loaded(ray.get(model[0]))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Predict the files of a shard: the Parquet file in `content`, or in `fault` why the archive cannot be read."""
        names = [os.fsdecode(name) for name in row["files"]]
        content, fault = b"", ""
        try:
            content = predict_shard(filesystem.open_location(self._archive), names, self._model, self._options)
        except NetworkError as error:
            fault = error.message
        return {"name": row["name"], "content": content, "fault": fault}


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerSpec:
    """The class of a worker and its arguments."""

    worker: type[Worker]
    archive: str
    model: list[Any]
    options: WorkerOptions


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
    options: WorkerOptions,
    pool: Pool,
    worker: type[Worker] = Worker,
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the Parquet file of every shard, each once, in the order they are finished.

    The shards of a lost machine are predicted by another. `worker` is the class of the workers. Raises NetworkError
    where the archive or the cluster cannot be reached, LungcliError where a file crashes every worker that reads it.
    """
    with _running(pool, options.threads) as workers:
        import ray

        spec = _WorkerSpec(worker=worker, archive=archive, model=[ray.put(model)], options=options)
        waiting, most = list(shards), _AHEAD * workers
        while waiting:
            wave, later = waiting[:most], waiting[most:]
            done: set[str] = set()
            failed = ""
            try:
                for row in _rows(wave, spec, min(workers, len(wave))):
                    if row["fault"]:
                        raise NetworkError(row["fault"], "the same command resumes when it can be reached")
                    if row["name"] not in done:
                        done.add(row["name"])
                        yield row["name"], row["content"]
            except _ray_error() as error:
                failed = _first_line(error)
            if failed:
                # Workers live as long as frames of the error refer to them, and would keep their cores.
                gc.collect()
                if len(wave) == 1:
                    raise _worker_failure(wave[0], spec, len(waiting), failed)
            # One shard may make the others fail: submit fewer and fewer, down to a single one.
            most = max(1, len(wave) // 4) if failed else min(2 * most, _AHEAD * workers)
            waiting = [shard for shard in wave if shard.name not in done] + later


def _worker_failure(shard: Shard, spec: _WorkerSpec, remaining: int, failed: str) -> LungcliError:
    """Return the error for a shard that kills its workers: a file of it, found by bisection, or something else."""
    kept, suspects = "the shards that are written are kept", shard.files if _survived((), spec) else ()
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        suspects = suspects[len(half) :] if _survived(half, spec) else half
    if not suspects or _survived(suspects, spec):
        return LungcliError(
            f"{remaining} shards remain, and every worker that took one failed: {failed}",
            f"{kept}; check Ray's logs, then run the same command again",
        )
    shown, full = _shown_name(suspects[0], shard, spec), "" if spec.options.include_phi else _IN_FULL
    return LungcliError(
        f"{remaining} shards remain, and every worker that reads {shown} dies",
        f"{kept}; move that file out of the archive{full if privacy.HIDDEN in shown else ''}, "
        "then run the same command again",
    )


def _shown_name(name: str, shard: Shard, spec: _WorkerSpec) -> str:
    """Return the name of a file as its prediction would show it. A worker computes it: its header may crash the reader.

    If so, the headers of the other files tell which words of its name are a patient's.
    """
    import ray

    shown = filesystem.open_location(spec.archive).named(name)
    if spec.options.include_phi:
        return printable(shown)
    task = ray.remote(shown_name).options(num_cpus=spec.options.threads, max_retries=0)
    neighbours = tuple(file for file in shard.files if file != name)
    for read in (shard.files, neighbours):
        with contextlib.suppress(_ray_error()):
            return printable(ray.get(task.remote(spec.archive, read, name)))
    return printable(privacy.without_folders(shown))


def _survived(files: Sequence[str], spec: _WorkerSpec) -> bool:
    survived = False
    with contextlib.suppress(_ray_error()):
        survived = len(list(_rows([Shard(name="", files=tuple(files))], spec, 1, tries_again=0))) == 1
    gc.collect()
    return survived


@contextlib.contextmanager
def _running(pool: Pool, threads: int) -> Iterator[int]:
    """Connect to or start a cluster, without telemetry; yields the number of workers it has room for."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not pool.address:
        # Ray listens on every interface, so access to this cluster needs a token.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray
    import ray.data

    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with contextlib.ExitStack() as stack:
        if not pool.address:
            temporary = tempfile.TemporaryDirectory(prefix="ray", dir=_short(), ignore_cleanup_errors=True)
            folder = stack.enter_context(temporary)
            settings |= {
                "num_cpus": (pool.workers or max(1, cpu.physical_cores() // threads)) * threads,
                "object_store_memory": _STORE_BYTES,
                "include_dashboard": False,
                "_temp_dir": folder,
            }
        try:
            ray.init(address=pool.address or "local", **settings)
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
    shards: Sequence[Shard], spec: _WorkerSpec, workers: int, tries_again: int = _TRIES_AGAIN
) -> Iterator[dict[str, Any]]:
    import ray.data

    # One block per shard: each is submitted, retried and returned by itself.
    rows = [{"name": shard.name, "files": [os.fsencode(name) for name in shard.files]} for shard in shards]
    with warnings.catch_warnings():
        # Ray Data has no other way yet to limit the retries of a shard.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        predicted = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            spec.worker,
            fn_constructor_args=(spec.archive, spec.model, spec.options),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=spec.options.threads,
            max_task_retries=tries_again,
            # A worker restarted after the last retry would wait for nothing, on a core that others need.
            max_restarts=tries_again,
        )
    yield from predicted.iter_rows()


def _short() -> str | None:
    """A folder for Ray's sockets, whose paths are limited to 107 bytes; None for the default."""
    return None if len(tempfile.gettempdir()) <= _LONGEST else "/tmp"  # noqa: S108 - a folder of our own is made in it


def _loaded(model: bytes) -> Model:
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
