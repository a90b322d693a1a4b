"""Matching the names that users type, and checking those they give."""

import difflib
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lungcli.core.errors import UsageError

T = TypeVar("T")

# A name becomes a folder: no separators, no leading dot or dash, nothing invisible.
_SAFE_NAME = re.compile(r"[^\W_][\w .()\[\]+-]{0,79}", re.UNICODE)


def spelling(name: str) -> str:
    """Reduce a name to what distinguishes it: `MobileNet_V2` and `mobilenet-v2` both become `mobilenetv2`."""
    return re.sub(r"[\s_\-./]", "", name.casefold())


def find(
    name: str, known: Mapping[str, T], kind: str, hint: str = "", offered: Callable[[], Iterable[str]] | None = None
) -> T:
    """Return the entry of `known` that `name` means, forgiving case, dashes and underscores.

    Raises UsageError listing the nearest and all known names, or of these only those that are `offered`.
    """
    by_spelling = {spelling(key): value for key, value in known.items()}
    if (key := spelling(name)) in by_spelling:
        return by_spelling[key]
    raise UsageError(f"unknown {kind} {name!r}", suggestion(name, offered() if offered else known, hint))


def suggestion(name: str, known: Iterable[str], hint: str = "") -> str:
    """Return a hint: the known name nearest to `name`, and all known names."""
    names = sorted(known)
    near = difflib.get_close_matches(spelling(name), [spelling(n) for n in names], n=1, cutoff=0.6)
    parts = []
    if near:
        parts.append(f"did you mean {next(n for n in names if spelling(n) == near[0])!r}?")
    if names:
        parts.append(f"known: {', '.join(names)}")
    if hint:
        parts.append(hint)
    return "; ".join(parts)


def checked(name: str, kind: str) -> str:
    """Return `name` if it can be the name of a folder on every platform, else raise UsageError."""
    if not _SAFE_NAME.fullmatch(name) or name.endswith((".", " ")):
        raise UsageError(
            f"{name!r} cannot be the name of a {kind}",
            "use up to 80 letters, digits, spaces, '.', '-', '_', '+' or brackets, starting with a letter or digit",
        )
    return name


def imported(reference: str) -> Any:
    """Return what `"module:function"` of a row of the registry, or a table of the program, names."""
    module, _, function = reference.partition(":")
    return getattr(importlib.import_module(module), function)


def natural(name: str) -> tuple[str | tuple[int, str], ...]:
    """Sort key of a file name in which 9 comes before 10."""
    parts = re.split(r"0*([0-9]+)", name.casefold())
    # Python makes no number of more than 4,300 digits, and names in archives may have more.
    return tuple((len(part), part) if i % 2 else part for i, part in enumerate(parts))
