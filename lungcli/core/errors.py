"""The errors a user can meet. Each says what happened and why (`message`) and what to do (`hint`)."""

import contextlib
import sys
from collections.abc import Iterator

OUT_OF_MEMORY = "out of memory"
# As PyTorch, C++ and the system say it.
_SHORTAGES = (OUT_OF_MEMORY, "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
# All that oneDNN says whatever the cause (https://github.com/pytorch/pytorch/issues/143651, 55884). With more words it
# names what it does not support, and has memory.
_PERHAPS_A_SHORTAGE = "could not create a primitive"


class LungcliError(Exception):
    """Something a user can understand and fix.

    `message` is one line: what failed and why. `hint` is one line: what to do about it, or empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LungcliError):
    """The command line or a recipe asks for something that does not exist or cannot be meant."""


class ModelFileError(LungcliError):
    """A file is not a lungcli model file, or not one that this version can use."""


class UnreadableInputError(LungcliError):
    """A picture or data set cannot be read."""


class GateNotMetError(LungcliError):
    """The compressed model lost more than its gate allows."""


class NetworkError(LungcliError):
    """A download failed, or what arrived is not what was promised."""


class InterruptedRunError(LungcliError):
    """The user stopped a run; its work is saved."""


class LostRankError(LungcliError):
    """One of several processes that train together is gone; all start again from the last checkpoint."""


@contextlib.contextmanager
def during(what: str) -> Iterator[None]:
    """Add a note to an error raised within: what was being done, which one of many threads can't otherwise tell."""
    try:
        yield
    finally:
        if error := sys.exception():
            error.add_note(what)


def shortage(error: BaseException) -> str:
    """Say that CPU or GPU memory ran out, or may have, for which libraries in C++ have other errors than Python.

    Empty where it did not.
    """
    said = str(error).strip().lower() if isinstance(error, RuntimeError) else ""
    if isinstance(error, MemoryError) or any(words in said for words in _SHORTAGES):
        return OUT_OF_MEMORY
    return "oneDNN failed, which most often is for lack of memory" if said == _PERHAPS_A_SHORTAGE else ""
