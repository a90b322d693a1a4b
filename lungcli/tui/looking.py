"""A picture with its verdict, and the files to leaf through, apart from any widget."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rich.text import Text

from lungcli.core import models, runs
from lungcli.core.errors import ModelFileError, UnreadableInputError
from lungcli.core.words import plain
from lungcli.data import series
from lungcli.data.read import read
from lungcli.inference import predict
from lungcli.inference.modelfile import Model
from lungcli.inference.predict import Failure, Outcome, Refusal
from lungcli.tui.halfblocks import Pixels, on_screen

# A bar stands behind `malignant   58.0% `.
_BESIDE_BAR, _LONGEST_BAR = 18, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One file as shown: its picture where it could be read, and its verdict where there is a model."""

    path: Path
    pixels: Pixels | None
    found: Outcome | None


def usual_model() -> Path:
    """Return the model that judges unless another is chosen: the bundled one, else that of the newest finished run.

    Raises ModelFileError where there is neither.
    """
    files = models.files()
    if models.BUNDLED in files:
        return files[models.BUNDLED]
    for run in sorted(runs.readable()[0], key=lambda run: run.info.changed, reverse=True):
        if run.info.state == "done" and (found := files.get(f"{run.name}/{models.stages(run)[-1]}")):
            return found
    raise ModelFileError(
        "there is no model on this machine yet",
        "make one: lungcli data phantom && lungcli compress --student mobilenetv2 --data phantom",
    )


def look(path: Path, model: Model | None) -> Look:
    """Read one file and judge it. What cannot be read becomes a Failure."""
    try:
        pixels = on_screen(read(path).grey)
    except UnreadableInputError as error:
        return Look(path=path, pixels=None, found=Failure(source=str(path), reason=error.message, hint=error.hint))
    return Look(path=path, pixels=pixels, found=predict.predict_one(path, model) if model else None)


def pasted(text: str) -> Path | None:
    """Return the path that a terminal pastes when a file is dropped on it: quoted, escaped or as a file URL."""
    line = text.strip().splitlines()[0].strip() if text.strip() else ""
    if not line:
        return None
    if line.startswith("file://"):
        return Path(unquote(urlsplit(line).path))
    if Path(line).expanduser().exists():
        return Path(line).expanduser()
    try:
        parts = shlex.split(line)
    except ValueError:
        parts = []
    return Path(parts[0] if len(parts) == 1 else line).expanduser()


def leaf(path: Path) -> tuple[list[Path], int]:
    """Return the pictures to leaf through from `path`, and where to begin: a folder's, or a file's neighbours.

    Raises UnreadableInputError when there is nothing at `path`.
    """
    if path.is_dir():
        files = series.in_order(series.files_in(path))
        if not files:
            raise UnreadableInputError(f"there are no pictures in {path}", "choose a folder with PNG, JPEG or DICOM")
        return files, 0
    if not path.exists():
        raise UnreadableInputError(f"there is no file or folder {path}", "check the path")
    beside = series.in_order(item for item in path.parent.iterdir() if item.is_file())
    # A file named outright is shown, whatever it is called.
    return (beside, beside.index(path)) if path in beside else ([path], 0)


def verdict(found: Outcome | None, model: str, width: int) -> Text:
    """Show a verdict with its probabilities in `width` cells, or why there is none."""
    if found is None:
        return Text("")
    if isinstance(found, Failure):
        return Text.assemble(("cannot be judged\n", "bold red"), f"{plain(found.reason)}\n", (plain(found.hint), "dim"))
    if isinstance(found, Refusal):
        told = f"{plain(found.reason)}\n", (f"the guard's score is {found.score:.1f}, its limit 1", "dim")
        return Text.assemble(("no lung slice, not judged\n", "bold red"), *told)
    text = Text.assemble((f"{plain(found.label)}  {found.probabilities[found.label]:.1%}", "bold"))
    if found.referred:
        text.append("  → radiologist", "bold yellow")
    text.append("\n")
    bar = max(4, min(_LONGEST_BAR, width - _BESIDE_BAR))
    for label, probability in sorted(found.probabilities.items(), key=lambda item: -item[1]):
        full = round(bar * probability)
        text.append(f"{plain(label):<10} {probability:6.1%} ").append("█" * full, "green")
        text.append("░" * (bar - full) + "\n", "dim")
    if found.reason:
        text.append(f"! {plain(found.reason)}\n", "yellow")
    if found.guard:
        text.append(f"acquisition {found.guard:.1f} of the limit\n", "dim")
    if found.synthetic:
        text.append("! learned from drawn phantoms: says nothing about people\n", "bold yellow")
    return text.append(f"{plain(model)} · {found.seconds * 1000:.0f} ms\n{found.disclaimer}", "dim")


def cells(found: Outcome | None) -> tuple[Text, Text]:
    """Show verdict and probability in a table; an arrow means that a radiologist should look."""
    if found is None:
        return Text(""), Text("")
    if isinstance(found, Failure):
        return Text("unreadable", "red"), Text("")
    if isinstance(found, Refusal):
        return Text("refused", "red"), Text("")
    mark = " →" if found.referred else ""
    return Text(plain(found.label) + mark), Text(f"{found.probabilities[found.label]:.1%}", justify="right")


def completions(typed: str) -> str | None:
    """Complete a path as it is typed: the first file or folder that begins so, folders with a slash."""
    if not typed:
        return None
    path = Path(typed).expanduser()
    folder, start = (path, "") if typed.endswith("/") else (path.parent, path.name)
    try:
        names = sorted(
            item.name + "/" * item.is_dir()
            for item in folder.iterdir()
            if item.name.startswith(start) and (start or not item.name.startswith("."))
        )
    except OSError:
        return None
    return typed + names[0][len(start) :] if names else None
