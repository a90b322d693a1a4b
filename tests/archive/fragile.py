"""A job whose workers die of one file, as of a decoder that crashes: python -m tests.archive.fragile FOLDER MODEL NAME.

Prints the shards that are judged, then what the job ends with.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from lungcli.archive import cluster, listing, places
from lungcli.archive.cluster import Pool, Worker
from lungcli.archive.judge import Manner
from lungcli.core.errors import LungcliError


def main(folder: str, model: str, deadly: str) -> None:
    """Judge a folder in shards of four, with workers that are killed where `deadly` is among their files."""

    class Fragile(Worker):
        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            if any(os.fsdecode(name).endswith(deadly) for name in row["files"]):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(row)

    divided = list(listing.shards(places.files(places.opened(folder)), 4))
    manner = Manner(model_sha256="m", force=False, include_phi=False, threads=1)
    try:
        for name, _ in cluster.judged(divided, folder, Path(model).read_bytes(), manner, Pool(workers=1), Fragile):
            print("judged", name, flush=True)
    except LungcliError as error:
        print("ended", error.message)
        print("hint", error.hint)


if __name__ == "__main__":
    main(*sys.argv[1:])
