"""The last look at what is drawn: no character of a foreign name gets to the terminal as a command."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from lungcli.core.formatting import CONTROL


class Harmless(LineFilter):
    """Takes control characters out of every line. They have no width, so nothing moves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without control characters; most have none."""
        del background
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [
            Segment(CONTROL.sub("", segment.text), segment.style, segment.control) if segment.text else segment
            for segment in segments
        ]
