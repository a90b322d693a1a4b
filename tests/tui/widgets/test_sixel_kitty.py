"""Pictures in the languages of terminals, read back."""

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from lungcli.tui.widgets import sixel_kitty

_TOKEN = re.compile(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([?-~])|(\$)|(-)")


def seen(text: str) -> NDArray[np.float64]:
    """Draw Sixel as DEC STD 070 says: RGB (H, W, 3) in per cent, NaN where nothing was drawn."""
    head = re.match(r'\x1bP0;1;0q"1;1;(\d+);(\d+)', text)
    assert head
    assert text.endswith("\x1b\\")
    drawn = np.full((int(head[2]), int(head[1]), 3), np.nan)
    palette: dict[int, tuple[int, ...]] = {}
    body, at, colour, x, y = text[:-2], head.end(), 0, 0, 0
    while at < len(body):
        token = _TOKEN.match(body, at)
        assert token, body[at : at + 20]
        at = token.end()
        number, *share, count, again, once, back, down = token.groups()
        if number:
            colour = int(number)
            if share[0]:
                palette[colour] = tuple(map(int, share))
        elif back:
            x = 0
        elif down:
            x, y = 0, y + 6
        else:
            bits = ord(again or once) - 63
            for row in range(6):
                if bits >> row & 1:
                    drawn[y + row, x : x + int(count or 1)] = palette[colour]
            x += int(count or 1)
    return drawn


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 70), st.integers(1, 70), st.booleans(), st.integers(2, 99)
)
def test_every_pixel_is_drawn(height: int, width: int, across: int, down: int, rgb: bool, colours: int) -> None:
    shape = (height, width, 3) if rgb else (height, width)
    shown = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    drawn = seen(sixel_kitty.sixels(shown, across, down, colours))
    assert drawn.shape == (max(6, down // 6 * 6), across, 3)
    assert not np.isnan(drawn).any()
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) <= colours


@pytest.mark.parametrize(("colours", "most"), [(256, 1.3), (16, 8.0)])
def test_greys_stay_the_greys_they_were(colours: int, most: float) -> None:
    ramp = np.repeat(np.linspace(0, 255, 192).astype(np.uint8)[None], 48, axis=0)
    drawn = seen(sixel_kitty.sixels(ramp, 192, 48, colours))
    assert (drawn[..., 0] == drawn[..., 2]).all()
    # Of few greys, neighbours make those between.
    means = drawn[..., 0].reshape(48, 16, 12).mean(axis=(0, 2)) * 2.55
    assert np.abs(means - ramp.reshape(48, 16, 12).mean(axis=(0, 2))).max() < most * 2.55


def test_colours_stay_the_colours_they_were() -> None:
    shown = np.zeros((12, 12, 3), dtype=np.uint8)
    shown[:, :6] = (255, 0, 0)
    shown[6:, 6:] = (0, 102, 204)
    drawn = seen(sixel_kitty.sixels(shown, 12, 12, 256))
    assert drawn[0, 0].tolist() == [100, 0, 0]
    assert drawn[0, 11].tolist() == [0, 0, 0]
    assert drawn[11, 11].tolist() == [0, 40, 80]


def test_a_box_keeps_the_aspect() -> None:
    assert sixel_kitty.box(512, 512, 80, 40, (10, 20)) == (80, 40)
    assert sixel_kitty.box(512, 512, 80, 40, (8, 20)) == (80, 32)
    assert sixel_kitty.box(100, 400, 80, 40, (10, 20)) == (20, 40)
    assert sixel_kitty.box(4000, 1, 80, 40, (10, 20)) == (80, 1)


def test_kitty_gets_the_picture_in_pieces_and_shows_it_by_number() -> None:
    shown = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    commands = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sixel_kitty.kitty(shown, 0x123456, 7, 4))
    assert commands[0][0] == f"a=T,U=1,f=100,q=2,i={0x123456},c=7,r=4,m=1"
    assert [head for head, _ in commands[1:]] == [*["q=2,m=1"] * (len(commands) - 2), "q=2,m=0"]
    assert all(len(piece) <= 4096 for _, piece in commands)
    with Image.open(io.BytesIO(base64.b64decode("".join(piece for _, piece in commands)))) as image:
        assert (np.asarray(image) == shown).all()
    lines = sixel_kitty.places(0x123456, 7, 4)
    assert [line.cell_length for line in lines] == [7] * 4
    # The first signs that count, from the protocol: 0 is U+0305, 1 is U+030D, 2 is U+030E.
    assert lines[2].text.startswith("\U0010eeee\u030e\u0305\U0010eeee\u030e\u030d")
    (segment,) = lines[0]
    assert segment.style is not None
    assert segment.style.color is not None
    assert segment.style.color.triplet == (0x12, 0x34, 0x56)
    assert sixel_kitty.most() == 297
