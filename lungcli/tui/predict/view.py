"""Predictions slice by slice: the picture, the prediction with its heat-map, and a folder to leaf through."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.suggester import Suggester
from textual.widgets import DataTable, Input, Static

from lungcli.core.errors import LungcliError
from lungcli.core.formatting import plain, plain_lines
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_file import Model
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Failure
from lungcli.tui.predict import prediction_text, slice_prediction
from lungcli.tui.predict.slice_prediction import HeatMap, ShownSlice
from lungcli.tui.runs.run_list import shortened_middle
from lungcli.tui.widgets.base_view import View
from lungcli.tui.widgets.dialogs import Choose
from lungcli.tui.widgets.picture import Picture

EMPTY = "o  types the path of a slice\nor of a folder of slices\n\nor drop one onto the terminal"

# Cells of the list's columns, their gaps and the scroll bar.
_CLASS, _SHARE, _LEAST_NAME = 11, 6, 12
_BEFORE_NAME = _CLASS + _SHARE + 8
# How many pictures are kept, all of them small, so that leafing back and forth reads none again.
_CACHED = 256


class _Paths(Suggester):
    async def get_suggestion(self, value: str) -> str | None:
        return slice_prediction.complete_path(value)


class PredictView(View):
    """A path, the slice that it means, its prediction, and the slices beside it."""

    DEFAULT_CSS = """
    PredictView #path { height: 3; border: round $accent; border-title-color: $text-accent; display: none; }
    PredictView #path.-asking { display: block; }
    PredictView #slice { width: 3fr; }
    PredictView #beside { width: 2fr; }
    PredictView #text { height: auto; max-height: 70%; min-height: 6; padding: 0 1; }
    PredictView #text { scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    PredictView #prediction { height: auto; }
    PredictView #files { height: 1fr; min-height: 4; }
    PredictView.-narrow #slice { width: 1fr; }
    PredictView.-narrow #beside { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open", id="predict.open", tooltip="Type the path of a slice or folder; → completes"),
        Binding("left,up", "leaf(-1)", "Back", id="predict.back", tooltip="The slice before this one", show=False),
        Binding("right,down", "leaf(1)", "Next", id="predict.next", tooltip="The slice after this one", show=False),
        Binding("h", "heat", "Heat-map", id="predict.heat", tooltip="What supports the prediction"),
        Binding("H", "label", "Heat of", id="predict.label", tooltip="What supports another class", show=False),
        Binding(
            "a", "all", "Predict all", id="predict.all", tooltip="Predict every slice of the table, and each series"
        ),
        Binding("m", "model", "Model", id="predict.model", tooltip="Choose the model that predicts"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._items: list[Item] = []
        self._shown: dict[int, ShownSlice] = {}
        self._heat_maps: dict[int, HeatMap | None] = {}
        self._show_heat, self._label = False, ""
        self._model: Model | None = None
        self._model_name, self._no_model = "", ""

    def compose(self) -> ComposeResult:
        yield Input(
            placeholder="path of a slice or a folder", suggester=_Paths(use_cache=False), id="path", disabled=True
        )
        with Horizontal():
            yield Picture(id="slice")
            with Vertical(id="beside"):
                with VerticalScroll(id="text", classes="panel", can_focus=False):
                    yield Static(id="prediction")
                yield _Files(id="files", classes="panel", cursor_type="row", zebra_stripes=True)
        yield Static(classes="status")

    def on_mount(self) -> None:
        """Start the model that predicts unless another is chosen."""
        self.query_one("#path").border_title = "slice or folder: enter opens, → completes, esc leaves"
        self.query_one("#text").border_title = "prediction"
        files = self.query_one("#files", DataTable)
        files.border_title = "slices"
        for title, width in (("finding", _CLASS), ("prob.", _SHARE), ("slice", None)):
            files.add_column(Text(title), width=width, key=title)
        self.query_one("#slice", Picture).show(None, EMPTY)
        self._load(slice_prediction.default_model)

    # The model.

    def _load(self, find: Callable[[], Model]) -> None:
        def job() -> Model | LungcliError:
            try:
                return find()
            except LungcliError as error:
                return error

        self.start(job, self._take_model, group="model")

    def _take_model(self, model: Model | LungcliError) -> None:
        if isinstance(model, Model):
            self._model, self._model_name = model, model_paths.name_of(model.path)
            self._no_model = self._label = ""
            self.query_one("#files").border_title = Content(prediction_text.list_title(model.card))
            self._shown.clear()
            self._heat_maps.clear()
            for place in range(len(self._items)):
                self._show_cells(place)
        elif self._model is None:
            self._no_model = f"{model.message}\n{model.hint}"
        else:
            self.fail(model)
        self._show()

    def action_model(self) -> None:
        files = model_paths.files()
        if not files:
            self.tell("there is no model on this machine yet; make one: lungcli compress --student mobilenetv2")
            return
        dialog = Choose("model", [(name, name) for name in files], self._model_name)
        self.ask(dialog, lambda name: self._load(lambda: model_file.load(files[name])))

    # The slices.

    def action_open(self) -> None:
        path = self.query_one("#path", Input)
        path.disabled = False
        path.add_class("-asking")
        path.focus()

    def action_cancel(self) -> None:
        if self.query_one("#path").has_focus:
            self._stop_asking()
        else:
            super().action_cancel()

    def _stop_asking(self) -> None:
        self.query_one("#files").focus()
        path = self.query_one("#path", Input)
        path.remove_class("-asking")
        path.disabled = True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._stop_asking()
        if (path := slice_prediction.pasted_path(event.value)) is not None:
            self.open(path)

    def on_paste(self, event: events.Paste) -> None:
        if (path := slice_prediction.pasted_path(event.text)) is not None:
            event.stop()
            self.open(path)

    def open(self, path: Path) -> None:
        """Leaf through a folder, or the folder of a file, from that file on."""
        self.start(lambda: slice_prediction.slices_from(path), self._take_items, group="open")

    def _take_items(self, slices: tuple[list[Item], int]) -> None:
        self._items, first = slices
        self._shown, self._heat_maps = {}, {}
        files = self.query_one("#files", DataTable)
        with self.app.batch_update():
            files.clear()
            for item in self._items:
                name = shortened_middle(plain(Path(item.shown).name), self._name_room())
                files.add_row(*prediction_text.cells(None), Text(name, no_wrap=True))
        files.move_cursor(row=first)
        files.focus()
        self._show()

    def _name_room(self) -> int:
        """Cells that the list has for names: cut in the middle, they still differ."""
        return max(_LEAST_NAME, self.query_one("#files").size.width - _BEFORE_NAME)

    def on_data_table_row_highlighted(self) -> None:
        self._show()

    def action_leaf(self, by: int) -> None:
        files = self.query_one("#files", DataTable)
        if self._items and not isinstance(self.app.focused, Input):
            files.move_cursor(row=max(0, min(files.cursor_row + by, len(self._items) - 1)))

    def _place(self) -> int | None:
        row = self.query_one("#files", DataTable).cursor_row
        return row if 0 <= row < len(self._items) else None

    # The picture and its prediction.

    def _show(self) -> None:
        """Show the slice under the cursor; where it was not read yet, read it in a thread first."""
        place, model = self._place(), self._model
        if place is None:
            using = f"{self._model_name} predicts\nm chooses another" if self._model_name else "starting the model …"
            self.query_one("#prediction", Static).update(Text(plain_lines(self._no_model or using), "dim"))
            return
        shown, item = self._shown.get(place), self._items[place]
        if shown is not None and (shown.pixels is not None or isinstance(shown.outcome, Failure)):
            self._show_slice(place)
        else:
            self.start(
                lambda: slice_prediction.read_slice(item, model),
                lambda read: self._take_slice(place, item, read),
                group="slice",
            )
        if not self.busy():
            self.status(self.resting())

    def resting(self) -> str:
        """Return where in the folder we are, and in the series."""
        place = self._place()
        if place is None:
            return ""
        item = self._items[place]
        series = [number for number, other in enumerate(self._items) if item.series and other.series == item.series]
        inside = f" · slice {series.index(place) + 1} of {len(series)} of {item.series}" if len(series) > 1 else ""
        return f"{place + 1} of {len(self._items)}{inside} · {item.shown}"

    def _take_slice(self, place: int, item: Item, read: ShownSlice) -> None:
        if place >= len(self._items) or self._items[place] is not item:
            return
        if len(self._shown) >= _CACHED and place not in self._shown:
            self._shown = {key: dataclasses.replace(old, pixels=None) for key, old in self._shown.items()}
        self._shown[place] = read
        self._show_cells(place)
        if place == self._place():
            self._show_slice(place)

    def _show_cells(self, place: int) -> None:
        files, shown = self.query_one("#files", DataTable), self._shown.get(place)
        for column, cell in enumerate(prediction_text.cells(shown.outcome if shown else None)):
            files.update_cell_at((place, column), cell)  # type: ignore[arg-type]

    def _show_slice(self, place: int) -> None:
        picture, shown, heat = self.query_one("#slice", Picture), self._shown[place], self._heat_maps.get(place)
        if self._show_heat and heat is not None:
            picture.show(heat.pixels, grey=heat.grey)
        else:
            picture.show(shown.pixels)
            self._want_heat_map(place)
        width = self.query_one("#text").scrollable_content_region.width
        parts = []
        if self._show_heat and place in self._heat_maps:
            parts.append(prediction_text.of_heat_map(heat, coloured=picture.coloured))
        if shown.outcome:
            parts.append(prediction_text.of_slice(shown.outcome, self._model_name, width))
        else:
            parts.append(Text(plain_lines(self._no_model), "yellow"))
        if self._model and (series := slice_prediction.of_series(self._items, self._shown, place, self._model)):
            parts += [Text(""), prediction_text.of_series(series, width)]
        self.query_one("#prediction", Static).update(Text("\n").join(parts))

    # Heat-maps.

    def action_heat(self) -> None:
        if self._model is None:
            self.tell("there is no model whose prediction could be explained")
            return
        self._show_heat = not self._show_heat
        self._show()

    def action_label(self) -> None:
        """Explain the next class; after the last the predicted one again."""
        if self._model is None:
            return
        labels = ("", *self._model.card.classes)
        self._label = labels[(labels.index(self._label) + 1) % len(labels)]
        self._show_heat = True
        self._heat_maps.clear()
        self._show()

    def _want_heat_map(self, place: int) -> None:
        model, item, label = self._model, self._items[place], self._label
        if not self._show_heat or model is None or place in self._heat_maps:
            return

        def take(heat: HeatMap | None) -> None:
            if place < len(self._items) and self._items[place] is item and label == self._label:
                others = self._heat_maps if len(self._heat_maps) < _CACHED else {}
                self._heat_maps = {**others, place: heat}
                if place == self._place() and place in self._shown:
                    self._show_slice(place)

        self.start(lambda: slice_prediction.heat_map(item, model, label), take, group="heat")

    def action_all(self) -> None:
        waiting = [
            (place, item)
            for place, item in enumerate(self._items)
            if place not in self._shown or self._shown[place].outcome is None
        ]
        model = self._model
        if model is None or not waiting:
            self.tell("every slice has a prediction" if model else "there is no model to predict with")
            return

        def job() -> int:
            advance = self.advance(f"predicting {len(waiting)} slices")
            for number, (place, item) in enumerate(waiting, start=1):
                read = slice_prediction.read_slice(item, model)
                self.later(functools.partial(self._take_slice, place, item, read))
                advance(number, len(waiting))
            return len(waiting)

        self.start(job, self._report_all)

    def _report_all(self, count: int) -> None:
        self._show()
        self.status(f"predicted {count} slices")


class _Files(DataTable[Text]):
    """The slices beside the picture; left and right leaf through them too, since nothing is hidden to the sides."""

    def action_cursor_left(self) -> None:
        self.action_cursor_up()

    def action_cursor_right(self) -> None:
        self.action_cursor_down()
