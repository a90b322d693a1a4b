"""A job with a file that kills its workers, like a crashing decoder: python -m tests.batch.fragile FOLDER MODEL NAME.

Prints the shards that are predicted, then the error that ends the job. With a further argument `names`: the names that
such an error shows for the file, by how much of it can be read.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from lungcli.batch import filesystem, ray_pool, shards, worker
from lungcli.batch.ray_pool import Pool, Worker
from lungcli.batch.worker import WorkerOptions
from lungcli.core.errors import LungcliError

SHOWN_NAME = worker.shown_name


def options(*, phi: bool = False) -> WorkerOptions:
    return WorkerOptions(model_sha256="m", force=False, include_phi=phi, threads=1)


def fragile(deadly: str) -> type[Worker]:
    """Workers that are killed where `deadly` is among their files."""

    class Fragile(Worker):
        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            if any(os.fsdecode(name).endswith(deadly) for name in row["files"]):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(row)

    return Fragile


def headers_end(deadly: str) -> Callable[[str, Sequence[str], str], str]:
    """What looks at headers, killed by that of `deadly`; by any where it is empty."""

    def called(archive: str, names: Sequence[str], which: str) -> str:
        if any(name.endswith(deadly) for name in names):
            os.kill(os.getpid(), signal.SIGKILL)
        return SHOWN_NAME(archive, names, which)

    return called


def judged(folder: str, model: str, deadly: str) -> None:
    """Judge a folder in shards of four."""
    divided = list(shards.divide(filesystem.files(filesystem.open_location(folder)), 4))
    content, workers = Path(model).read_bytes(), fragile(deadly)
    try:
        for name, _ in ray_pool.predict_shards(divided, folder, content, options(), Pool(workers=1), workers):
            print("judged", name, flush=True)
    except LungcliError as error:
        tell(error)


def named(folder: str, model: str, deadly: str) -> None:
    """End a job of one shard: with headers that can be read, with one that can't, with none, and with full names."""
    (shard,) = shards.divide(filesystem.files(filesystem.open_location(folder)), 1000)
    with ray_pool._running(Pool(workers=1), 1):
        import ray

        content = [ray.put(Path(model).read_bytes())]
        for reader, phi in (
            (SHOWN_NAME, False),
            (headers_end(deadly), False),
            (headers_end(""), False),
            (SHOWN_NAME, True),
        ):
            crew = ray_pool._WorkerSpec(worker=fragile(deadly), archive=folder, model=content, options=options(phi=phi))
            with mock.patch.object(ray_pool, "shown_name", reader):
                tell(ray_pool._worker_failure(shard, crew, 1, "died"))


def tell(error: LungcliError) -> None:
    print("ended", error.message)
    print("hint", error.hint)


if __name__ == "__main__":
    if sys.argv[4:] == ["names"]:
        named(*sys.argv[1:4])
    else:
        judged(*sys.argv[1:])
