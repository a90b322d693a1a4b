"""Numbers, sizes and durations as text; control characters in foreign names made visible."""

import re

import msgspec

from lungcli import DISCLAIMER

SCHEMA_VERSION = 1

# Control characters of a foreign file name could move the cursor or recolour the terminal.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(name: object) -> str:
    """Return a foreign name with control characters made visible."""
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), str(name))


def plain_lines(text: str) -> str:
    """Return a text of several lines with all other control characters made visible, as `plain` does."""
    return "\n".join(map(plain, text.split("\n")))


def plain_json(document: str) -> str:
    """Return a JSON document that means the same, with control characters escaped the way JSON does."""
    return "\n".join(CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", line) for line in document.split("\n"))


def as_json(value: object) -> str:
    """Write a value with fields as one JSON object that carries its schema version and the disclaimer."""
    document = {"schema_version": SCHEMA_VERSION, "disclaimer": DISCLAIMER} | msgspec.to_builtins(value)
    return plain_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def size(count: int) -> str:
    """Bytes as people read them, in powers of ten."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def download_progress(done: int, total: int, since: int, seconds: float) -> str:
    """`34.2 of 157.6 MB, 5.1 MB/s, 0:24 left`; `since` bytes were there `seconds` ago, a `total` of 0 is unknown."""
    amount = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
    # The first moment says nothing about the speed.
    speed = (done - since) / seconds if seconds >= 0.5 else 0.0
    if speed <= 0:
        return amount
    left = f", {duration((total - done) / speed)} left" if total else ""
    return f"{amount}, {speed / 1e6:.1f} MB/s{left}"


def throughput(done: int, seconds: float) -> str:
    """`212 pictures/s`, `3.4 pictures/s`; empty in the first moment, which says nothing."""
    if seconds < 0.5:
        return ""
    rate = done / seconds
    return f"{rate:.0f} pictures/s" if rate >= 10 else f"{rate:.1f} pictures/s"
