"""What names a patient, kept out of everything that is shown: paths of DICOM files often hold it."""

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lungcli.imaging import dicom_tags

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

HIDDEN = "…"
_PERSONS = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ResponsiblePerson",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
)
_NUMBERS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "MedicalRecordLocator", "PatientTelephoneNumbers")
_DATES = ("PatientBirthDate", "PatientBirthDateInAlternativeCalendar")
_OTHER_IDS = "OtherPatientIDsSequence"
TAGS = (*_PERSONS, *_NUMBERS, *_DATES, _OTHER_IDS)

# Shorter ones would be found in every second word: they only count where they stand alone. Two ideographs are a name.
_FOUND_WITHIN, _IDEOGRAPHS_WITHIN = 4, 2
# Numbers that count slices are shorter.
_LEAST_ACCESSION = 4
# A name of so many words is written as any of them, in any order, with anything between them.
_MOST_JOINED = 3
# Initials that folders of every patient are called.
_NOT_INITIALS = {"ct", "mr", "pt", "sr", "pr", "im", "se", "st", "dx", "dcm", "img"}
_MONTHS = "january february march april may june july august september october november december".split()  # noqa: SIM905

# Letters and digits, and the marks that combine with them: Latin, Hebrew, Arabic, Devanagari, Thai.
_WORD = re.compile(
    r"(?:[^\W_]|[\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e])+"
)
# Of each tag. Names and numbers have 64 letters (PS3.5, 6.2), paths no parts that are longer.
_MOST_VALUES, _LONGEST = 64, 1024
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "œ": "oe", "ß": "ss"})
# What Unicode does not take apart.
_WITHOUT_STROKE = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe"}
_CYRILLIC = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґ",
        "a b v g d e e zh z i y k l m n o p r s t u f kh ts ch sh shch  y  e yu ya i i e g".split(" "),  # noqa: SIM905
        strict=True,
    )
)
_TO_HIRAGANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}
_BARE = str.maketrans(_WITHOUT_STROKE) | str.maketrans(_CYRILLIC) | _TO_HIRAGANA


def words_of(dataset: "Dataset") -> frozenset[str]:
    """Words that name the patient, or others about him, each as `hidden` looks for it.

    Names with the scripts they are written in (PS3.5, 6.2.1.2), in any order and with initials; numbers; dates of birth
    in any usual order.
    """
    words: set[str] = set()
    for name in _texts(dataset, _PERSONS):
        words |= _person(name)
    others = dicom_tags.items(dataset, _OTHER_IDS)[:_MOST_VALUES]
    for text in (*_texts(dataset, _NUMBERS[:2]), *(text for item in others for text in _texts(item, ("PatientID",)))):
        words |= _number(text)
    for text in _texts(dataset, _NUMBERS[2:]):
        words |= {word for word in _number(text) if len(word) >= _LEAST_ACCESSION}
    for text in _texts(dataset, _DATES):
        words |= _number(text) | _date(text)
    # A single letter, such as the M of a middle name, names nobody; a single ideograph is a family.
    return frozenset(word for word in words if len(word) > 1 or _IDEOGRAPH.match(word))


def _texts(dataset: "Dataset", names: Iterable[str]) -> list[str]:
    """Return values of some tags as text, as many and as much of each as may name a patient."""
    return [text[:_LONGEST] for name in names for text in dicom_tags.texts(dataset, (name,))[:_MOST_VALUES]]


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


@functools.lru_cache(4096)
def _person(name: str) -> frozenset[str]:
    """Spellings of a person's name: of each group, its words alone, joined in any order, and with initials."""
    words: set[str] = set()
    # Families and given names may hold backslashes where several names stand in one value.
    for group in re.split(r"[=\\]", name):
        parts = _WORD.findall(unicodedata.normalize("NFC", group))[:5]
        joined = {"".join(parts), *parts}
        for count in range(2, _MOST_JOINED + 1):
            joined |= {"".join(chosen) for chosen in itertools.permutations(parts, count)}
        for first, second in itertools.permutations(parts, 2):
            joined |= {first + second[0], first[0] + second}
        initials = {"".join(part[0] for part in order) for order in (parts, parts[1:] + parts[:1]) if len(parts) > 1}
        joined |= {letters for letters in initials if letters.casefold() not in _NOT_INITIALS}
        words |= {spelling for word in joined for spelling in _spellings(word)}
    return frozenset(words)


