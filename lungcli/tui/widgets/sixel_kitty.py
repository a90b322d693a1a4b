"""Pictures in the protocols of terminals that draw real pixels: Sixel, and Kitty's in cells of text."""

import base64
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lungcli.imaging.picture import encoded
from lungcli.views.terminal_image import Pixels

# Nobody sees more greys than this on a screen, and each makes a picture longer.
_COLOURS = 64
_BAND = 6  # pixels a row of sixels
# Runs of nothing and of everything of a colour: nearly all that repeat, and several times faster to find than any run.
_AGAIN = re.compile(rb"\?{4,}|~{4,}")

# Kitty's graphics protocol, "Unicode placeholders": this character stands for a cell of a picture whose number is its
# colour; two characters that combine with it count row and column, in this order.
_PLACE = "\U0010eeee"
_COUNTING = (
    "305 30d-30e 310 312 33d-33f 346 34a-34c 350-352 357 35b 363-36f 483-487 592-595 597-599 59c-5a1 5a8-5a9 "
    "5ab-5ac 5af 5c4 610-617 657-65b 65d-65e 6d6-6dc 6df-6e2 6e4 6e7-6e8 6eb-6ec 730 732-733 735-736 73a 73d "
    "73f-741 743 745 747 749-74a 7eb-7f1 7f3 816-819 81b-823 825-827 829-82d 951 953-954 f82-f83 f86-f87 "
    "135d-135f 17dd 193a 1a17 1a75-1a7c 1b6b 1b6d-1b73 1cd0-1cd2 1cda-1cdb 1ce0 1dc0-1dc1 1dc3-1dc9 1dcb-1dcc "
    "1dd1-1de6 1dfe 20d0-20d1 20d4-20d7 20db-20dc 20e1 20e7 20e9 20f0 2cef-2cf1 2de0-2dff a66f a67c-a67d "
    "a6f0-a6f1 a8e0-a8f1 aab0 aab2-aab3 aab7-aab8 aabe-aabf aac1 fe20-fe26 10a0f 10a38 1d185-1d189 1d1aa-1d1ad "
    "1d242-1d244 "
)
# Longer commands must be cut.
_CHUNK = 4096


def box(width: int, height: int, columns: int, rows: int, cell: tuple[int, int]) -> tuple[int, int]:
    """Return how many of `columns` × `rows` cells of `cell` pixels a picture fills, aspect kept to half a cell."""
    scale = min(columns * cell[0] / width, rows * cell[1] / height)
    fits = round(width * scale / cell[0]), round(height * scale / cell[1])
    return max(1, min(columns, fits[0])), max(1, min(rows, fits[1]))


def sixels(pixels: Pixels, width: int, height: int, colours: int) -> str:
    """Draw a grey [H, W] or RGB [H, W, 3] picture as Sixel, `width` × `height` pixels, in at most `colours`.

    The height is cut to whole rows of six (DEC STD 070, chapter 9): what follows below is never touched.
    """
    height = max(_BAND, height // _BAND * _BAND)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    places, palette = _few(image, min(colours, _COLOURS))
    shares = np.rint(palette * (100 / 255)).astype(int).tolist()
    parts = [f'\x1bP0;1;0q"1;1;{width};{height}'.encode()]
    parts += [b"#%d;2;%d;%d;%d" % (number, *share) for number, share in enumerate(shares)]
    across = np.arange(width)
    for band in places.reshape(-1, _BAND, width):
        marks = np.zeros((len(palette), width), dtype=np.uint8)
        for row in range(_BAND):
            marks[band[row], across] |= 1 << row
        used = np.unique(band).tolist()
        parts.append(b"$".join(b"#%d" % number + _short((marks[number] + 63).tobytes()) for number in used) + b"-")
    return b"".join(parts).decode() + "\x1b\\"


def _few(image: Image.Image, colours: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return each pixel's place in a palette (H, W), and the palette (C, 3) in 0..255."""
    if image.mode == "L":
        greys = np.linspace(0, 255, colours)
        if colours < _COLOURS:
            few = Image.new("P", (1, 1))
            few.putpalette(np.repeat(np.rint(greys).astype(np.uint8), 3).tobytes())
            image = image.convert("RGB").quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG)
            return np.minimum(np.asarray(image, dtype=np.intp), colours - 1), np.repeat(greys[:, None], 3, axis=1)
        return np.asarray(image, dtype=np.intp) * colours // 256, np.repeat(greys[:, None], 3, axis=1)
    image = image.quantize(colours, method=Image.Quantize.FASTOCTREE)
    palette = np.asarray(image.getpalette() or [], dtype=np.float64).reshape(-1, 3)
    places = np.asarray(image, dtype=np.intp)
    return places, palette[: places.max() + 1]


def _short(row: bytes) -> bytes:
    return _AGAIN.sub(lambda run: b"!%d%b" % (len(run[0]), run[0][:1]), row.rstrip(b"?"))


def kitty(pixels: Pixels, number: int, columns: int, rows: int) -> str:
    """Return what gives Kitty a picture with a number (24 bits), to be shown in `columns` × `rows` cells."""
    data = base64.standard_b64encode(encoded(Image.fromarray(pixels), compress_level=1)).decode()
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    heads = [f"a=T,U=1,f=100,q=2,i={number},c={columns},r={rows},", *["q=2,"] * (len(chunks) - 1)]
    return "".join(
        f"\x1b_G{head}m={int(place < len(chunks))};{chunk}\x1b\\"
        for place, (head, chunk) in enumerate(zip(heads, chunks, strict=True), start=1)
    )


def forget(number: int) -> str:
    """Return the command that lets Kitty forget a picture."""
    return f"\x1b_Ga=d,d=I,q=2,i={number}\x1b\\"


def places(number: int, columns: int, rows: int) -> list[Strip]:
    """Return the cells in which Kitty shows a picture: at most `most()` columns and rows."""
    counting = _counting()
    style = Style(color=f"#{number:06x}")
    return [
        Strip([Segment("".join(_PLACE + counting[y] + counting[x] for x in range(columns)), style)], columns)
        for y in range(rows)
    ]


def most() -> int:
    """How many columns and rows of a picture Kitty can count."""
    return len(_counting())


def _counting() -> list[str]:
    characters: list[str] = []
    for span in _COUNTING.split():
        first, _, last = span.partition("-")
        characters += map(chr, range(int(first, 16), int(last or first, 16) + 1))
    return characters
