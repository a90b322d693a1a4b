"""What is said of the audit of a data set: its findings, and how far recognising bodies alone gets."""

from typing import TYPE_CHECKING

from lungcli.core.formatting import plain
from lungcli.views import bars

if TYPE_CHECKING:
    from rich.text import Text

    from lungcli.datasets.audit.audit import Audit
    from lungcli.datasets.audit.findings import Finding
    from lungcli.datasets.audit.knn_baseline import NearestNeighbour

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
CLEAN = "no findings: nothing that would mislead a classifier or inflate its figures"

_EXAMPLES = 5
# `any other     ` stands before a bar, `    99.5%    99.0%` behind it.
_BEFORE_BAR, _BESIDE_BAR = 14, 32


def counts(audit: "Audit") -> "Text":
    """`findings: 0 errors, 2 warnings, 1 note`."""
    from rich.text import Text

    from lungcli.datasets.audit.findings import SEVERITIES

    text = Text("findings: ")
    for index, severity in enumerate(SEVERITIES):
        count = audit.count(severity)
        text.append(", " if index else "")
        text.append(f"{count} {severity}{'' if count == 1 else 's'}", STYLES[severity] if count else "")
    return text


def finding(item: "Finding") -> "Text":
    """Show one finding: severity, title, name, details, and the first files it is about."""
    from rich.text import Text

    text = Text.assemble((f"{item.severity:<8} {plain(item.title)}", STYLES[item.severity]), f"  [{item.id}]\n")
    text.append(f"  {plain(item.detail)}\n")
    for example in item.examples[:_EXAMPLES]:
        text.append(f"    {plain(example)}\n", "dim")
    if len(item.examples) > _EXAMPLES:
        text.append(f"    and {len(item.examples) - _EXAMPLES} more\n", "dim")
    return text


def leakage(leak: "NearestNeighbour", width: int) -> "Text":
    """Draw what a random split pays for recognising bodies, with bars of balanced accuracy, in `width` cells."""
    from rich.text import Text

    from lungcli.datasets.audit import knn_baseline

    room = max(4, min(40, width - _BESIDE_BAR))
    text = Text.assemble((f"{knn_baseline.METHOD}\n", "bold"))
    text.append(f"{'copied from':<{_BEFORE_BAR + room}} accuracy balanced\n", "dim")
    for words, balanced, accuracy, style in (
        ("any slice", leak.random_balanced, leak.random_accuracy, "yellow"),
        ("other groups", leak.grouped_balanced, leak.grouped_accuracy, "green"),
    ):
        text.append(f"{words:<{_BEFORE_BAR}}").append_text(bars.coloured_bar(balanced, room, style))
        text.append(f" {accuracy:8.1%} {balanced:8.1%}\n")
    gap = (leak.random_balanced - leak.grouped_balanced) * 100
    return text.append(f"{gap:.0f} points of balanced accuracy: {knn_baseline.LEAKAGE}\n")
