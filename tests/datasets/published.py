"""A small published data set with known hashes, and its files, for the tests of this room."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lungcli.core.registry import DataSet
from tests.imaging.pictures import png

ROOT = "The little set"
CLASSES = (("benign", "Bengin"), ("normal", "Normal"))
FILES = {
    **{f"Bengin cases/Bengin case ({i}).png": png(i) for i in (1, 2, 10)},
    **{f"Normal cases/Normal case ({i}).png": png(20 + i) for i in (1, 2)},
}


def files(above: str = f"{ROOT}/") -> dict[str, bytes]:
    """The files as published, under the folder `above`."""
    return {above + name: content for name, content in FILES.items()}


def row(folder: Path, known: Mapping[str, bytes] = FILES) -> DataSet:
    """A row of the catalog for that set, its list of hashes in `folder`."""
    listed = folder / "little-sha256.txt"
    listed.write_text("".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in known.items()))
    names = [PurePosixPath(name).name for name in known]
    return DataSet(
        name="little",
        about="The little set",
        licence="CC BY 4.0",
        citation="Nobody (2020), The little set, doi:10.1234/little",
        doi="10.1234/little",
        page="https://doi.org/10.1234/little",
        mirrors=(),
        counts=tuple((label, sum(word in name for name in names)) for label, word in CLASSES),
        size=sum(map(len, known.values())),
        # An absolute path stands for itself.
        hashes=str(listed),
        folders=(("bengin cases?", "benign"), ("normal cases?", "normal")),
        distinctive_folder="bengin cases",
        ordered=True,
    )
