"""Pictures judged one by one: the slice, the verdict and its doubts, and a folder to leaf through."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.suggester import Suggester
from textual.widgets import DataTable, Input, Static

from lungcli.core import models
from lungcli.core.errors import LungcliError
from lungcli.core.words import plain
from lungcli.inference import modelfile
from lungcli.inference.modelfile import Model
from lungcli.inference.predict import Failure
from lungcli.tui import looking
from lungcli.tui.dialogs import Choose
from lungcli.tui.looking import Look
from lungcli.tui.picture import Picture
from lungcli.tui.view import View

EMPTY = "o  types the path of a slice\nor of a folder of slices\n\nor drop one onto the terminal"

# Pictures are kept small, and this many at most: leafing back and forth must not read again.
_KEPT = 256


class _Paths(Suggester):
    """Completes paths of files as they are typed."""

    async def get_suggestion(self, value: str) -> str | None:
        return looking.completions(value)


class PredictView(View):
    """A path, the slice that it means, its verdict, and the files beside it."""

    DEFAULT_CSS = """
    PredictView #path { height: 3; border: round $accent; border-title-color: $text-accent; display: none; }
    PredictView #path.-asking { display: block; }
    PredictView #slice { width: 3fr; }
    PredictView #told { width: 2fr; }
    PredictView #verdict { height: auto; max-height: 60%; min-height: 6; padding: 0 1; }
    PredictView #files { height: 1fr; min-height: 4; }
    PredictView.-narrow #slice { width: 1fr; }
    PredictView.-narrow #told { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open", id="predict.open", tooltip="Type the path of a slice or folder; → completes"),
        Binding("left,up", "leaf(-1)", "Back", id="predict.back", tooltip="The slice before this one", priority=False),
        Binding("right,down", "leaf(1)", "Next", id="predict.next", tooltip="The slice after this one"),
        Binding("a", "all", "Judge all", id="predict.all", tooltip="Judge every file of the table"),
        Binding("m", "model", "Model", id="predict.model", tooltip="Choose the model that judges"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._files: list[Path] = []
        self._looks: dict[Path, Look] = {}
        self._model: Model | None = None
        self._spec = ""
        self._why = ""

    def compose(self) -> ComposeResult:
        """Lay out the path over the picture, the verdict and the files."""
        yield Input(
            placeholder="path of a slice or a folder", suggester=_Paths(use_cache=False), id="path", disabled=True
        )
        with Horizontal():
            yield Picture(id="slice")
            with Vertical(id="told"):
                yield Static(id="verdict", classes="panel")
                yield _Files(id="files", classes="panel", cursor_type="row", zebra_stripes=True)
        yield Static(classes="status")

    def on_mount(self) -> None:
        """Start the model that judges unless another is chosen."""
        self.query_one("#path").border_title = "slice or folder: enter opens, → completes, esc leaves"
        self.query_one("#verdict").border_title = "verdict"
        files = self.query_one("#files", DataTable)
        files.border_title = "files"
        for title, width in (("verdict", 11), ("prob.", 6), ("file", None)):
            files.add_column(Text(title), width=width, key=title)
        self.query_one("#slice", Picture).show(None, EMPTY)
        self._load(looking.usual_model)

    # The model.

    def _load(self, find: Callable[[], Path]) -> None:
        def job() -> Model | LungcliError:
            try:
                return modelfile.load(find())
            except LungcliError as error:
                return error

        self.start(job, self._take_model, group="model")

    def _take_model(self, found: Model | LungcliError) -> None:
        if isinstance(found, LungcliError):
            if self._model is None:
                self._why = f"{found.message}\n{found.hint}"
            else:
                self.fail(found)
        else:
            self._model, self._spec, self._why = found, models.name_of(found.path), ""
            self._looks.clear()
            for row, path in enumerate(self._files):
                self._show_cells(row, path)
        self._show()

    def action_model(self) -> None:
        """Ask which model judges."""
        files = models.files()
        if not files:
            self.tell("there is no model on this machine yet; make one: lungcli compress --student mobilenetv2")
            return

        def load(name: str | None) -> None:
            if name is not None:
                self._load(lambda: files[name])

        self.app.push_screen(Choose("model", [(name, name) for name in files], self._spec), load)

    # The files.

    def action_open(self) -> None:
        """Ask for a path."""
        asked = self.query_one("#path", Input)
        asked.disabled = False
        asked.add_class("-asking")
        asked.focus()

    def action_cancel(self) -> None:
        """Leave the path as it was, or end the work that goes on."""
        asked = self.query_one("#path", Input)
        if asked.has_focus:
            self._stop_asking()
        else:
            super().action_cancel()

    def _stop_asking(self) -> None:
        self.query_one("#files").focus()
        asked = self.query_one("#path", Input)
        asked.remove_class("-asking")
        asked.disabled = True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Open the path that was typed."""
        self._stop_asking()
        if (path := looking.pasted(event.value)) is not None:
            self.open(path)

    def on_paste(self, event: events.Paste) -> None:
        """Open a file or folder that was dropped onto the terminal."""
        if (path := looking.pasted(event.text)) is not None:
            event.stop()
            self.open(path)

    def open(self, path: Path) -> None:
        """Leaf through a folder, or the folder of a file, from that file on."""
        self.start(lambda: looking.leaf(path), self._take_files, group="leaf")

    def _take_files(self, found: tuple[list[Path], int]) -> None:
        self._files, begin = found
        self._looks = {path: look for path, look in self._looks.items() if path in set(self._files)}
        files = self.query_one("#files", DataTable)
        with self.app.batch_update():
            files.clear()
            for path in self._files:
                known = self._looks.get(path)
                files.add_row(*looking.cells(known.found if known else None), Text(plain(path.name), no_wrap=True))
        files.move_cursor(row=begin)
        files.focus()
        self._show()

    def on_data_table_row_highlighted(self) -> None:
        """The picture follows the cursor."""
        self._show()

    def action_leaf(self, by: int) -> None:
        """Move to another file of the table."""
        files = self.query_one("#files", DataTable)
        if self._files and not isinstance(self.app.focused, Input):
            files.move_cursor(row=max(0, min(files.cursor_row + by, len(self._files) - 1)))

    def _here(self) -> Path | None:
        row = self.query_one("#files", DataTable).cursor_row
        return self._files[row] if 0 <= row < len(self._files) else None

    # The picture and its verdict.

    def _show(self) -> None:
        """Show the file under the cursor, read and judged in a thread where it was not yet."""
        path, model = self._here(), self._model
        if path is None:
            self.query_one("#verdict", Static).update(Text(plain(self._why) if self._why else self._judges(), "dim"))
            return
        known = self._looks.get(path)
        if known is not None and (known.pixels is not None or isinstance(known.found, Failure)):
            self._show_look(known)
        else:
            self.start(lambda: looking.look(path, model), self._take_look, group="look")
        if not self.busy():
            self.status(self.resting())

    def _judges(self) -> str:
        return f"{plain(self._spec)} judges\nm chooses another" if self._spec else "starting the model …"

    def resting(self) -> str:
        """Return where in the folder we are."""
        path = self._here()
        return f"{self._files.index(path) + 1} of {len(self._files)} · {path}" if path else ""

    def _take_look(self, look: Look) -> None:
        self._keep(look)
        if look.path == self._here():
            self._show_look(look)

    def _keep(self, look: Look) -> None:
        if len(self._looks) >= _KEPT:
            self._looks = {path: Look(path=path, pixels=None, found=old.found) for path, old in self._looks.items()}
        self._looks[look.path] = look
        if look.path in self._files:
            self._show_cells(self._files.index(look.path), look.path)

    def _show_cells(self, row: int, path: Path) -> None:
        files, known = self.query_one("#files", DataTable), self._looks.get(path)
        for column, cell in enumerate(looking.cells(known.found if known else None)):
            files.update_cell_at((row, column), cell)  # type: ignore[arg-type]

    def _show_look(self, look: Look) -> None:
        self.query_one("#slice", Picture).show(look.pixels, "")
        told = self.query_one("#verdict", Static)
        width = told.content_size.width
        told.update(looking.verdict(look.found, self._spec, width) if look.found else Text(plain(self._why), "yellow"))

    def action_all(self) -> None:
        """Judge every file that was not judged yet, in a thread."""
        waiting = [path for path in self._files if path not in self._looks or self._looks[path].found is None]
        model = self._model
        if model is None or not waiting:
            self.tell("every file is judged" if model else "there is no model to judge with")
            return

        def job() -> list[Look]:
            advance, done = self.advance(f"judging {len(waiting)} files"), []
            for number, path in enumerate(waiting, start=1):
                look = looking.look(path, model)
                done.append(look)
                self.post_message(self.Done(lambda look=look: self._keep(look)))  # type: ignore[misc]
                advance(number, len(waiting))
            return done

        self.start(job, lambda done: self.status(f"judged {len(done)} files"))


class _Files(DataTable[Text]):
    """The files beside the picture; left and right leaf through them too, since nothing is hidden to the sides."""

    def action_cursor_left(self) -> None:
        self.action_cursor_up()

    def action_cursor_right(self) -> None:
        self.action_cursor_down()
