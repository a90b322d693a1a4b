"""`lungcli data download`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import complete, console, data, options
from lungcli.core import registry
from lungcli.core.errors import NetworkError, UsageError
from lungcli.core.registry import DATA_SETS, DataSet

if TYPE_CHECKING:
    from lungcli.datasets.manifest import Manifest


def download(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(DATA_SETS)}.", autocompletion=complete.published)
    ],
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="URL", help="URL of the .zip file, instead of the known mirrors; repeatable."),
    ] = None,
    from_zip: Annotated[
        Path | None, typer.Option("--from-zip", metavar="FILE", help="Use a .zip file you have; no network.")
    ] = None,
    from_dir: Annotated[
        Path | None, typer.Option("--from-dir", metavar="DIR", help="Use a folder you have; no network.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", envvar="LUNGCLI_OFFLINE", help="Never use the network.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Download a published data set, verify and import it.

    Every file is checked against its published hash where that is known. Ctrl-C keeps what has arrived; run the same
    command again to continue.

    \b
    Example: lungcli data download iqothnccd
             lungcli data download iqothnccd --from-zip ~/Downloads/archive.zip
    """
    from lungcli.datasets import manifest
    from lungcli.datasets.download import published

    row = registry.data_set(name)
    if sum(map(bool, (url, from_zip, from_dir))) > 1:
        raise UsageError("--url, --from-zip and --from-dir exclude each other", "use one of them")
    if row.name in manifest.existing():
        console.info(f"the data set {row.name!r} exists already: checking it")
        if data.report(manifest.load(row.name), json=json).partial:
            console.warn(
                f"it is incomplete; for all of it: lungcli data remove {row.name}, then run this command again"
            )
        elif published.partial_folder(row).is_dir():
            # A call that was killed after the import has left its download behind.
            published.remove_partial(row)
        return
    for what, value in (("licence", row.licence), ("DOI", row.doi), ("cite", row.citation), ("page", row.page)):
        if value:
            console.info(f"{what:<8} {value}")
    source = from_zip or from_dir
    created = _import_local(row, source) if source else _download(row, url or [], offline=offline)
    data.show_created(created, json=json)


def _import_local(row: "DataSet", source: Path) -> "Manifest":
    from lungcli.cli import progress
    from lungcli.datasets.ingest import importer

    with progress.preparing(f"checking and reading {source.name}") as advance:
        return importer.import_published(row, source, advance)


def _download(row: "DataSet", urls: list[str], *, offline: bool) -> "Manifest":
    from lungcli.cli import progress
    from lungcli.datasets.download import published
    from lungcli.datasets.download.http import ProgressCallbacks

    if offline:
        raise NetworkError(
            f"{row.name} is not on this machine, and --offline forbids the network",
            published.manual_hint(row),
        )
    with progress.transferring(row.name) as (moved, reading):
        return published.download(row, ProgressCallbacks(moved=moved, say=console.info), reading, urls=urls)
