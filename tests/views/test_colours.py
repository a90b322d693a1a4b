"""Colours of classes: told from the ground of every theme, and from each other."""

import itertools

import pytest
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import Theme

from lungcli.tui.app import THEMES
from lungcli.tui.widgets import braille_plot
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


TEXTS = ("foreground", "text-muted", "primary", "secondary", "accent", "success", "warning", "error", "text-accent")
GROUNDS = ("background", "surface", "panel")
# Those of the Linux console, which has no more, and by which Rich chooses the nearest.
SIXTEEN = (
    *("#000000", "#AA0000", "#00AA00", "#AA5500", "#0000AA", "#AA00AA", "#00AAAA", "#AAAAAA"),
    *("#555555", "#FF5555", "#55FF55", "#FFFF55", "#5555FF", "#FF55FF", "#55FFFF", "#FFFFFF"),
)


def in_16_colours(colour: Color) -> str:
    return SIXTEEN[colour.rich_color.downgrade(ColorSystem.STANDARD).number or 0]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_text_is_legible_on_every_ground_of_its_theme(theme: Theme) -> None:
    generated = theme.to_color_system().generate()
    measured: dict[tuple[str, ...], float] = {}
    # Beside them the row of the cursor in a list that has the focus.
    for text, ground in (*itertools.product(TEXTS, GROUNDS), ("background", "primary")):
        below, said = Color.parse(generated[ground]), generated[text]
        # As Textual computes `auto 60%`: black or white, so strong.
        ink = below.get_contrast_text(float(said[5:-1]) / 100) if said.startswith("auto") else Color.parse(said)
        measured[text, ground] = ratio(ink.hex6, below.hex6)
        measured[text, ground, "16 colours"] = ratio(in_16_colours(ink), in_16_colours(below))
    assert {pair: value for pair, value in measured.items() if value < 4.5} == {}, "WCAG 2.2, 1.4.3 (AA)"


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_curve_is_legible_in_the_legend(theme: Theme) -> None:
    lines = [braille_plot.colour(style, theme.name) for style in range(8)]
    assert [line for line in lines if ratio(line, str(theme.background)) < 4.5] == []


def test_no_two_classes_have_one_colour() -> None:
    classes = ("malignant", "a", "b", "normal", "c", "benign")
    chosen = [colours.of_class(label, classes) for label in classes]
    assert len(set(chosen)) == len(classes)
    for one, other in itertools.combinations(SHOWN.values(), 2):
        assert sum(abs(a - b) for a, b in zip(Color.parse(one).rgb, Color.parse(other).rgb, strict=True)) > 60
