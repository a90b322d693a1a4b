"""Quantities in words: numbers, sizes, durations, and how fast work goes."""

_MILLION = 1e6
_DAY = 86_400
_YEAR = 365.25


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """A figure, or a dash where there is none; of a million and more, the first digits and the power of ten."""
    if value is None:
        return "–"
    # A loss that diverges, or a file from elsewhere, has figures of 309 digits.
    return f"{value:{sign}.{digits}{'g' if abs(value) >= _MILLION else 'f'}}"


def size(count: int) -> str:
    """Bytes in powers of ten: `260 kB`, `11.30 MB`, `8.0 GB`."""
    if count >= 999_950_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.2f} MB" if count >= 999_500 else f"{count / 1e3:.0f} kB"


def duration(seconds: float | None) -> str:
    """A length of time in at most four characters: `45s`, `12m`, `3.4h`, `5d`, `3y`; a dash where there is none."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.0f}s"
    if seconds < 6000:
        return f"{seconds / 60:.0f}m"
    hours, days = seconds / 3600, seconds / _DAY
    if hours < 100:
        return f"{hours:.1f}h" if hours < 9.95 else f"{hours:.0f}h"
    return f"{days:.0f}d" if days < 999.5 else f"{min(999.0, days / _YEAR):.0f}y"


def transfer(done: int, total: int, since: int, seconds: float) -> str:
    """`34.2 of 157.6 MB, 5.1 MB/s, 24s left`; `since` bytes were there `seconds` ago, a `total` of 0 is unknown."""
    amount = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
    # The first moment says nothing about the speed.
    speed = (done - since) / seconds if seconds >= 0.5 else 0.0
    if speed <= 0:
        return amount
    remaining = f", {duration((total - done) / speed)} left" if total else ""
    return f"{amount}, {speed / 1e6:.1f} MB/s{remaining}"


def images_per_second(done: int, seconds: float) -> str:
    """`212 images/s`, `3.4 images/s`; empty in the first moment, which says nothing."""
    if seconds < 0.5:
        return ""
    rate = done / seconds
    return f"{rate:.0f} images/s" if rate >= 10 else f"{rate:.1f} images/s"
