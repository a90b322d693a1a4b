"""The guard on folders of real pictures: how many of each are refused, and why.

Run: python -m tests.benchmarks.guard_sources [--lungs FOLDER ...] [--others FOLDER ...] [--untuned NAME ...]

`--lungs` are folders of axial lung slices, one a hospital, of which at most 1 % may be refused and 3 % of each;
`--others` are folders of anything else, of which at most 3 % may get a prediction. Folders called by `--untuned` had no
part in setting the guard's limits. Files that cannot be read are counted apart.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import ood, ood_features
from lungcli.predict import inputs
from tests.benchmarks import machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One folder: how many pictures were `read`, the reasons of those refused, and how many could not be read."""

    name: str
    read: int
    reasons: Counter[str]
    unread: int

    @property
    def refused(self) -> int:
        """Pictures that get no prediction."""
        return self.reasons.total()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lungs", nargs="*", type=Path, default=[])
    parser.add_argument("--others", nargs="*", type=Path, default=[])
    parser.add_argument("--untuned", nargs="*", default=[])
    options = parser.parse_args()
    machine.say(f"{'source':<28}{'tuned on':>9}{'n':>6}{'unread':>8}{'refused':>9}{'predicted':>10}")
    lungs = [_row(folder, options.untuned) for folder in options.lungs]
    total = sum(folder.read for folder in lungs)
    if total:
        machine.say(f"of all lung slices refused: {sum(folder.refused for folder in lungs) / total:.1%}")
    for folder in options.others:
        _row(folder, options.untuned)


def _row(folder: Path, untuned: list[str]) -> Source:
    source = _source(folder)
    refused = source.refused / max(1, source.read)
    tuned = "no" if source.name in untuned else "yes"
    machine.say(f"{source.name:<28}{tuned:>9}{source.read:>6}{source.unread:>8}{refused:>9.1%}{1 - refused:>10.1%}")
    for reason, count in source.reasons.most_common():
        machine.say(f"    {count:>4}  {reason}")
    return source


def _source(folder: Path) -> Source:
    outcomes = Counter(_outcomes(folder))
    unread, predicted = outcomes.pop("unread", 0), outcomes.pop("", 0)
    return Source(name=folder.name, read=predicted + outcomes.total(), reasons=outcomes, unread=unread)


def _outcomes(folder: Path) -> Iterator[str]:
    for item in inputs.items([str(folder)], inputs.Naming()):
        try:
            picture = item.read()
        except UnreadableInputError:
            yield "unread"
            continue
        rejection = ood.rejection(picture.region, ood_features.measure(picture))
        yield rejection.reason if rejection else ""


if __name__ == "__main__":
    main()
