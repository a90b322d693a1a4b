"""What the check of a data set found, as text to read."""

from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.datasets.audit.audit import Audit
from lungcli.datasets.audit.findings import SEVERITIES, Finding

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_EXAMPLES = 5


def brief(found: Audit) -> Text:
    """Count the findings in a line."""
    text = Text("checked: ")
    for place, severity in enumerate(SEVERITIES):
        count = found.count(severity)
        text.append(", " if place else "")
        text.append(f"{count} {severity}{'' if count == 1 else 's'}", _STYLES[severity] if count else "")
    return text.append("; c shows them\n")


def sheet(found: Audit) -> tuple[Text, ...]:
    """Every finding, the worst first, and how to see the slices they are about."""
    if not found.findings:
        return (Text("nothing was found that would flatter or mislead a classifier"),)
    more = f"with pictures: lungcli data check {plain(found.name)} --html audit.html"
    return (*(_finding(item) for item in found.findings), Text(more, "dim"))


def _finding(item: Finding) -> Text:
    text = Text.assemble((f"{item.severity} ", _STYLES[item.severity]), (f"{plain(item.title)}\n", "bold"))
    text.append(f"{plain(item.detail)}\n")
    for example in item.examples[:_EXAMPLES]:
        text.append(f"  {plain(example)}\n", "dim")
    if len(item.examples) > _EXAMPLES:
        text.append(f"  and {len(item.examples) - _EXAMPLES} more\n", "dim")
    return text
