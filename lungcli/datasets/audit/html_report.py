"""The audit as one self-contained HTML file: it loads nothing, runs nothing, and has its pictures inside."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from lungcli import DISCLAIMER
from lungcli.datasets.audit import contact_sheets, knn_baseline
from lungcli.datasets.audit.audit import Audit
from lungcli.datasets.audit.contact_sheets import TileRow
from lungcli.datasets.audit.findings import Finding
from lungcli.datasets.audit.shortcuts import ShortcutTest
from lungcli.datasets.manifest import Manifest
from lungcli.imaging.picture import encoded
from lungcli.metrics.intervals import Estimate

# Examples shown per finding; all of them are in the JSON.
_EXAMPLES = 12

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --faint: #55555e; --line: #d5d5dc; --ground: #fff; --box: #f4f4f7;
  --error: #b3261e; --warning: #7a5200; --note: #2f5d8a; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf1; --faint: #a9a9b4; --line: #3a3a42; --ground: #17171a;
  --box: #222227; --error: #ff8a80; --warning: #f0b95a; --note: #8ab8e6; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 72rem;
  margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0; }
h2 { margin: 2.5rem 0 .5rem; } h3 { margin: 0; font-size: 1rem; }
p { max-width: 46rem; } .faint, figcaption { color: var(--faint); }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
article { background: var(--box); border-left: .3rem solid var(--line); padding: .7rem 1rem; margin: .7rem 0; }
article p { margin: .3rem 0 0; } article ul { margin: .4rem 0 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
.error { border-color: var(--error); } .warning { border-color: var(--warning); } .note { border-color: var(--note); }
.error b { color: var(--error); } .warning b { color: var(--warning); } .note b { color: var(--note); }
.row { margin: 1rem 0; } .tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: .3rem; }
figure { margin: 0; width: 128px; } img { display: block; width: 128px; height: 128px; background: #000; }
figcaption { font-size: .8rem; line-height: 1.3; overflow-wrap: anywhere; }
"""


def render_html(audit: Audit, of: Manifest, folder: Path) -> str:
    """Return the page. The slices of near-duplicate groups and conflicts are read from `folder`."""
    title = f"Audit of {audit.name}"
    synthetic = "<p><strong>Synthetic: drawn by the program.</strong></p>" if of.source.synthetic else ""
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="faint">{escape(of.source.about)} · {audit.slices} slices · {audit.groups} near-duplicate groups · '
        f"digest {escape(audit.digest[:16])}</p>",
        synthetic,
        *_headline(audit),
        "<h2>Findings</h2>",
        *(_finding(item) for item in audit.findings),
        *_classes(audit),
        *_groupings(audit),
        *_shortcuts(audit),
        *_pictures("Near-duplicates with different labels", contact_sheets.conflict_rows(audit), folder),
        *_pictures("Near-duplicate groups", contact_sheets.near_duplicate_rows(of), folder),
        f'<p class="faint">{escape(DISCLAIMER)} Near-duplicate groups are not patients.</p>',
    ]
    # The policy keeps the page from loading or running anything, whatever a file is called.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _headline(audit: Audit) -> Iterator[str]:
    leak = audit.nearest_neighbour
    if leak is None:
        return
    yield "<h2>What memory alone achieves</h2>"
    yield _table(
        (knn_baseline.METHOD, "accuracy", "balanced"),
        [
            ("any other slice may be the neighbour", f"{leak.random_accuracy:.1%}", f"{leak.random_balanced:.1%}"),
            (
                "only slices of other near-duplicate groups",
                f"{leak.grouped_accuracy:.1%}",
                f"{leak.grouped_balanced:.1%}",
            ),
        ],
    )
    yield (
        "<p>The difference between the two rows is leakage: near-duplicates of the same bodies. A random split counts "
        "it as accuracy.</p>"
    )


def _finding(item: Finding) -> str:
    shown = [f"<li>{escape(example)}</li>" for example in item.examples[:_EXAMPLES]]
    if len(item.examples) > _EXAMPLES:
        shown.append(f"<li>and {len(item.examples) - _EXAMPLES} more</li>")
    examples = f"<ul>{''.join(shown)}</ul>" if shown else ""
    return (
        f'<article class="{item.severity}" id="{escape(item.id)}"><h3><b>{item.severity}</b> {escape(item.title)}</h3>'
        f"<p>{escape(item.detail)}</p>{examples}<p class='faint'><code>{escape(item.id)}</code></p></article>"
    )


def _classes(audit: Audit) -> Iterator[str]:
    yield "<h2>Classes</h2>"
    yield _table(*audit.class_table())


def _groupings(audit: Audit) -> Iterator[str]:
    yield "<h2>Effect of the threshold</h2>"
    yield (
        "<p>Share of test slices that have a near-duplicate of at least this correlation in training or validation, "
        "for each way of grouping.</p>"
    )
    yield _table(*audit.grouping_table())


def _shortcuts(audit: Audit) -> Iterator[str]:
    yield "<h2>Shortcuts</h2>"
    yield (
        "<p>Balanced accuracy of guessing the class from features that do not depend on disease, on near-duplicate "
        "groups left out, with its 95 % interval. By chance: the mean with shuffled classes, and in brackets their "
        "95th percentile.</p>"
    )
    yield _table(
        ("guessed from", "as read", "by chance", "p", "as prepared", "by chance", "p"),
        [(item.about, *_trial(item.before), *_trial(item.after)) for item in audit.shortcuts],
    )


def _trial(trial: ShortcutTest | None) -> tuple[str, str, str]:
    if trial is None:
        return ("–", "–", "–")
    return (_interval(trial.balanced_accuracy), f"{trial.chance:.3f} ({trial.chance_high:.3f})", f"{trial.p:.3f}")


def _interval(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "–"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _pictures(title: str, rows: Sequence[TileRow], folder: Path) -> Iterator[str]:
    if not rows:
        return
    yield f"<h2>{escape(title)}</h2>"
    if len(rows) > contact_sheets.MOST_ROWS:
        yield f'<p class="faint">The first {contact_sheets.MOST_ROWS} of {len(rows)}.</p>'
    for row in rows[: contact_sheets.MOST_ROWS]:
        tiles = "".join(_figure(item, folder) for item in row.tiles)
        yield f'<section class="row"><h3>{escape(row.title)}</h3><div class="tiles">{tiles}</div></section>'


def _figure(item: contact_sheets.Tile, folder: Path) -> str:
    alt = escape(f"{item.label} slice {item.name}", quote=True)
    picture = f'<img src="{_data(contact_sheets.tile(folder / item.path))}" alt="{alt}" width="128" height="128">'
    return f"<figure>{picture}<figcaption>{escape(item.label)}<br>{escape(item.name)}</figcaption></figure>"


def _data(image: Image.Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(encoded(image, 'JPEG', quality=80)).decode()}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(item)}</th>' for item in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