def _number(text: str) -> set[str]:
    parts = _WORD.findall(unicodedata.normalize("NFC", text))
    return {spelling for word in (*parts, "".join(parts)) for spelling in _spellings(word)}


def _date(text: str) -> set[str]:
    """A date YYYYMMDD in the usual orders, with and without leading zeros, years of four and two digits, and names."""
    match = re.fullmatch(r"(\d{4})\D?(\d{2})\D?(\d{2})", text.strip())
    if not match or not 1 <= int(match[2]) <= 12:
        return set()
    month_name = _MONTHS[int(match[2]) - 1]
    months = {match[2], match[2].lstrip("0"), month_name, month_name[:3]}
    days = {match[3], match[3].lstrip("0")}
    years = {match[1], match[1][2:]}
    return {
        "".join(order)
        for year, month, day in itertools.product(years, months, days)
        for order in ((year, month, day), (day, month, year), (month, day, year), (year, day, month))
        if len("".join(order)) >= _FOUND_WITHIN + 2
    }


def _hidden_whole(part: str, words: frozenset[str]) -> str:
    return HIDDEN if _names(part, words) else part


def _hidden_in_name(name: str, words: frozenset[str]) -> str:
    """Keep what tells the files of a patient apart, such as their number."""
    stem, dot, suffix = name.rpartition(".")
    # What follows the last dot may be the year of a date.
    if not stem or suffix.isdigit():
        stem, dot, suffix = name, "", ""
    stem = unicodedata.normalize("NFC", stem)
    if not _names(stem, words):
        return name
    kept, end = "", 0
    for start, stop in _spans(stem, words):
        kept += stem[end:start] + HIDDEN
        end = stop
    kept += stem[end:]
    # A name may be cut by what separates words: look once more at the whole.
    return f"{HIDDEN if _names(kept, words) else kept}{dot}{suffix}"


def _spans(text: str, words: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield the beginning and end of every run of words that names somebody, the longest first at each place."""
    matches = list(_WORD.finditer(text))
    at = 0
    while at < len(matches):
        for count in range(min(_MOST_JOINED, len(matches) - at), 0, -1):
            run = matches[at : at + count]
            joined = "".join(match.group() for match in run)
            if words.intersection(_spellings(joined)) or (count == 1 and _within(joined, words)):
                yield run[0].start(), run[-1].end()
                at += count
                break
        else:
            at += 1


def _names(text: str, words: frozenset[str]) -> bool:
    plain = unicodedata.normalize("NFC", text)
    return any(True for _ in _spans(plain, words)) or _within("".join(_WORD.findall(plain)), words)


def _within(text: str, words: frozenset[str]) -> bool:
    spellings = _spellings(text)
    return any(len(word) >= _least(word) and any(word in spelling for spelling in spellings) for word in words)


def _least(word: str) -> int:
    return _IDEOGRAPHS_WITHIN if _IDEOGRAPH.match(word) else _FOUND_WITHIN


@functools.lru_cache(65_536)
def _spellings(word: str) -> tuple[str, ...]:
    """A word in lower case without accents, with umlauts written out, and with those taken back.

    `Müller` is found in muller and mueller, and Mueller in muller. Cyrillic is Latin, and katakana hiragana.
    """
    lower = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", word).casefold())
    bare = _bare(lower)
    written_out = _bare(lower.translate(_UMLAUTS))
    return tuple(dict.fromkeys((bare, written_out, re.sub(r"([aou])e|aa", lambda m: m[1] or "a", written_out))))


def _bare(lower: str) -> str:
    plain = unicodedata.normalize("NFC", lower).translate(_BARE)
    letters = (letter for letter in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", "".join(letters))
