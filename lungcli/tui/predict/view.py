"""Slices judged one by one: the picture, the verdict with its doubts and its reasons, and a folder to leaf through."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.suggester import Suggester
from textual.widgets import DataTable, Input, Static

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_file import Model
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Failure
from lungcli.tui.predict import prediction_text, slice_prediction
from lungcli.tui.predict.slice_prediction import HeatMap, Look
from lungcli.tui.widgets.base_view import View
from lungcli.tui.widgets.dialogs import Choose
from lungcli.tui.widgets.picture import Picture

EMPTY = "o  types the path of a slice\nor of a folder of slices\n\nor drop one onto the terminal"

# Pictures are kept small, and this many at most: leafing back and forth must not read again.
_KEPT = 256


class _Paths(Suggester):
    """Completes paths of files as they are typed."""

    async def get_suggestion(self, value: str) -> str | None:
        return slice_prediction.completions(value)


class PredictView(View):
    """A path, the slice that it means, its verdict, and the slices beside it."""

    DEFAULT_CSS = """
    PredictView #path { height: 3; border: round $accent; border-title-color: $text-accent; display: none; }
    PredictView #path.-asking { display: block; }
    PredictView #slice { width: 3fr; }
    PredictView #told { width: 2fr; }
    PredictView #said { height: auto; max-height: 60%; min-height: 6; padding: 0 1; }
    PredictView #said { scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    PredictView #verdict { height: auto; }
    PredictView #files { height: 1fr; min-height: 4; }
    PredictView.-narrow #slice { width: 1fr; }
    PredictView.-narrow #told { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open", id="predict.open", tooltip="Type the path of a slice or folder; → completes"),
        Binding("left,up", "leaf(-1)", "Back", id="predict.back", tooltip="The slice before this one", show=False),
        Binding("right,down", "leaf(1)", "Next", id="predict.next", tooltip="The slice after this one", show=False),
        Binding("h", "heat", "Heat-map", id="predict.heat", tooltip="What speaks for the verdict, over the slice"),
        Binding("H", "label", "Heat of", id="predict.label", tooltip="What speaks for another class", show=False),
        Binding("a", "all", "Judge all", id="predict.all", tooltip="Judge every slice of the table, and each series"),
        Binding("m", "model", "Model", id="predict.model", tooltip="Choose the model that judges"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._items: list[Item] = []
        self._looks: dict[int, Look] = {}
        self._heats: dict[int, HeatMap | None] = {}
        self._heated, self._label = False, ""
        self._model: Model | None = None
        self._spec = ""
        self._why = ""

    def compose(self) -> ComposeResult:
        """Lay out the path over the picture, the verdict and the slices."""
        yield Input(
            placeholder="path of a slice or a folder", suggester=_Paths(use_cache=False), id="path", disabled=True
        )
        with Horizontal():
            yield Picture(id="slice")
            with Vertical(id="told"):
                with VerticalScroll(id="said", classes="panel", can_focus=False):
                    yield Static(id="verdict")
                yield _Files(id="files", classes="panel", cursor_type="row", zebra_stripes=True)
        yield Static(classes="status")

    def on_mount(self) -> None:
        """Start the model that judges unless another is chosen."""
        self.query_one("#path").border_title = "slice or folder: enter opens, → completes, esc leaves"
        self.query_one("#said").border_title = "verdict"
        files = self.query_one("#files", DataTable)
        files.border_title = "slices"
        for title, width in (("verdict", 11), ("prob.", 6), ("slice", None)):
            files.add_column(Text(title), width=width, key=title)
        self.query_one("#slice", Picture).show(None, EMPTY)
        self._load(slice_prediction.usual_model)

    # The model.

    def _load(self, find: Callable[[], Model]) -> None:
        def job() -> Model | LungcliError:
            try:
                return find()
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
            self._model, self._spec, self._why, self._label = found, model_paths.name_of(found.path), "", ""
            self._looks.clear()
            self._heats.clear()
            for place in range(len(self._items)):
                self._show_cells(place)
        self._show()

    def action_model(self) -> None:
        """Ask which model judges."""
        files = model_paths.files()
        if not files:
            self.tell("there is no model on this machine yet; make one: lungcli compress --student mobilenetv2")
            return

        def load(name: str | None) -> None:
            if name is not None:
                self._load(lambda: model_file.load(files[name]))

        self.app.push_screen(Choose("model", [(name, name) for name in files], self._spec), load)

    # The slices.

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
        if (path := slice_prediction.pasted(event.value)) is not None:
            self.open(path)

    def on_paste(self, event: events.Paste) -> None:
        """Open a file or folder that was dropped onto the terminal."""
        if (path := slice_prediction.pasted(event.text)) is not None:
            event.stop()
            self.open(path)

    def open(self, path: Path) -> None:
        """Leaf through a folder, or the folder of a file, from that file on."""
        self.start(lambda: slice_prediction.leaf(path), self._take_items, group="leaf")

    def _take_items(self, found: tuple[list[Item], int]) -> None:
        self._items, begin = found
        self._looks, self._heats = {}, {}
        files = self.query_one("#files", DataTable)
        with self.app.batch_update():
            files.clear()
            for item in self._items:
                files.add_row(*prediction_text.cells(None), Text(plain(Path(item.shown).name), no_wrap=True))
        files.move_cursor(row=begin)
        files.focus()
        self._show()

    def on_data_table_row_highlighted(self) -> None:
        """The picture follows the cursor."""
        self._show()

    def action_leaf(self, by: int) -> None:
        """Move to another slice of the table."""
        files = self.query_one("#files", DataTable)
        if self._items and not isinstance(self.app.focused, Input):
            files.move_cursor(row=max(0, min(files.cursor_row + by, len(self._items) - 1)))

    def _here(self) -> int | None:
        row = self.query_one("#files", DataTable).cursor_row
        return row if 0 <= row < len(self._items) else None

    # The picture and its verdict.

    def _show(self) -> None:
        """Show the slice under the cursor, read and judged in a thread where it was not yet."""
        place, model = self._here(), self._model
        if place is None:
            self.query_one("#verdict", Static).update(Text(plain(self._why) if self._why else self._judges(), "dim"))
            return
        known, item = self._looks.get(place), self._items[place]
        if known is not None and (known.pixels is not None or isinstance(known.found, Failure)):
            self._show_look(place, known)
        else:
            self.start(
                lambda: slice_prediction.look(item, model),
                lambda look: self._take_look(place, item, look),
                group="look",
            )
        if not self.busy():
            self.status(self.resting())

    def _judges(self) -> str:
        return f"{plain(self._spec)} judges\nm chooses another" if self._spec else "starting the model …"

    def resting(self) -> str:
        """Return where in the folder we are, and in the series."""
        place = self._here()
        if place is None:
            return ""
        item = self._items[place]
        same = [number for number, each in enumerate(self._items) if item.series and each.series == item.series]
        inside = f" · slice {same.index(place) + 1} of {len(same)} of {item.series}" if len(same) > 1 else ""
        return f"{place + 1} of {len(self._items)}{inside} · {item.shown}"

    def _take_look(self, place: int, item: Item, look: Look) -> None:
        self._take(place, item, look)
        if place == self._here() and place in self._looks:
            self._show_look(place, look)

    def _keep(self, place: int, look: Look) -> None:
        if len(self._looks) >= _KEPT and place not in self._looks:
            self._looks = {other: Look(pixels=None, found=old.found) for other, old in self._looks.items()}
        self._looks[place] = look
        self._show_cells(place)

    def _show_cells(self, place: int) -> None:
        files, known = self.query_one("#files", DataTable), self._looks.get(place)
        for column, cell in enumerate(prediction_text.cells(known.found if known else None)):
            files.update_cell_at((place, column), cell)  # type: ignore[arg-type]

    def _show_look(self, place: int, look: Look) -> None:
        picture, told = self.query_one("#slice", Picture), self.query_one("#verdict", Static)
        heat = self._heats.get(place)
        if self._heated and heat is not None:
            picture.show(heat.pixels, grey=heat.grey)
        else:
            picture.show(look.pixels)
            self._want_heat(place)
        width = self.query_one("#said").scrollable_content_region.width
        parts = [
            prediction_text.verdict(look.found, self._spec, width) if look.found else Text(plain(self._why), "yellow")
        ]
        if self._heated and place in self._heats:
            parts.insert(0, prediction_text.heat(heat, coloured=picture.coloured))
        if self._model and (series := slice_prediction.of_series(self._items, self._looks, place, self._model)):
            parts += [Text(""), prediction_text.of_series(series, width)]
        told.update(Text("\n").join(parts))

    # What speaks for the verdict.

    def action_heat(self) -> None:
        """Show the heat-map over the slice, or the slice alone."""
        if self._model is None:
            self.tell("there is no model whose verdict could be explained")
            return
        self._heated = not self._heated
        self._show()

    def action_label(self) -> None:
        """Show what speaks for the next class; after the last for the verdict again."""
        if self._model is None:
            return
        labels = ("", *self._model.card.classes)
        self._label = labels[(labels.index(self._label) + 1) % len(labels)]
        self._heated = True
        self._heats.clear()
        self._show()

    def _want_heat(self, place: int) -> None:
        """Find the heat over a slice in a thread where it is wanted and not known."""
        model, item, label = self._model, self._items[place], self._label
        if not self._heated or model is None or place in self._heats:
            return

        def take(found: HeatMap | None) -> None:
            if place < len(self._items) and self._items[place] is item and label == self._label:
                self._heats = {**self._heats, place: found} if len(self._heats) < _KEPT else {place: found}
                if place == self._here() and place in self._looks:
                    self._show_look(place, self._looks[place])

        self.start(lambda: slice_prediction.heat_map(item, model, label), take, group="heat")

    def action_all(self) -> None:
        """Judge every slice that was not judged yet, in a thread."""
        waiting = [
            (place, item)
            for place, item in enumerate(self._items)
            if place not in self._looks or self._looks[place].found is None
        ]
        model = self._model
        if model is None or not waiting:
            self.tell("every slice is judged" if model else "there is no model to judge with")
            return

        def job() -> int:
            advance = self.advance(f"judging {len(waiting)} slices")
            for number, (place, item) in enumerate(waiting, start=1):
                look = slice_prediction.look(item, model)
                self.post_message(self.Done(functools.partial(self._take, place, item, look)))
                advance(number, len(waiting))
            return len(waiting)

        self.start(job, self._judged)

    def _take(self, place: int, item: Item, look: Look) -> None:
        if place < len(self._items) and self._items[place] is item:
            self._keep(place, look)

    def _judged(self, count: int) -> None:
        self._show()
        self.status(f"judged {count} slices")


class _Files(DataTable[Text]):
    """The slices beside the picture; left and right leaf through them too, since nothing is hidden to the sides."""

    def action_cursor_left(self) -> None:
        self.action_cursor_up()

    def action_cursor_right(self) -> None:
        self.action_cursor_down()
