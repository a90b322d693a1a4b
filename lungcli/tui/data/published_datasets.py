"""Published data sets that are not on this machine yet, and what to know before one is downloaded."""

from lungcli.core import paths
from lungcli.core.errors import NetworkError
from lungcli.core.formatting import plain
from lungcli.core.registry import DATA_SETS, DataSet
from lungcli.datasets import manifest
from lungcli.datasets.download import published
from lungcli.views.units import size, transfer


def missing() -> tuple[DataSet, ...]:
    """Return the published data sets that can be downloaded and are not on this machine."""
    present = manifest.existing()
    return tuple(row for row in DATA_SETS.values() if row.mirrors and row.name not in present)


def line(row: DataSet) -> str:
    """Name a data set in one line of a list."""
    counted = f"{sum(count for _, count in row.counts):,} slices, " if row.counts else ""
    return f"{row.name} ({counted}{_size(row)}): {row.about}"


def question(row: DataSet) -> str:
    """Ask for a download: what, from where, and on which terms."""
    places = " or ".join(dict.fromkeys(mirror.name for mirror in row.mirrors))
    resumes = "It continues what arrived earlier. " if published.partial_folder(row).exists() else ""
    return (
        f"Download {row.about} ({_size(row)}) from {places}?\n\n"
        f"licence  {row.licence}\ncite     {row.citation}\n\n"
        f"{resumes}Every file is checked; Esc stops it and keeps what arrived."
    )


def progress(row: DataSet, done: int, total: int) -> str:
    """How much has arrived."""
    return f"downloading {plain(row.name)}: {transfer(done, total or row.size, done, 0.0)}"


def _size(row: DataSet) -> str:
    return size(row.size) if row.size else "size unknown"


def require_network(row: DataSet) -> None:
    """Raise NetworkError where the user forbade it by LUNGCLI_OFFLINE."""
    if paths.is_offline():
        raise NetworkError(
            f"{row.name} is not fetched: LUNGCLI_OFFLINE forbids the network", published.manual_hint(row)
        )
