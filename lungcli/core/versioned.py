"""Files that lungcli writes and reads back: every earlier version is read, a newer one refused.

A file says its `format_version` (1 where it says none). One of a newer lungcli is refused by that number before
anything else in it is read; fields that this version does not know are ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from lungcli.core import paths
from lungcli.core.errors import LungcliError

UPGRADE = "upgrade lungcli: pipx upgrade lungcli"

# A mean of shares may be beyond its limit by the last bit.
_ROUNDING = 1e-9
Share = Annotated[float, msgspec.Meta(ge=-_ROUNDING, le=1 + _ROUNDING)]
Difference = Annotated[float, msgspec.Meta(ge=-1 - _ROUNDING, le=1 + _ROUNDING)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
"""Ranges of numbers in files, checked when they are read; in JSON all numbers are finite."""

DAMAGE = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding raises for damage, values nested too deeply included."""

# Of a file that says something of each slice.
MOST_LARGE = 1 << 28
_MOST_SMALL = 1 << 18
_MOST_DOTS = 64

Content = TypeVar("Content")
Default = TypeVar("Default")
Fields = dict[str, Any]


class _Version(msgspec.Struct, frozen=True):
    format_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Format(Generic[Content]):
    """A kind of file, by the word that messages have for it, and the struct `content` that it holds as JSON.

    `version` is the newest that can be read. `migrations[n]` turns the fields of version n into those of version n + 1;
    versions without one are read as the next is. Whatever is wrong with a file is raised as `error`, and so is one that
    is no regular file or exceeds `most_bytes`.
    """

    kind: str
    version: int
    content: type[Content]
    error: type[LungcliError] = LungcliError
    migrations: Mapping[int, Callable[[Fields], Fields]] = field(default_factory=dict)
    most_bytes: int = 1 << 20

    def read(self, path: Path, hint: str, called: object = "") -> Content:
        """Read the file `path`, which messages call by its path or as `called`; see `decode`."""
        shown = called or path
        try:
            content = paths.read_regular(path, self.most_bytes)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise self.error(f"cannot read the {self.kind} {shown}: {reason}", hint) from error
        return self.decode(content, shown, hint)

    def decode(self, content: bytes | str, shown: object, hint: str) -> Content:
        """Read the content of a file that messages call `shown`.

        Raises `error` where it was written by a newer lungcli, or is damaged: then with `hint` on what to do.
        """
        try:
            if len(content) > self.most_bytes:
                raise ValueError(f"it exceeds {self.most_bytes >> 10:,} kB")
            version = msgspec.json.decode(content, type=_Version).format_version
            if version > self.version:
                raise self.error(
                    f"the {self.kind} {shown} has format {version}; this lungcli reads up to {self.version}", UPGRADE
                )
            for older, migrate in sorted(self.migrations.items()):
                if version <= older:
                    fields = migrate(msgspec.json.decode(content)) | {"format_version": older + 1}
                    content = msgspec.json.encode(fields)
            return msgspec.json.decode(content, type=self.content)
        except DAMAGE as error:
            raise self.error(f"the {self.kind} {shown} is damaged: {error}", hint) from error


def write(path: Path, content: msgspec.Struct) -> None:
    """Write `content` as indented JSON, atomically. Raises LungcliError as `paths.atomic_write` does."""
    paths.atomic_write(path, msgspec.json.format(msgspec.json.encode(content), indent=1))


def read_or(path: Path, kind: type[Content], default: Default) -> Content | Default:
    """Read a file that nothing depends on; return `default` where it is missing or damaged."""
    try:
        return msgspec.json.decode(paths.read_regular(path, _MOST_SMALL), type=kind)
    except (OSError, *DAMAGE):
        return default


def read_toml(path: Path, kind: type[Content]) -> Content:
    """Read a small TOML file. Raises OSError where it cannot be read, one of `DAMAGE` where it is no such content."""
    content = paths.read_regular(path, _MOST_SMALL)
    # Each part of a dotted key costs as much as all before it: 40 kB of them took 1.5 GB.
    if any(line.count(b".") > _MOST_DOTS for line in content.splitlines()):
        raise ValueError(f"a line in it has more than {_MOST_DOTS} dots")
    return msgspec.toml.decode(content, type=kind)
