"""Colours of lines: after Okabe and Ito (2008, Color Universal Design), told apart by the colour-blind too."""

DARK = ("#E69F00", "#56B4E9", "#2FC99A", "#F0E442", "#CC79A7", "#FF7F50", "#9AA7FF", "#DDDDDD")
LIGHT = ("#B25F00", "#0072B2", "#00714F", "#7A6A00", "#9C3F78", "#C23B00", "#3F3FBF", "#333333")
CONTRAST = ("#FFB000", "#5CC8FF", "#00FFB0", "#FFFF40", "#FF8CD0", "#FF9060", "#B0B8FF", "#FFFFFF")


def colour(look: int, theme: str) -> str:
    """The colour of the line with this look in a theme of this name."""
    colours = LIGHT if "light" in theme else CONTRAST if "contrast" in theme else DARK
    return colours[look % len(colours)]
