"""`lungcli data download`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt
from lungcli.core.registry import DATA_SETS

if TYPE_CHECKING:
    from lungcli.core.registry import DataSet
    from lungcli.datasets.manifest import Manifest


def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(DATA_SETS)}.")],
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="URL", help="Address of the .zip file, instead of the usual ones; repeatable."),
    ] = None,
    from_zip: Annotated[
        Path | None, typer.Option("--from-zip", metavar="FILE", help="Take the .zip file you have; no network.")
    ] = None,
    from_dir: Annotated[
        Path | None, typer.Option("--from-dir", metavar="DIR", help="Take the folder you have; no network.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", envvar="LUNGCLI_OFFLINE", help="Refuse to use the network.")
    ] = False,
    json: opt.Json = False,
) -> None:
    """Get a published data set: from nothing to verified slices in one command.

    Every file is checked against its published hash where that is known. Ctrl-C keeps what has arrived; the same
    command, typed again, goes on.

    \b
    Example: lungcli data download iqothnccd
             lungcli data download iqothnccd --from-zip ~/Downloads/archive.zip
    """
    from lungcli.cli import console, data
    from lungcli.core import registry
    from lungcli.core.errors import UsageError
    from lungcli.datasets import manifest
    from lungcli.datasets.download import published as downloading

    row = registry.data_set(name)
    if sum(map(bool, (url, from_zip, from_dir))) > 1:
        raise UsageError("--url, --from-zip and --from-dir exclude each other", "give one of them")
    if row.name in manifest.existing():
        console.info(f"there is a data set {row.name!r} already: checking it")
        if data.report(manifest.load(row.name), json=json).partial:
            console.warn(
                f"that is not all of it; for the whole: lungcli data remove {row.name}, then this command again"
            )
        elif downloading.partial_folder(row).is_dir():
            # A call that was killed once all was in place has left what had arrived.
            downloading.remove_partial(row)
        return
    for what, value in (("licence", row.licence), ("DOI", row.doi), ("cite", row.citation), ("page", row.page)):
        if value:
            console.info(f"{what:<8} {value}")
    source = from_zip or from_dir
    made = _taken(row, source) if source else _fetched(row, url or [], offline=offline)
    data.tell(made, json=json)


def _taken(row: "DataSet", source: Path) -> "Manifest":
    from lungcli.cli import progress
    from lungcli.datasets.ingest import importer

    with progress.preparing(f"checking and reading {source.name}") as advance:
        return importer.import_published(row, source, advance)


def _fetched(row: "DataSet", urls: list[str], *, offline: bool) -> "Manifest":
    from lungcli.cli import console, progress
    from lungcli.core.errors import NetworkError
    from lungcli.datasets.download import published as downloading
    from lungcli.datasets.download.http import ProgressCallbacks

    if offline:
        raise NetworkError(
            f"{row.name} is not on this machine, and the network is not to be used (--offline)",
            downloading.manual_hint(row),
        )
    with progress.moving(row.name) as (moved, reading):
        return downloading.download(row, ProgressCallbacks(moved=moved, say=console.info), reading, urls=urls)
