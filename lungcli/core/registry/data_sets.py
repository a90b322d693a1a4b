"""Published data sets, one row each: what can be downloaded, and what is to be got by hand."""

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
    names) describes. `distinctive_folder` is one that no other set has. `ordered`: file numbers follow the scans.

    `institutions` says where the slices were taken. Sets without mirrors, counts and folders are got as `by_hand` says,
    and imported by class folders or by a label table.
    """

    name: str
    about: str
    licence: str
    citation: str
    doi: str = ""
    page: str
    institutions: str = ""
    classes: tuple[str, ...] = ()
    by_hand: str = ""
    mirrors: tuple[Mirror, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    size: int = 0
    hashes: str = ""
    folders: tuple[tuple[str, str], ...] = ()
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
        institutions="Iraq-Oncology Teaching Hospital and National Center for Cancer Diseases, Baghdad; one scanner",
        classes=("benign", "malignant", "normal"),
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
        institutions="unknown, collected from several sources",
        classes=("malignant", "normal"),
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

_LABELS = "write labels.csv beside its DICOM files (path,label; patients are read from the files)"


def _idc(collection: str) -> str:
    """How to get a collection of The Cancer Imaging Archive, which the Imaging Data Commons gives without a login."""
    return f"pipx install idc-index, then: idc download {collection} --download-dir DIR; {_LABELS}"


_BY_HAND = (
    DataSet(
        name="lidc-idri",
        about="LIDC-IDRI: 1,018 CT scans of 1,010 patients, nodules marked and rated by four radiologists",
        licence="CC BY 3.0",
        citation="Armato et al. (2015), Data from LIDC-IDRI, The Cancer Imaging Archive, "
        "doi:10.7937/K9/TCIA.2015.LO9QL9SX",
        doi="10.7937/K9/TCIA.2015.LO9QL9SX",
        page="https://www.cancerimagingarchive.net/collection/lidc-idri/",
        institutions="seven academic centres of the USA, four makers of scanners",
        classes=("rated by opinion, not by pathology",),
        by_hand=_idc("lidc_idri"),
    ),
    DataSet(
        name="luna16",
        about="LUNA16: 888 scans of LIDC-IDRI of thin slices, with the nodules that three radiologists agree on",
        licence="CC BY 3.0 (LIDC-IDRI)",
        citation="Setio et al. (2017), Medical Image Analysis 42:1-13, doi:10.1016/j.media.2017.06.015; "
        "Armato et al. (2015), doi:10.7937/K9/TCIA.2015.LO9QL9SX",
        doi="10.1016/j.media.2017.06.015",
        page="https://luna16.grand-challenge.org/Data/",
        institutions="those of LIDC-IDRI, and the same patients",
        classes=("slices with and without nodules",),
        by_hand="get its volumes from the page, and save slices as PNG in class folders, or beside a labels.csv",
    ),
    DataSet(
        name="qin-lung-ct",
        about="QIN-LUNG-CT: scans of 47 patients with lung cancer, tumours segmented",
        licence="CC BY 3.0",
        citation="Goldgof et al. (2015), Data from QIN_LUNG_CT, The Cancer Imaging Archive, "
        "doi:10.7937/K9/TCIA.2015.NPGZYZBZ",
        doi="10.7937/K9/TCIA.2015.NPGZYZBZ",
        page="https://www.cancerimagingarchive.net/collection/qin-lung-ct/",
        institutions="H. Lee Moffitt Cancer Center, Tampa",
        classes=("slices with and without tumour of the same patients",),
        by_hand=_idc("qin_lung_ct"),
    ),
    DataSet(
        name="covid-ctset",
        about="COVID-CTset: slices of 95 patients with COVID-19 and of 282 healthy ones",
        licence="as on its page",
        citation="Rahimzadeh et al. (2021), Biomedical Signal Processing and Control 68:102588, "
        "doi:10.1016/j.bspc.2021.102588",
        doi="10.1016/j.bspc.2021.102588",
        page="https://github.com/mr7495/COVID-CTset",
        institutions="Negin medical center, Sari; one scanner",
        classes=("covid", "normal"),
        by_hand="follow the links on the page, and put the slices in class folders, or beside a labels.csv",
    ),
)

DATA_SETS: dict[str, DataSet] = {row.name: row for row in (*_DATA_SETS, *_BY_HAND)}


def data_set(name: str) -> DataSet:
    """Return the published data set that `name` means. Raises UsageError."""
    return find(name, DATA_SETS, "published data set", "others come in by `lungcli data import PATH`")
