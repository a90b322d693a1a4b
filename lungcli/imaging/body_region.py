"""Which part of the body a DICOM header names, told from free text in several languages."""

import re
import unicodedata
from typing import TYPE_CHECKING

from lungcli.imaging import dicom_tags

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TEXTS = ("BodyPartExamined", "SeriesDescription", "StudyDescription", "ProtocolName", "RequestedProcedureDescription")
_CODES = ("AnatomicRegionSequence", "ProcedureCodeSequence", "RequestedProcedureCodeSequence")

# Words that speak of the chest, whatever else is named beside it: a chest and abdomen is a chest.
_CHEST = re.compile(
    r"chest|thora[ckx]|\btora[cx]|\btorso|\btrunk|\blung|\blongen|\bpulmo|\bpolmon|\bpoumon|\bbronch|\bpleur|mediastin"
    r"|\bhrct\b|\bldct\b|\bcap\b|\btap\b|\bctpa\b|\bpe\b|\bcardi|\bheart|\bherz|\bcoronary|\bbrust|\bpecho\b|\bpetto\b"
    r"|\bpoitrine|\bborst|\bribs?\b|\bstern|body|\bnodul|\bo?esophag|\baort|\bbreast|\bgrudn|胸|肺|흉부|폐|груд|легк|лёгк"
)
_ELSEWHERE = (
    (
        "the HEAD",
        r"\bhead(?!s? first)|\bbrain|\bskull|\bcrani|\bcerebr|\bneuro|\bkopf|\bschadel|\bhirn|\btete\b|\bcrane\b"
        r"|\bcerveau|\bcabe[cz]a|\bcervello|\btesta\b|\bencefal|\bhoofd|\bschedel|\bhersen|\bsinus|\borbit|\bmaxill|\bmandib"
        r"|\bdental|\bpituitar|\btemporal bone|\bpetrous|头|頭|脑|脳|голов|мозг|череп",
    ),
    ("the NECK", r"\bneck|\bcervical|\bhals\b|\bcou\b|\bcuello|\bcollo\b|\blaryn|\bthyroid"),
    (
        "the ABDOMEN",
        r"\babd|\bliver|\bhepat|\bleber|\bfoie\b|\bkidney|\brenal|\bniere|\bpan[ck]rea|\bspleen|\bcolon\b|\bbowel"
        r"|\badrenal|\burogra|\bkub\b|\bstomach|\bgallbl|\bbauch|\bvientre|腹|肝|복부|брюш|живот",
    ),
    (
        "the PELVIS",
        r"\bpelv|\bbecken|\bbassin|\bbacino|\bprostat|\bbladder|\bhips?\b|\bhuft|\buter[ui]|\brectum|骨盆|骨盤|\bтаз",
    ),
    ("the SPINE", r"\bspine|\b[cl]spine|\blumbar|\bwirbel|\bsacr|脊|позвон"),
    (
        "an ARM or a LEG",
        r"\bextremit|\bknee|\bankle|\bfoot\b|\bleg\b|\bfemur|\btibia|\bhand\b|\bwrist|\belbow|\bhumer|\bshoulder|\bknie\b",
    ),
)


def elsewhere(dataset: "Dataset") -> str:
    """Return the part of the body that a header names, such as `the HEAD`; empty for the chest, and where it is silent.

    The words are these, never those of the header, whose free text may hold a name.
    """
    codes = [item for sequence in _CODES for item in dicom_tags.items(dataset, sequence)]
    groups = (
        dicom_tags.items(dataset, "SharedFunctionalGroupsSequence")[:1]
        + dicom_tags.items(dataset, "PerFrameFunctionalGroupsSequence")[:1]
    )
    for anatomy in (item for group in groups for item in dicom_tags.items(group, "FrameAnatomySequence")):
        codes += dicom_tags.items(anatomy, "AnatomicRegionSequence")
    texts = dicom_tags.texts(dataset, _TEXTS)
    texts += [text for code in codes for text in dicom_tags.texts(code, ("CodeMeaning",))]
    return named_in(texts)


def named_in(texts: list[str]) -> str:
    """Return the part of the body that texts name, the first text first; empty where one of them names the chest."""
    plain = [_plain(text) for text in texts]
    if any(_CHEST.search(text) for text in plain):
        return ""
    regions = (region for text in plain for region, words in _ELSEWHERE if re.search(words, text))
    return next(regions, "")


def _plain(text: str) -> str:
    """Return a text in lower case, without accents, and a space for whatever is no letter."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return re.sub(r"[\W\d_]+", " ", unicodedata.normalize("NFC", bare))
