"""What the user says of the greys of pictures, on the command line."""

import pytest

from lungcli.cli.predict import _grey_scale
from lungcli.core.errors import UsageError
from lungcli.imaging.hounsfield import GreyScale


def test_a_window_or_an_offset_or_nothing() -> None:
    assert _grey_scale("", None) is None
    assert _grey_scale("-600,1500", None) == GreyScale(window=(-600, 1500))
    assert _grey_scale("", 0.0) == GreyScale(offset=0)


@pytest.mark.parametrize(
    ("window", "offset"),
    [
        ("-600", None),
        ("1,2,3", None),
        ("lung", None),
        ("0,0", None),
        ("0,-400", None),
        ("nan,400", None),
        ("0,inf", None),
        ("", float("nan")),
        ("-600,1500", 1024.0),
    ],
)
def test_what_is_no_scale_is_one_line(window: str, offset: float | None) -> None:
    with pytest.raises(UsageError) as caught:
        _grey_scale(window, offset)
    assert "\n" not in caught.value.message
    assert caught.value.hint
