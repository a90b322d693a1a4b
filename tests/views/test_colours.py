"""Colours of classes: told from the ground of every theme, and from each other."""

import itertools

import pytest
from textual.color import Color
from textual.theme import Theme

from lungcli.tui.app import THEMES
from lungcli.views import colours

SHOWN = {**colours.CLASSES, "refer": colours.REFER}


def ratio(one: str, other: str) -> float:
    """(L1 + 0.05) / (L2 + 0.05) of the relative luminances, the larger first."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [part / 255 for part in Color.parse(colour).rgb]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("name", SHOWN)
def test_every_colour_stands_out_from_the_ground_of_every_theme(name: str, theme: Theme) -> None:
    assert ratio(SHOWN[name], str(theme.background)) >= 3, "WCAG 2.2, success criterion 1.4.11"


def test_no_two_classes_have_one_colour() -> None:
    classes = ("malignant", "a", "b", "normal", "c", "benign")
    chosen = [colours.of_class(label, classes) for label in classes]
    assert len(set(chosen)) == len(classes)
    for one, other in itertools.combinations(SHOWN.values(), 2):
        assert sum(abs(a - b) for a, b in zip(Color.parse(one).rgb, Color.parse(other).rgb, strict=True)) > 60
