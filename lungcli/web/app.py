"""The page: by default for this machine only, without calls to others, without stored data.

Uploads are read into memory and deleted at once; results are embedded in the page, so that no file is served.
"""

import contextlib
import errno
import functools
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcli import DISCLAIMER
from lungcli.core import paths
from lungcli.core.errors import LungcliError, UsageError
from lungcli.modelfile import model_file
from lungcli.web import connections, examples, html
from lungcli.web.gradio_sessions import SessionCleanup, forgetter
from lungcli.web.heat_inputs import HeatInputs
from lungcli.web.middleware import FILES_PER_UPLOAD, LOCAL_ADDRESSES, AccessControl
from lungcli.web.slice_worker import Upload
from lungcli.web.uploads import KEPT_SECONDS, Uploads
from lungcli.web.visits import MAX_PICTURES, HeatAnswer, Visits, chosen
from lungcli.web.workers import Workers

if TYPE_CHECKING:
    import gradio

_LAST_PORT = 65535
_FONTS = ["system-ui", "sans-serif"]
_MONO = ["ui-monospace", "monospace"]
_SWEEP_SECONDS = 60
# More would wait longer than anybody waits for a page.
_MAX_QUEUE = 64
# A visitor who waits for a turn holds a thread.
_MAX_VISITORS, _THREADS = 96, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What to serve: model files by name (the first is selected), address, logins, and the limit of uploads.

    Without `accounts` (name, password) anyone who can connect may use it. `megabytes` limits each file.
    """

    models: Mapping[str, Path]
    host: str = "127.0.0.1"
    port: int = 7860
    accounts: tuple[tuple[str, str], ...] = ()
    megabytes: int = 64


def serve(service: Service, ready: Callable[[str], None], stop: threading.Event, warn: Callable[[str], None]) -> None:
    """Serve the page until `stop` is set; call `ready` with its URL once it answers, `warn` with later warnings.

    Raises UsageError without the extra `web`, LungcliError when the address cannot be used.
    """
    with _offline_environment(), paths.scratch("uploads") as folder, contextlib.closing(Workers()) as workers:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        gr = _gradio()
        _require_free(service.host, service.port)
        uploads, heat_inputs = Uploads(folder), HeatInputs()
        blocks = page(service, uploads, workers, heat_inputs)
        try:
            blocks.launch(
                server_name=service.host,
                server_port=service.port,
                auth=list(service.accounts) or None,
                max_file_size=service.megabytes * 1024 * 1024,
                theme=gr.themes.Default(font=_FONTS, font_mono=_MONO),
                css=html.STYLE,
                head=html.HEAD,
                app_kwargs={"middleware": _middleware(service, uploads, blocks, warn)},
                max_threads=_THREADS,
                allowed_paths=[],
                footer_links=[],
                share=False,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                enable_monitoring=False,
                run_history=False,
                state_session_capacity=16,
                prevent_thread_lock=True,
                quiet=True,
            )
        except OSError as error:
            # Taken by another in between.
            raise _unusable(service.host, service.port, error) from error
        connections.limit(blocks.server)
        try:
            ready(f"http://{service.host}:{service.port}")
            while not stop.wait(_SWEEP_SECONDS):
                heat_inputs.sweep()
                # The next one will do what this one cannot.
                with contextlib.suppress(OSError):
                    uploads.sweep()
        finally:
            blocks.close(verbose=False)


def _require_free(host: str, port: int) -> None:
    """Raise LungcliError when an address cannot be served on."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As the server does: what is left of a page that has just ended is no hindrance.
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise _unusable(host, port, error) from error


