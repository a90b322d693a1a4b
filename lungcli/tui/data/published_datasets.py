"""Published data sets that are not on this machine yet, and what to know before one is downloaded."""

from lungcli.core import paths
from lungcli.core.errors import NetworkError
from lungcli.core.formatting import plain
from lungcli.core.registry import DATA_SETS, DataSet
from lungcli.datasets import manifest
from lungcli.datasets.download import published


def missing() -> tuple[DataSet, ...]:
    """Return the published data sets that are not on this machine."""
    here = manifest.known()
    return tuple(row for row in DATA_SETS.values() if row.name not in here)


def line(row: DataSet) -> str:
    """Name a data set in one line of a list."""
    counted = f"{sum(count for _, count in row.counts):,} slices, " if row.counts else ""
    return f"{row.name} ({counted}{megabytes(row.size)}): {row.about}"


def question(row: DataSet) -> str:
    """Say what is to be downloaded, from where, and on which terms."""
    places = " or ".join(dict.fromkeys(mirror.name for mirror in row.mirrors))
    kept = "What arrived earlier is gone on with. " if published.kept(row).exists() else ""
    return (
        f"Download {row.about} ({megabytes(row.size)}) from {places}?\n\n"
        f"licence  {row.licence}\ncite     {row.citation}\n\n"
        f"{kept}Every file is checked; Esc stops it and keeps what arrived."
    )


def megabytes(size: int) -> str:
    """A number of bytes, `?` where it is not known."""
    return f"{size / 1e6:,.0f} MB" if size else "? MB"


def moved(row: DataSet, done: int, total: int) -> str:
    """Say how much has arrived."""
    return f"downloading {plain(row.name)}: {done / 1e6:.1f} of {megabytes(total or row.size)}"


def require_network(row: DataSet) -> None:
    """Raise NetworkError where the user forbade it by LUNGCLI_OFFLINE."""
    if paths.is_offline():
        raise NetworkError(f"{row.name} is not fetched: LUNGCLI_OFFLINE forbids the network", published.by_hand(row))
