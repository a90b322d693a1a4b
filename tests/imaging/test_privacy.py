import itertools
import unicodedata
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from lungcli.imaging import privacy


def words(**tags: object) -> frozenset[str]:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for name, value in tags.items():
        setattr(dataset, name, value)
    return privacy.words_of(dataset)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("data/MUSTERFRAU_ERIKA/CT/1.dcm", "data/…/CT/1.dcm"),
        ("data/Musterfrau^Erika 1964-08-12/1.dcm", "data/…/1.dcm"),
        ("data/musterfrauerika/1.dcm", "data/…/1.dcm"),
        ("PID4711X/IM0001", "…/IM0001"),
        ("x/erika-0042.dcm", "x/…-0042.dcm"),
        ("x/MusterfrauE-0042.dcm", "x/…-0042.dcm"),
        ("x\\Müller\\1.dcm", "x\\…\\1.dcm"),
        ("x/Mueller/1.dcm", "x/…/1.dcm"),
        ("x/MULLER/1.dcm", "x/…/1.dcm"),
        ("19640812/1.dcm", "…/1.dcm"),
        ("x/li/1.dcm", "x/…/1.dcm"),
        ("slices/live/1.dcm", "slices/live/1.dcm"),
        ("other/person.dcm", "other/person.dcm"),
    ],
)
def test_what_names_the_patient_is_hidden(path: str, shown: str) -> None:
    found = words(
        PatientName="Musterfrau^Erika",
        OtherPatientNames=["Müller^E", "Li^Wu"],
        PatientID="PID-4711X",
        PatientBirthDate="19640812",
    )
    assert privacy.hidden(path, found) == shown


@pytest.mark.parametrize(
    ("name", "path", "shown"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "a/山田太郎/IM1.dcm", "a/…/IM1.dcm"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "a/太郎 山田/IM1.dcm", "a/…/IM1.dcm"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "a/ヤマダタロウ/IM1.dcm", "a/…/IM1.dcm"),
        ("Wang^XiaoMing=王^小明", "王小明/IM1.dcm", "…/IM1.dcm"),
        ("Wang^XiaoMing=王^小明", "x/XiaoMing Wang.dcm", "x/….dcm"),
        ("Wang^XiaoMing=王^小明", "王/IM1.dcm", "…/IM1.dcm"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "CT 홍길동/1.dcm", "…/1.dcm"),
        ("Иванов^Иван", "Ivanov_Ivan/IM1.dcm", "…/IM1.dcm"),
        ("Ivanov^Ivan", "Иванов/IM1.dcm", "…/IM1.dcm"),
        ("Mueller^M", "M_Müller/IM1.dcm", "…/IM1.dcm"),
        ("Mueller^M", "Muller/IM1.dcm", "…/IM1.dcm"),
        ("Müller^M", "Mu\u0308ller/IM1.dcm", "…/IM1.dcm"),
        ("Sørensen^Åse", "Soerensen/IM1.dcm", "…/IM1.dcm"),
        ("Sørensen^Åse", "aase/sorensen 3.dcm", "…/… 3.dcm"),
        ("Wałęsa^Łukasz", "LukaszWalesa/1.dcm", "…/1.dcm"),
        ("Lee^J", "LeeJ/IM1.dcm", "…/IM1.dcm"),
        ("Lee^Jane", "JLee/IM1.dcm", "…/IM1.dcm"),
        ("Ng^A", "NG_A/IM1.dcm", "…/IM1.dcm"),
        ("Musterfrau^Erika^Maria", "EM Musterfrau/1.dcm", "…/1.dcm"),
        ("Musterfrau^Erika", "ME/1.dcm", "…/1.dcm"),
        ("Thomas^Carl", "CT/IM0001", "CT/IM0001"),
        ("Musterfrau^Erika", "x/notes of Erika M.dcm", "x/notes of ….dcm"),
    ],
)
def test_names_in_any_script_and_order(name: str, path: str, shown: str) -> None:
    assert privacy.hidden(path, words(PatientName=name)) == shown


