"""The dashboard's frame: views in tabs, themes, help, the palette of all actions."""

import functools
import gc
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.terminal_theme import TerminalTheme
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane, Tabs

from lungcli.core.formatting import CONTROL
from lungcli.tui import settings, terminal_driver
from lungcli.tui.crashes import QuietApp
from lungcli.tui.widgets import dialogs
from lungcli.tui.widgets.key_footer import KeyFooter
from lungcli.tui.widgets.terminal_capabilities import Graphics

# Legible in 16 colours, too, where each becomes its nearest; see tests/views/test_colours.py before changing one.
THEMES = (
    Theme(
        name="lungcli-dark",
        primary="#56B4E9",
        secondary="#FFB000",
        accent="#FFB000",
        success="#2FC99A",
        warning="#F0E442",
        error="#FF7F50",
        background="#11151C",
        surface="#171C26",
        panel="#1F2532",
        foreground="#D8DEE9",
        variables={"frame": "#1F2532"},
    ),
    Theme(
        name="lungcli-light",
        dark=False,
        primary="#0052A3",
        secondary="#8A4B00",
        accent="#8A4B00",
        success="#00714F",
        warning="#6B5D00",
        error="#B3261E",
        background="#FAFAF7",
        surface="#F0F0EB",
        panel="#E2E2DA",
        foreground="#1C1E21",
        variables={"frame": "#E2E2DA"},
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
        variables={"frame": "#808080"},
    ),
)


@functools.cache
def named_colours(name: str) -> TerminalTheme:
    """What `red`, `green`, `yellow`, `blue`, `magenta` and `cyan` are in texts: colours of the theme called so."""
    theme = next((theme for theme in THEMES if theme.name == name), THEMES[0])
    black, white = (theme.background, theme.foreground) if theme.dark else (theme.foreground, theme.background)
    names = (black, theme.error, theme.success, theme.warning, theme.primary, theme.secondary, theme.primary, white)
    colours = [Color.parse(name or theme.primary).rgb for name in names]
    ground, text = (Color.parse(name or theme.primary).rgb for name in (theme.background, theme.foreground))
    return TerminalTheme(ground, text, colours, colours)


HERE, MOVING, EVERYWHERE = "here", "moving", "everywhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One tab. The class of its view, `address`, is loaded when the tab is opened for the first time."""

    name: str
    title: str
    address: str

    def make_view(self) -> Widget:
        """Make the view that the tab shows."""
        module, _, name = self.address.partition(":")
        view = getattr(importlib.import_module(module), name)()
        if not isinstance(view, Widget):
            raise TypeError(self.address)
        return view


TABS = (
    Tab(name="runs", title="Runs", address="lungcli.tui.runs.view:RunsView"),
    Tab(name="start", title="Start", address="lungcli.tui.jobs.job_view:StartView"),
    Tab(name="models", title="Models", address="lungcli.tui.models.view:ModelsView"),
    Tab(name="predict", title="Predict", address="lungcli.tui.predict.view:PredictView"),
    Tab(name="data", title="Data", address="lungcli.tui.data.view:DataView"),
    Tab(name="system", title="System", address="lungcli.tui.system.view:SystemView"),
)


class ControlCharacterFilter(LineFilter):
    """Takes control characters out of every line, so that no foreign name commands the terminal.

    They have no width: nothing moves.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without control characters; most have none."""
        del background
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [
            Segment(CONTROL.sub("", segment.text), segment.style, segment.control) if segment.text else segment
            for segment in segments
        ]


_CONTROL_CHARACTER_FILTER = ControlCharacterFilter()


