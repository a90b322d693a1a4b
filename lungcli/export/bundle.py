"""Files beside an exported one: its facts, example programs, and a sample slice with its expected prediction."""

import contextlib
from pathlib import Path

import msgspec

from lungcli.core import paths, registry
from lungcli.core.package_data import FOLDER
from lungcli.export import formats, parity
from lungcli.export.formats import Exported, Facts
from lungcli.export.parity import Parity
from lungcli.modelfile.model_file import Model


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A prepared slice of a phantom in the picture `file`, and the prediction of lungcli itself."""

    file: str
    label: str
    probabilities: dict[str, float]
    referred: bool


class Sidecar(Facts, frozen=True, kw_only=True):
    """The JSON file beside an exported one: its facts, its agreement with the model file, and the sample if any."""

    parity: Parity
    sample: Sample | None = None


def file_names(to: Path, form: str, *, examples: bool) -> list[Path]:
    """Return the paths of the exported file `to` and of all that lie beside it."""
    row = registry.EXPORT_FORMATS[form]
    files = [to, to.with_suffix(".json"), *map(to.with_suffix, row.suffixes[1:])]
    if examples:
        files += [_sample_path(to), *map(to.with_name, row.examples)]
    return files


def file_contents(
    model: Model, exported: Exported, agreement: Parity, to: Path, *, examples: bool
) -> dict[Path, bytes]:
    """Return the content of every file of `file_names`, in that order."""
    contents = {to.with_suffix(suffix): content for suffix, content in exported.files.items()}
    sample = None
    if examples:
        prepared = parity.phantoms(exported.facts.size, count=1)[0]
        contents[_sample_path(to)] = formats.png(prepared)
        programs = registry.EXPORT_FORMATS[exported.form].examples
        contents |= {to.with_name(name): (FOLDER / "examples" / name).read_bytes() for name in programs}
        probabilities = model.probabilities(prepared[None])[0]
        sample = Sample(
            file=_sample_path(to).name,
            label=exported.facts.classes[int(probabilities.argmax())],
            probabilities=dict(zip(exported.facts.classes, probabilities.tolist(), strict=True)),
            referred=bool(probabilities.max() < (exported.facts.referral_threshold or 0)),
        )
    sidecar = Sidecar(**msgspec.structs.asdict(exported.facts), parity=agreement, sample=sample)
    contents[to.with_suffix(".json")] = msgspec.json.format(msgspec.json.encode(sidecar), indent=2) + b"\n"
    return {path: contents[path] for path in file_names(to, exported.form, examples=examples)}


def write(contents: dict[Path, bytes]) -> None:
    """Write every file atomically, the first one last: where it is, all are. Raises LungcliError.

    Partial files that a killed process left are deleted, and where one cannot be written, those that are new.
    """
    with contextlib.ExitStack() as new:
        for path in reversed(list(contents)):
            if not path.exists():
                new.callback(path.unlink, missing_ok=True)
            paths.remove_partial(path.parent, path.name)
            paths.atomic_write(path, contents[path])
        new.pop_all()


def _sample_path(to: Path) -> Path:
    return to.with_name(f"{to.stem}.sample.png")