@pytest.mark.parametrize(
    "written",
    [
        *("19540312", "12.03.1954", "12-03-1954", "03_12_1954", "1954_03_12", "12.3.1954", "12 03 54", "540312"),
        *("120354", "12 March 1954", "Mar-12-1954", "12MAR54", "born 12.03.1954"),
    ],
)
def test_dates_of_birth_in_any_usual_order(written: str) -> None:
    found = words(PatientBirthDate="19540312")
    assert privacy.hidden(f"d/{written}/IM1.dcm", found) == "d/…/IM1.dcm"
    assert "54" not in privacy.hidden(f"d/{written}.dcm", found)
    assert privacy.hidden("d/2024-05-17/12.dcm", found) == "d/2024-05-17/12.dcm"


def test_other_persons_and_numbers_of_the_header() -> None:
    other = Dataset()
    other.PatientID = "QX-99"
    found = words(
        PatientMotherBirthName="Adler^Rosa",
        ResponsiblePerson="Falk^Otto",
        OtherPatientIDsSequence=[other],
        AccessionNumber="A20240017",
    )
    for name in ("Rosa", "FALK", "qx99", "A20240017", "scan_A20240017"):
        assert privacy.hidden(f"{name}/1.dcm", found) == "…/1.dcm"
    assert privacy.hidden("a/12.dcm", words(AccessionNumber="12")) == "a/12.dcm"


LETTERS = {
    "Latin": "abcdefghijklmnoprstuvzäöüéèñçøłßşžå",
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщыэюя",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψωάέή",
    "Han": "王李张刘陈杨黄赵周吴山田太郎小明",
    "kana": "あいうえおかきくけこさしすせそがぎぐばびぶぱ",
    "Hangul": "김이박최정강조윤장임철수영희민준",
}
JOINED = ("", " ", "_", "-", "^", ", ", ".")


@st.composite
def persons(draw: st.DrawFn) -> tuple[str, str]:
    alphabet = LETTERS[draw(st.sampled_from(list(LETTERS)))]
    part = st.text(st.sampled_from(alphabet), min_size=4, max_size=8)
    return draw(part), draw(part)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    person=persons(),
    other=persons(),
    group=st.integers(0, 2),
    separator=st.sampled_from(JOINED),
    form=st.sampled_from(["NFC", "NFD"]),
    upper=st.booleans(),
)
def test_no_way_to_write_a_name_that_the_header_tells_is_shown(
    person: tuple[str, str],
    other: tuple[str, str],
    group: int,
    separator: str,
    form: Literal["NFC", "NFD"],
    upper: bool,
) -> None:
    groups = ["^".join(other)] * group + ["^".join(person)]
    found = words(PatientName="=".join(groups))
    family, called = person
    written = [separator.join(order) for order in itertools.permutations(person)]
    written += [f"{family}{separator}{called[0]}", f"{called[0]}{separator}{family}", family, called]
    for text in written:
        text = unicodedata.normalize(form, text.upper() if upper else text)
        assert privacy.hidden(f"data/{text}/IM1.dcm", found) == "data/…/IM1.dcm"
        assert privacy.hidden(f"data/scan {text} 7.dcm", found).startswith("data/scan …")
        assert privacy.hidden(f"data/CT {text} 7/IM1", found) == "data/…/IM1"


@settings(deadline=None, max_examples=100, derandomize=True)
@given(person=persons())
def test_paths_that_name_nobody_stay_as_they_are(person: tuple[str, str]) -> None:
    path = "QQQ 2024/CT 1.2.840.10008/IM-0001-0012.dcm"
    assert privacy.hidden(path, words(PatientName="^".join(person))) == path


def test_nobody_known_hides_nothing() -> None:
    assert privacy.hidden("a/b.dcm", words()) == "a/b.dcm"
    assert privacy.hidden("a/b.dcm", words(PatientName="", PatientID=None)) == "a/b.dcm"


def test_without_folders() -> None:
    assert privacy.without_folders("a/b/c.dcm") == "…/c.dcm"
    assert privacy.without_folders("c.dcm") == "c.dcm"
