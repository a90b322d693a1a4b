"""What names a patient, kept out of everything that is shown: paths of DICOM files often hold it."""

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

HIDDEN = "…"
TAGS = ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientID", "OtherPatientIDs", "PatientBirthDate")

# Shorter ones would be found in every second word: they only count where they stand alone.
_FOUND_WITHIN = 4
_WORD = re.compile(r"[^\W_]+")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "ß": "ss"})


def words_of(dataset: "Dataset") -> frozenset[str]:
    """Words that name the patient of a DICOM data set, each as `hidden` looks for it: names, numbers, date of birth."""
    found: set[str] = set()
    for tag in TAGS:
        value: Any = getattr(dataset, tag, None) or ""
        # Values of several are lists of pydicom's own, one value is a string or a name.
        for text in (
            str(value).split("\\") if isinstance(value, str) or hasattr(value, "family_name") else map(str, value)
        ):
            found |= {spelling for word in _WORD.findall(text) for spelling in _spellings(word)}
            found |= set(_spellings("".join(_WORD.findall(text))))
    # A single letter, such as the M of a middle name, names nobody.
    return frozenset(word for word in found if len(word) > 1)


def hidden(path: str, words: Iterable[str]) -> str:
    """Return `path` with every folder that holds one of `words` as `…`, and what holds one in the file's name too."""
    known = frozenset(words)
    if not known:
        return path
    parts = re.split(r"([/\\])", path)
    last = len(parts) - 1
    return "".join(
        _hidden_in_name(part, known) if i == last else _hidden_whole(part, known) for i, part in enumerate(parts)
    )


def without_folders(path: str) -> str:
    """Return `path` with all its folders as one `…`: nobody can say whom they name."""
    name = re.split(r"[/\\]", path)[-1]
    return path if name == path else f"{HIDDEN}/{name}"


def _hidden_whole(part: str, words: frozenset[str]) -> str:
    return HIDDEN if _names(part, words) else part


def _hidden_in_name(name: str, words: frozenset[str]) -> str:
    """Keep what tells the files of a patient apart, such as their number."""
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    kept = _WORD.sub(lambda match: HIDDEN if _names(match.group(), words) else match.group(), stem)
    # A name may be cut by what separates words: look once more at the whole.
    return f"{HIDDEN if _names(kept, words) else kept}{dot}{suffix}"


def _names(text: str, words: frozenset[str]) -> bool:
    alone = {spelling for word in _WORD.findall(text) for spelling in _spellings(word)}
    whole = _spellings("".join(_WORD.findall(text)))
    return bool(alone & words) or any(len(word) >= _FOUND_WITHIN and word in each for word in words for each in whole)


def _spellings(word: str) -> tuple[str, ...]:
    """A word in lower case without accents, and with umlauts written out: `Müller` is found in muller and mueller."""
    lower = unicodedata.normalize("NFC", word).casefold()
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(letter))
    return (bare, lower.translate(_UMLAUTS))