def _unusable(host: str, port: int, error: OSError) -> LungcliError:
    another = f"choose another port: lungcli serve --port {port + 1 if port < _LAST_PORT else port - 1}"
    if error.errno in (errno.EADDRNOTAVAIL, None) or isinstance(error, socket.gaierror):
        return LungcliError(f"cannot serve on {host}: it is no address of this machine", "leave --host out")
    if error.errno == errno.EACCES:
        return LungcliError(
            f"cannot serve on port {port}: this user may not", "choose a port from 1024 on: --port 7860"
        )
    if error.errno == errno.EADDRINUSE:
        return LungcliError(f"cannot serve on {host}, port {port}: another program uses it", another)
    return LungcliError(f"cannot serve on {host}, port {port}: {error.strerror}", another)


def page(service: Service, uploads: Uploads, workers: Workers, heat_inputs: HeatInputs) -> "gradio.Blocks":
    """Build the page, which reads `uploads`, lets `workers` predict them, and keeps `heat_inputs` of its results.

    Raises UsageError without the extra `web`, ModelFileError when the first model cannot be loaded.
    """
    gr = _gradio()
    first = next(iter(service.models))
    workers.load(service.models[first])
    handlers = _Handlers(gr, service, uploads, Visits(service.models, workers, heat_inputs))
    # Whoever waits for a turn is one of so many.
    how: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": _MAX_VISITORS, "concurrency_id": "shown"}
    with gr.Blocks(title="lungcli", analytics_enabled=False, fill_width=True) as blocks:
        gr.Markdown(f"# lungcli\nPredicts axial lung CT slices. **{DISCLAIMER}**")
        uploads_of_session = gr.State((), time_to_live=KEPT_SECONDS)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                file_box = gr.File(
                    label="Slices: PNG, JPEG, TIFF, BMP, DICOM", file_count="multiple", elem_id="drop", height=150
                )
                model = gr.Dropdown(list(service.models), value=first, label="Model", elem_id="model")
                line, card = _about(service, first)
                model_line = gr.HTML(line)
                buttons = {}
                for kind, prefix, make in (("real", "", examples.real), ("drawn", "drawn ", examples.phantom)):
                    gr.Markdown(f"Or try a {kind} slice:")
                    with gr.Row():
                        for label in examples.CLASSES:
                            button = gr.Button(f"{prefix}{label}", size="sm", min_width=60)
                            buttons[button] = functools.partial(make, label)
                gr.HTML(html.citation())
                with gr.Accordion("About this model", open=False):
                    about = gr.HTML(card)
            with gr.Column(scale=3, min_width=320, elem_id="answer"):
                answer = [gr.HTML("", elem_id="status"), gr.HTML(html.WELCOME, elem_id="results")]
        heat = gr.HTML({}, html_template="", js_on_load=html.HEAT_SCRIPT, visible="hidden")
        heat.input(handlers.heat_map, outputs=[heat], show_progress="hidden", trigger_mode="multiple", **how)
        file_box.upload(handlers.uploads, [file_box, model], [uploads_of_session, file_box, *answer], **how)
        model.change(handlers.model, [model, uploads_of_session], [model_line, about, *answer], **how)
        for button, example in buttons.items():
            button.click(handlers.example(example), [model], [uploads_of_session, *answer], **how)
    blocks.queue(max_size=_MAX_QUEUE)
    return blocks


