"""What lies beside an exported file: its facts, programs that reproduce a verdict, and a slice with the one to get."""

from pathlib import Path

import msgspec

from lungcli.core import paths
from lungcli.core.package_data import FOLDER
from lungcli.export import formats, parity
from lungcli.export.formats import Exported, Facts, Form
from lungcli.export.parity import Parity
from lungcli.modelfile.model_file import Model

EXAMPLES: dict[Form, tuple[str, ...]] = {
    "onnx": ("verdict.py", "verdict.mjs"),
    "ort": ("verdict.py", "verdict.mjs"),
    "openvino": ("verdict-openvino.py",),
}


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A prepared slice, that of a phantom, in the picture `file`, and the verdict that lungcli itself gives on it."""

    file: str
    label: str
    probabilities: dict[str, float]
    referred: bool


class Beside(Facts, frozen=True, kw_only=True):
    """The JSON file beside an exported one: its facts, how it agreed with the model file, and the sample if any."""

    parity: Parity
    sample: Sample | None = None


def names(to: Path, form: Form, *, examples: bool) -> list[Path]:
    """Every file that goes with the exported file `to`, itself first."""
    known = [to, to.with_suffix(".json")]
    if form == "openvino":
        known.append(to.with_suffix(".bin"))
    if examples:
        known += [_sample_path(to), *(to.with_name(name) for name in EXAMPLES[form])]
    return known


def files(model: Model, made: Exported, found: Parity, to: Path, *, examples: bool) -> dict[Path, bytes]:
    """Content of every file of `names`, in that order."""
    content = {to.with_suffix(suffix): each for suffix, each in made.files.items()}
    sample = None
    if examples:
        prepared = parity.phantoms(made.facts.size, count=1)[0]
        content[_sample_path(to)] = formats.png(prepared)
        content |= {to.with_name(name): (FOLDER / "examples" / name).read_bytes() for name in EXAMPLES[made.form]}
        row = model.probabilities(prepared[None])[0]
        sample = Sample(
            file=_sample_path(to).name,
            label=made.facts.classes[int(row.argmax())],
            probabilities=dict(zip(made.facts.classes, row.tolist(), strict=True)),
            referred=bool(row.max() < (made.facts.referral_threshold or 0)),
        )
    beside = Beside(**msgspec.structs.asdict(made.facts), parity=found, sample=sample)
    content[to.with_suffix(".json")] = msgspec.json.format(msgspec.json.encode(beside), indent=2) + b"\n"
    return {path: content[path] for path in names(to, made.form, examples=examples)}


def write(content: dict[Path, bytes]) -> None:
    """Write every file atomically, the first last: where it is, the others are. Raises LungcliError.

    What a killed process left of the same files is cleared.
    """
    for path in reversed(list(content)):
        paths.remove_partial(path.parent, path.name)
        paths.atomic_write(path, content[path])


def _sample_path(to: Path) -> Path:
    return to.with_name(f"{to.stem}.sample.png")
