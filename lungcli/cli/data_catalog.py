"""The catalog of published data sets: licence, institutions, classes, and how to get each."""

from lungcli.core.registry import DATA_SETS, DataSet


def show(*, as_json: bool) -> None:
    """Print every published data set that the program knows."""
    from lungcli.cli import console

    if as_json:
        console.print_json({"published": list(map(_facts, DATA_SETS.values()))})
        return
    out = console.out()
    for row in DATA_SETS.values():
        out.print(row.name, style="bold")
        for name, value in _facts(row).items():
            if value and name != "name":
                out.print(f"  {name:<12} {console.plain(str(value))}", soft_wrap=True)


def _facts(row: DataSet) -> dict[str, object]:
    return {
        "name": row.name,
        "about": row.about,
        "classes": ", ".join(f"{count:,} {label}" for label, count in row.counts) or ", ".join(row.classes),
        "institutions": row.institutions,
        "licence": row.licence,
        "citation": row.citation,
        "page": row.page,
        "get": row.by_hand or f"lungcli data download {row.name}",
    }