class _Handlers:
    """What the page does when something is uploaded or chosen: generators of new values for its parts."""

    def __init__(self, gr: Any, service: Service, uploads: Uploads, visits: Visits) -> None:
        self._gr, self._service, self._sent, self._visits = gr, service, uploads, visits
        for handler in (_Handlers.uploads, _Handlers.model, _Handlers.heat_map):
            self._wants_request(handler)
        _Handlers.heat_map.__annotations__["event"] = gr.EventData

    def uploads(self, paths: list[str] | None, name: str, request: Any) -> Iterator[tuple[Any, ...]]:
        sent = _read_uploads(paths or [], self._sent, self._service.megabytes << 20)
        yield sent, None, self._gr.skip(), self._gr.skip()
        for parts in self._show(name, sent, request):
            yield self._gr.skip(), self._gr.skip(), *parts

    def model(self, name: str, sent: tuple[Upload, ...], request: Any) -> Iterator[tuple[Any, ...]]:
        yield *_about(self._service, name), self._gr.skip(), self._gr.skip()
        for parts in self._show(name, sent, request):
            yield self._gr.skip(), self._gr.skip(), *parts

    def heat_map(self, event: Any, request: Any) -> HeatAnswer:
        """Answer the page, which names the slice that was opened."""
        return self._visits.heat_map(str(getattr(event, "of", "")), *_visitor(request))

    def example(self, make: Callable[[], Upload]) -> Callable[..., Iterator[tuple[Any, ...]]]:
        def shown(name: str, request: Any) -> Iterator[tuple[Any, ...]]:
            sent = (make(),)
            yield sent, self._gr.skip(), self._gr.skip()
            for parts in self._show(name, sent, request):
                yield self._gr.skip(), *parts

        self._wants_request(shown)
        return shown

    def _wants_request(self, handler: Callable[..., Any]) -> None:
        """Gradio passes its request to parameters of that type, whose name is not known before it is imported."""
        handler.__annotations__["request"] = self._gr.Request

    def _show(self, name: str, sent: tuple[Upload, ...], request: Any) -> Iterator[tuple[Any, Any]]:
        for status, results in self._visits.show(sent, name, *_visitor(request)):
            yield self._unless_none(status), self._unless_none(results)
        # Gradio sends what came last once more, which are megabytes for many slices.
        yield self._gr.skip(), self._gr.skip()

    def _unless_none(self, value: str | None) -> Any:
        return self._gr.skip() if value is None else value


def _visitor(request: Any) -> tuple[str, str]:
    """Who asks, by login or else by address, and the session."""
    return request.username or (request.client.host if request.client else ""), request.session_hash or ""


def _about(service: Service, name: str) -> tuple[str, str]:
    """A line on a model, and its card."""
    try:
        card = model_file.read_card(chosen(service.models, name))
    except LungcliError as error:
        return "", html.error_message(error.message, error.hint)
    return html.model_line(card, name), html.model_card(card, name)


def _read_uploads(paths: list[str], uploads: Uploads, most: int) -> tuple[Upload, ...]:
    """Read the files of a visitor; those beyond the limits of a session keep their name, without content."""
    room = FILES_PER_UPLOAD * most
    taken: list[Upload] = []
    for path in map(Path, paths):
        content = uploads.read(path)
        room -= len(content)
        fits = room >= 0 and len(taken) < MAX_PICTURES
        taken.append(Upload(name=path.name, content=content if fits else b""))
    return tuple(taken)


def _middleware(service: Service, uploads: Uploads, blocks: "gradio.Blocks", warn: Callable[[str], None]) -> list[Any]:
    from gradio import __version__, routes
    from starlette.middleware import Middleware

    over = forgetter(blocks, getattr(routes, "file_upload_statuses", None), __version__, warn)
    return [
        Middleware(AccessControl, local=service.host in LOCAL_ADDRESSES, megabytes=service.megabytes, uploads=uploads),
        Middleware(SessionCleanup, forget=over),
    ]


def _gradio() -> Any:
    try:
        import gradio  # 1.5 s
    except ImportError as error:
        raise UsageError(
            "the page needs the extra `web`, which is not installed", "install it: pip install 'lungcli[web]'"
        ) from error
    return gradio


@contextlib.contextmanager
def _offline_environment() -> Iterator[None]:
    """Set the environment so that the page's libraries make no calls, and restore it afterwards."""
    quiet = {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "GRADIO_MCP_SERVER": "False",
        # A table of past requests, rebuilt at each request for a page that is closed to visitors.
        "GRADIO_ANALYTICS_MAX_EVENTS": "1",
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(1 << 30),
    }
    before = dict(os.environ)
    os.environ.update(quiet)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
