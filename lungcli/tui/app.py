"""The dashboard's frame: views in tabs, themes, help, the palette of all actions."""

import gc
import importlib
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane, Tabs

from lungcli.tui import NARROW, settings, terminal_driver
from lungcli.tui.crashes import QuietApp
from lungcli.tui.escape_filter import Harmless
from lungcli.tui.widgets import dialogs
from lungcli.tui.widgets.footer import Keys
from lungcli.tui.widgets.terminal_capabilities import Graphics

THEMES = (
    Theme(
        name="lungcli-dark",
        primary="#56B4E9",
        secondary="#E69F00",
        accent="#E69F00",
        success="#2FC99A",
        warning="#F0E442",
        error="#FF7F50",
        background="#11151C",
        surface="#171C26",
        panel="#222938",
        foreground="#D8DEE9",
    ),
    Theme(
        name="lungcli-light",
        dark=False,
        primary="#0072B2",
        secondary="#B25F00",
        accent="#B25F00",
        success="#00714F",
        warning="#7A6A00",
        error="#B3261E",
        background="#FAFAF7",
        surface="#F0F0EB",
        panel="#E2E2DA",
        foreground="#1C1E21",
    ),
    Theme(
        name="lungcli-contrast",
        primary="#FFFFFF",
        secondary="#FFFF40",
        accent="#FFFF40",
        success="#00FF90",
        warning="#FFFF40",
        error="#FF9090",
        background="#000000",
        surface="#000000",
        panel="#202020",
        foreground="#FFFFFF",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One tab: its class is loaded when the tab is opened for the first time."""

    name: str
    title: str
    widget: str


VIEWS = (
    View(name="runs", title="Runs", widget="lungcli.tui.runs.view:RunsView"),
    View(name="start", title="Start", widget="lungcli.tui.jobs.job_view:StartView"),
    View(name="models", title="Models", widget="lungcli.tui.models.view:ModelsView"),
    View(name="predict", title="Predict", widget="lungcli.tui.predict.view:PredictView"),
    View(name="data", title="Data", widget="lungcli.tui.data.view:DataView"),
    View(name="system", title="System", widget="lungcli.tui.system.view:SystemView"),
)


def views() -> tuple[View, ...]:
    """The views there are."""
    return tuple(view for view in VIEWS if importlib.util.find_spec(view.widget.partition(":")[0]))


def load(view: View) -> Widget:
    """Make the widget of a view."""
    module, _, name = view.widget.partition(":")
    made = getattr(importlib.import_module(module), name)()
    if not isinstance(made, Widget):
        raise TypeError(view.widget)
    return made


_HARMLESS = Harmless()


class Dashboard(QuietApp):
    """`lungcli dashboard`."""

    TITLE = "lungcli"
    CSS_PATH = "app.tcss"
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(i), f"view('{view.name}')", view.title, show=False) for i, view in enumerate(VIEWS, 1)),
        Binding("question_mark,f1", "help", "Help", key_display="?"),
        Binding("T", "theme", "Theme", show=False, tooltip="dark, light, high contrast"),
        Binding("q,ctrl+q", "quit", "Quit", key_display="q"),
    ]

    def __init__(self, first: str = "runs", graphics: Graphics | None = None) -> None:
        self.graphics = graphics or Graphics()
        # What draws to a real terminal, once there is one.
        self.terminal: Driver | None = None
        super().__init__()
        self._first = first
        for theme in THEMES:
            self.register_theme(theme)
        wanted = settings.load().theme
        self.theme = wanted if wanted in {theme.name for theme in THEMES} else THEMES[0].name

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and the one that keeps foreign names from commanding the terminal."""
        return [*super().get_line_filters(), _HARMLESS]

    def compose(self) -> ComposeResult:
        """A tab a view, still empty but for the first, and the footer."""
        with TabbedContent(initial=self._first):
            for i, view in enumerate(views(), 1):
                # What is put in later is laid out twice.
                inside = load(view) if view.name == self._first else Static("opening …", classes="opening")
                yield TabPane(f"{i} {view.title}", inside, id=view.name)
        yield Keys(compact=True)

    def on_mount(self) -> None:
        """Leave the keys to the views: tabs are opened by number or mouse."""
        self.query_one(Tabs).can_focus = False

    def on_resize(self, event: events.Resize) -> None:
        """In a narrow terminal the palette's key would stand on those of the view."""
        for footer in self.query(Keys):
            footer.show_command_palette = event.size.width >= NARROW

    def on_ready(self) -> None:
        """From the first screen on, look for garbage again."""
        self._keep()
        gc.enable()

    def _keep(self) -> None:
        """Take what is loaded by now for kept: to look through it for garbage again and again stalls keys by 0.1 s."""
        if not self.is_headless:
            gc.freeze()

    async def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Fill a tab when it is opened first, and give it the keys."""
        pane = event.pane
        view = next(view for view in VIEWS if view.name == pane.id)
        if waiting := pane.query(".opening"):
            await waiting.remove()
            await pane.mount(load(view))
            self.call_after_refresh(self._keep)
        self.call_after_refresh(self._focus_into, pane)

    def _focus_into(self, pane: TabPane) -> None:
        inside = [widget for widget in self.screen.focus_chain if pane in widget.ancestors]
        if inside and self.focused not in inside:
            inside[0].focus()

    def get_driver_class(self) -> type[Driver]:
        """The usual driver of this platform, but one that leaves at once, and takes no late answer for keys."""
        usual = terminal_driver.leaving_at_once(super().get_driver_class())
        return terminal_driver.announced(
            terminal_driver.deaf_to_answers(usual) if self.graphics.late else usual, self._take_terminal
        )

    def _take_terminal(self, terminal: Driver) -> None:
        self.terminal = terminal

    def on_start_view_began(self) -> None:
        """Let the list of runs go to the run that a job makes."""
        from lungcli.tui.runs.view import RunsView

        for view in self.query(RunsView):
            view.expect()

    def action_view(self, name: str) -> None:
        """Open a view."""
        if any(view.name == name for view in views()):
            self.query_one(TabbedContent).active = name

    def action_help(self) -> None:
        """Show the keys that work here."""
        keys: dict[str, tuple[str, str, str]] = {}
        for _, binding, enabled, tooltip in self.screen.active_bindings.values():
            if enabled and binding.description and not binding.system:
                shown = self.get_key_display(binding)
                known = keys.get(binding.action)
                shown = f"{known[0]}, {shown}" if known else shown
                keys[binding.action] = (shown, binding.description, tooltip)
        more = (
            "Mouse: click a run, a chart (cursor) or a key below; the wheel over a chart zooms, dragging it pans.\n"
            "Everything is in the palette too: Ctrl+P."
        )
        self.push_screen(dialogs.Help(tuple(keys.values()), more))

    def action_theme(self) -> None:
        """The next theme, remembered."""
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        problem = settings.keep(theme=self.theme)
        self.notify(problem or self.theme, severity="warning" if problem else "information", markup=False)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action that works here, and every view."""
        for view in views():
            yield SystemCommand(f"Open: {view.title}", "", lambda name=view.name: self.action_view(name))
        for node, binding, enabled, tooltip in screen.active_bindings.values():
            if enabled and binding.description and not binding.system and not binding.action.startswith("view("):

                async def act(action: str = binding.action, node: object = node) -> None:
                    await self.run_action(action, node)  # type: ignore[arg-type]

                yield SystemCommand(binding.description, tooltip or self.get_key_display(binding), act)
