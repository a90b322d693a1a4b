"""What `test_distributed` runs under torchrun: trainings on two ranks, of which rank 0 writes folder and losses.

The argument is a folder; each recipe is trained in a folder of its name, by rank 1 in one of `worker`. Finally rank 1
fails before its training starts.
"""

import sys
from pathlib import Path

import msgspec

from lungcli.core.errors import LungcliError
from lungcli.training import distributed
from tests.training.test_distributed import RECIPE, RECIPES, figures, train


def main(folder: Path) -> None:
    own = folder / "worker" if distributed.process_group().rank else folder
    for name, recipe in RECIPES.items():
        events = train(own / name, recipe)
        if distributed.process_group().rank == 0:
            (folder / name / "figures.json").write_bytes(msgspec.json.encode(figures(events)))
    if distributed.process_group().rank:
        with distributed.worker():
            fail()
        return
    try:
        train(folder / "failed", RECIPE)
    except LungcliError as error:
        (folder / "failed.json").write_bytes(msgspec.json.encode((type(error).__name__, error.message, error.hint)))


def fail() -> None:
    raise LungcliError("there is no data set 'd'", "import it here too")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
