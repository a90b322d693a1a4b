"""The language of the search box: `mobilenet data:phantom bacc>0.7 -state:failed`."""

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterable

from lungcli.core.errors import UsageError
from lungcli.tui.runs.run_row import Row

Test = Callable[[Row], bool]

WORDS: dict[str, Callable[[Row], tuple[str, ...]]] = {
    "name": lambda row: (row.name,),
    "kind": lambda row: (row.kind,),
    "state": lambda row: (row.state, row.standing),
    "stage": lambda row: (row.stage, *row.glance.best),
    "model": lambda row: (row.model,),
    "teacher": lambda row: (row.teacher, row.teacher_run),
    "data": lambda row: (row.data,),
    "tag": lambda row: row.tags,
}
"""What can be asked of a run's words: `model:mobilenet*`."""

FIGURES: dict[str, Callable[[Row], float | None]] = {
    "bacc": lambda row: row.best.balanced_accuracy if row.best else None,
    "sens": lambda row: row.best.sensitivity if row.best else None,
    "vloss": lambda row: row.best.validation_loss if row.best else None,
    "loss": lambda row: row.glance.loss,
    "epoch": lambda row: float(row.best.done) if row.best else None,
    "speed": lambda row: row.glance.images_per_second,
}
"""What can be asked of a run's figures: `bacc>0.7`."""

_COMPARING: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": math.isclose,
}
_FIGURE = re.compile(r"(\w+)(>=|<=|!=|>|<|=)(\S*)")

HELP = (
    f"words, {', '.join(f'{word}:' for word in WORDS)} with * and ?, {', '.join(f'{f}>' for f in FIGURES)}, - for not"
)


def parse(query: str) -> Test:
    """Return the test that `query` stands for: every part must hold. Raises UsageError saying which part is off."""
    tests = [_part(part) for part in query.split()]
    return lambda row: all(test(row) for test in tests)


def suggestion(query: str, rows: Iterable[Row]) -> str | None:
    """Complete the last word of a search: a field that begins so, or a value of the field that some run has."""
    last = query.rpartition(" ")[2]
    word = last.removeprefix("-")
    key, colon, start = word.partition(":")
    if colon:
        values = {value for row in rows for value in WORDS[key](row)} if key in WORDS else set()
        offered = [f"{key}:{value}" for value in sorted(values)]
        start = word
    else:
        offered, start = [*(f"{word}:" for word in WORDS), *(f"{figure}>" for figure in FIGURES)], word
    completed = next((item for item in offered if start and item.startswith(start) and " " not in item), None)
    return None if completed is None else query + completed[len(start) :]


def _part(part: str) -> Test:
    if part.startswith("-") and len(part) > 1:
        inner = _part(part[1:])
        return lambda row: not inner(row)
    if match := _FIGURE.fullmatch(part):
        return _figure(*match.groups())
    key, colon, pattern = part.partition(":")
    if not colon:
        return _word("name", part)
    if key not in WORDS:
        raise UsageError(f"there is no field {key!r}", f"known: {', '.join(WORDS)}")
    return _word(key, pattern)


def _word(key: str, pattern: str) -> Test:
    read, wanted = WORDS[key], pattern.casefold()
    if any(sign in wanted for sign in "*?"):
        shape = re.compile(fnmatch.translate(wanted.replace("[", "[[]")))
        return lambda row: any(shape.match(word.casefold()) for word in read(row))
    return lambda row: any(wanted in word.casefold() for word in read(row))


def _figure(key: str, sign: str, number: str) -> Test:
    if key not in FIGURES:
        raise UsageError(f"there is no figure {key!r}", f"known: {', '.join(FIGURES)}")
    try:
        limit = float(number)
    except ValueError as error:
        raise UsageError(f"{number!r} is no number", f"as in {key}{sign}0.7") from error
    read, compare = FIGURES[key], _COMPARING[sign]

    def test(row: Row) -> bool:
        value = read(row)
        return value is not None and compare(value, limit)

    return test
