"""Settings declared once, beside their field: the check, the command-line option and the form are made from that."""

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

Group = Literal["Data", "Net", "Distillation", "Compression", "Schedule", "Augmentation", "Hardware", "Output"]
"""What settings are about, in the order in which they are shown."""


class OutOfRangeError(ValueError):
    """A setting is out of range: `reason` continues a sentence that begins with the name of the field."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Option:
    """A setting, declared as `Annotated[int, Option(...)]`; `declared` fills in what its field already says.

    One without a group is set in files only. `help` is one line with no full stop; a number is from `low` to `high`,
    both included. `names` are those on the command line, none for an `argument`. The value is one of `values`, unless
    it is `free` to be another; `choices_from` says what on this machine it names. An option for `many` values is given
    once for each. `default` is NODEFAULT where a value is required.
    """

    group: Group | None
    help: str
    low: float = -math.inf
    high: float = math.inf
    _: KW_ONLY
    names: tuple[str, ...] = ()
    argument: bool = False
    label: str = ""
    metavar: str | None = None
    values: tuple[str, ...] = ()
    free: bool = False
    choices_from: Literal["", "nets", "teachers", "runs", "data", "lesions", "models"] = ""
    many: bool = False
    default: Any = None
    field: str = ""
    kind: Any = str

    @property
    def range(self) -> str:
        """The range as text, empty where there is none."""
        return f"{self.low:g} to {self.high:g}" if math.isfinite(self.low) else ""

    @property
    def default_text(self) -> str:
        """The default as it would be typed, empty where there is none."""
        if self.default is msgspec.NODEFAULT or self.kind is bool:
            return ""
        defaults = self.default if self.many else (self.default,)
        return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in defaults)

    def problem(self, value: object) -> str:
        """Say how a number is out of range, as in `is 30, outside 32 to 1024`; empty where it is not."""
        if isinstance(value, int | float) and not self.low <= value <= self.high:
            return f"is {value}, outside {self.range}"
        return ""


def declared(struct: type[msgspec.Struct]) -> dict[str, Option]:
    """Return the options declared in the annotations of `struct`, by field."""
    return {option.field: option for field in msgspec.structs.fields(struct) for option in _of_field(field)}


def _of_field(field: msgspec.structs.FieldInfo) -> Iterator[Option]:
    if get_origin(field.type) is not Annotated:
        return
    kind, *annotations = get_args(field.type)
    for option in annotations:
        if isinstance(option, Option):
            dashed = field.name.replace("_", "-")
            names = option.names or (() if option.argument else (f"--{dashed}",))
            yield replace(
                option,
                field=field.name,
                kind=kind,
                names=names,
                label=option.label or (names[0] if names else dashed).strip("-").replace("-", " ").capitalize(),
                values=option.values or (get_args(kind) if get_origin(kind) is Literal else ()),
                default=field.default if option.default is None else option.default,
            )
