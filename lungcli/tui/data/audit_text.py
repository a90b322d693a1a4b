"""What the check of a data set found, as text to read."""

from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.datasets.audit.audit import Audit
from lungcli.views import audit


def brief(found: Audit) -> Text:
    """Count the findings in a line."""
    return audit.counts(found).append("; c shows them\n")


def sheet(found: Audit) -> tuple[Text, ...]:
    """Every finding, the worst first, and how to see the slices they are about."""
    if not found.findings:
        return (Text(audit.CLEAN),)
    more = f"with pictures: lungcli data check {plain(found.name)} --html audit.html"
    return (*(audit.finding(item) for item in found.findings), Text(more, "dim"))