class Dashboard(QuietApp):
    """`lungcli dashboard`."""

    TITLE = "lungcli"
    CSS_PATH = "app.tcss"
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(i), f"view('{tab.name}')", tab.title, show=False) for i, tab in enumerate(TABS, 1)),
        Binding("question_mark,f1", "help", "Help", key_display="?"),
        Binding("T", "theme", "Theme", show=False, tooltip="dark, light, high contrast"),
        Binding("q,ctrl+q", "quit", "Quit", key_display="q"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(self, first: str = "runs", graphics: Graphics | None = None) -> None:
        self.graphics = graphics or Graphics()
        # What draws to a real terminal, once there is one.
        self.terminal: Driver | None = None
        super().__init__()
        self._first = first
        for theme in THEMES:
            self.register_theme(theme)
        saved = settings.load().theme
        self.theme = saved if saved in {theme.name for theme in THEMES} else THEMES[0].name

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), _CONTROL_CHARACTER_FILTER]

    @property
    def ansi_theme(self) -> TerminalTheme:
        return named_colours(self.theme)

    def compose(self) -> ComposeResult:
        with TabbedContent(initial=self._first):
            for i, tab in enumerate(TABS, 1):
                # Mounting a view later lays it out twice, so the first one is there from the start.
                content = tab.make_view() if tab.name == self._first else Static("opening …", classes="opening")
                yield TabPane(f"{i} {tab.title}", content, id=tab.name)
        yield KeyFooter()

    def on_mount(self) -> None:
        """Leave the keys to the views: tabs are opened by number or mouse."""
        self.query_one(Tabs).can_focus = False

    def on_ready(self) -> None:
        """Collect garbage again: the command turned that off until the first screen."""
        self._freeze_loaded()
        gc.enable()

    def _freeze_loaded(self) -> None:
        """Exempt what is loaded by now from garbage collection, which would stall keys by 0.1 s each time."""
        if not self.is_headless:
            gc.freeze()

    async def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Fill a tab when it is opened first, and give it the keys."""
        pane = event.pane
        tab = next(tab for tab in TABS if tab.name == pane.id)
        if placeholder := pane.query(".opening"):
            await placeholder.remove()
            await pane.mount(tab.make_view())
            self.call_after_refresh(self._freeze_loaded)
        self.call_after_refresh(self._focus_into, pane)

    def _focus_into(self, pane: TabPane) -> None:
        inside = [widget for widget in self.screen.focus_chain if pane in widget.ancestors]
        if inside and self.focused not in inside:
            inside[0].focus()

    def get_driver_class(self) -> type[Driver]:
        """The usual driver of this platform, but one that leaves at once, and takes no late answer for keys."""

        def keep(terminal: Driver) -> None:
            self.terminal = terminal

        driver = terminal_driver.leaving_at_once(super().get_driver_class())
        return terminal_driver.with_callback(
            terminal_driver.without_late_answers(driver) if self.graphics.late else driver, keep
        )

    def on_start_view_began(self) -> None:
        """Let the list of runs go to the run that a job makes."""
        from lungcli.tui.runs.view import RunsView

        for view in self.query(RunsView):
            view.expect()

    def action_view(self, name: str) -> None:
        self.query_one(TabbedContent).active = name

    async def action_download(self) -> None:
        """Open the data sets, and ask there which one to download."""
        from lungcli.tui.data.view import DataView

        self.action_view("data")

        def ask() -> None:
            self.query_one(DataView).action_download()

        self.call_after_refresh(self.call_after_refresh, ask)

    def action_help(self) -> None:
        areas: dict[str, dict[str, tuple[str, str, str]]] = {}
        for node, binding, enabled, tooltip in self.screen.active_bindings.values():
            if enabled and binding.description and not binding.system and node is not self.screen:
                own = EVERYWHERE if node is self else MOVING if _is_textual(node) else HERE
                area = binding.group.description if binding.group else own
                keys = areas.setdefault(area, {})
                shown, *_ = keys.get(binding.action, ("",))
                key = self.get_key_display(binding)
                keys[binding.action] = (f"{shown} {key}" if key not in shown else shown, binding.description, tooltip)
        # What moves about in a table is known: below what the view can do.
        ordered = sorted(areas, key=lambda area: (area == EVERYWHERE, area == MOVING))
        self.push_screen(dialogs.Help({area: tuple(areas[area].values()) for area in ordered}))

    def action_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        problem = settings.keep(theme=self.theme)
        self.notify(problem or self.theme, severity="warning" if problem else "information", markup=False)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action that works here, and every view."""
        for tab in TABS:
            yield SystemCommand(f"Open: {tab.title}", "", lambda name=tab.name: self.action_view(name))
        offered = set()
        for node, binding, enabled, tooltip in screen.active_bindings.values():
            usable = enabled and binding.description and not binding.system and not binding.action.startswith("view(")
            if usable and binding.action not in offered:
                offered.add(binding.action)

                async def act(action: str = binding.action, node: object = node) -> None:
                    await self.run_action(action, node)  # type: ignore[arg-type]

                yield SystemCommand(binding.description, tooltip or self.get_key_display(binding), act)


def _is_textual(node: object) -> bool:
    """Whether a widget is Textual's own, such as a table."""
    return type(node).__module__.startswith("textual.")
