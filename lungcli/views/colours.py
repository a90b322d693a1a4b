"""Colours with a meaning, the same wherever a class is shown; a name or a mark always stands beside them.

Told apart by the colour-blind (after Okabe and Ito 2008, and Tol 2021), in tones for a light ground and a dark one.
"""

from collections.abc import Sequence

CLASSES = {"malignant": "#CC3311", "benign": "#3B8FD0", "normal": "#009E73"}
REFER = "#B87A00"
"""What is left to a radiologist."""

# For classes of other data sets.
_OTHERS = ("#B0609A", "#8A7F00", "#7A6FD0", "#777777")


def of_class(label: str, classes: Sequence[str]) -> str:
    """The colour of a class among all `classes`, as `#RRGGBB`."""
    others = [name for name in classes if name not in CLASSES]
    return CLASSES.get(label) or _OTHERS[others.index(label) % len(_OTHERS)]
