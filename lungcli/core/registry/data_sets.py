"""Published data sets that can be downloaded, one row each."""

from dataclasses import dataclass
from typing import Literal

from lungcli.core.names import find


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One place to download a data set from: `url` is a .zip file, or Mendeley's public list of a set's files."""

    name: str
    kind: Literal["zip", "mendeley"]
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One published data set.

    `page` is where a person finds it; `mirrors` are tried in order; `counts` says how many slices a class has, `size`
    their bytes in all. `hashes` names the file in `lungcli/bundled` with the sha256 of every slice, empty where
    nobody knows them. A slice's class comes from its innermost folder that one of `folders` (patterns of lower-case
    names) describes. `telling` is a folder that no other set has. `ordered`: file numbers follow the scans.
    """

    name: str
    about: str
    licence: str
    citation: str
    doi: str = ""
    page: str
    mirrors: tuple[Mirror, ...]
    counts: tuple[tuple[str, int], ...]
    size: int
    hashes: str = ""
    folders: tuple[tuple[str, str], ...]
    distinctive_folder: str = ""
    ordered: bool = False

    @property
    def slices(self) -> int:
        """Slices of all classes together."""
        return sum(count for _, count in self.counts)


def _kaggle(owner_and_set: str) -> Mirror:
    return Mirror(
        name=f"Kaggle {owner_and_set}",
        kind="zip",
        url=f"https://www.kaggle.com/api/v1/datasets/download/{owner_and_set}",
    )


_DATA_SETS = (
    DataSet(
        name="iqothnccd",
        about="IQ-OTH/NCCD lung cancer dataset",
        licence="CC BY 4.0",
        citation="alyasriy & AL-Huseiny (2023), The IQ-OTH/NCCD lung cancer dataset, Mendeley Data V4, "
        "doi:10.17632/bhmdr45bh2.4",
        doi="10.17632/bhmdr45bh2.4",
        page="https://doi.org/10.17632/bhmdr45bh2.4",
        mirrors=(
            Mirror(
                name="Mendeley Data",
                kind="mendeley",
                url="https://data.mendeley.com/public-api/datasets/bhmdr45bh2/files?folder_id=root&version=4",
            ),
            _kaggle("hamdallak/the-iqothnccd-lung-cancer-dataset"),
            _kaggle("adityamahimkar/iqothnccd-lung-cancer-dataset"),
        ),
        counts=(("benign", 120), ("malignant", 561), ("normal", 416)),
        size=157_634_514,
        hashes="iqothnccd-sha256.txt",
        # The set's publisher spells it "Bengin cases".
        folders=(
            (r"(bengin|benign) cases?", "benign"),
            (r"malignant cases?", "malignant"),
            (r"normal cases?", "normal"),
        ),
        distinctive_folder="bengin cases",
        ordered=True,
    ),
    DataSet(
        name="chest-ctscan",
        about="Chest CT-Scan images: three kinds of lung cancer and normal; few scenes, many near copies",
        licence="as on its page",
        citation="Mohamed Hany, Chest CT-Scan images dataset, Kaggle mohamedhanyyy/chest-ctscan-images",
        page="https://www.kaggle.com/datasets/mohamedhanyyy/chest-ctscan-images",
        mirrors=(_kaggle("mohamedhanyyy/chest-ctscan-images"),),
        counts=(("malignant", 785), ("normal", 215)),
        size=130_000_000,
        folders=(
            (r"adenocarcinoma.*", "malignant"),
            (r"large\.cell\.carcinoma.*", "malignant"),
            (r"squamous\.cell\.carcinoma.*", "malignant"),
            (r"normal", "normal"),
        ),
    ),
)

DATA_SETS: dict[str, DataSet] = {row.name: row for row in _DATA_SETS}


def data_set(name: str) -> DataSet:
    """Return the published data set that `name` means. Raises UsageError."""
    return find(name, DATA_SETS, "published data set", "others come in by `lungcli data import PATH`")
