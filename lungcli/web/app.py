"""The page: by default for this machine only, without calls to others, without stored data.

Uploads are read into memory and deleted at once; results are embedded in the page, so that no file is served.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcli import DISCLAIMER
from lungcli.core import paths
from lungcli.core.errors import LungcliError, UsageError
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model
from lungcli.web import connections, html
from lungcli.web.gradio_sessions import SessionCleanup, forgetter
from lungcli.web.html import Upload
from lungcli.web.middleware import FILES_PER_UPLOAD, LOCAL_ADDRESSES, AccessControl
from lungcli.web.uploads import KEPT_SECONDS, Uploads

if TYPE_CHECKING:
    import gradio

CLASSES = ("malignant", "benign", "normal")

_FONTS = ["system-ui", "sans-serif"]
_MONO = ["ui-monospace", "monospace"]
_SWEEP_SECONDS = 60
# More would wait longer than anybody waits for a page.
_MAX_QUEUE = 64


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
    with _offline_environment(), paths.scratch("uploads") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        gr = _gradio()
        uploads = Uploads(folder)
        blocks = page(service, uploads)
        try:
            blocks.launch(
                server_name=service.host,
                server_port=service.port,
                auth=list(service.accounts) or None,
                max_file_size=service.megabytes * 1024 * 1024,
                theme=gr.themes.Default(font=_FONTS, font_mono=_MONO),
                css=html.STYLE,
                app_kwargs={"middleware": _middleware(service, uploads, blocks, warn)},
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
            raise LungcliError(
                f"cannot serve on {service.host}, port {service.port}: {str(error).partition(chr(10))[0]}",
                f"choose another port: lungcli serve --port {service.port + 1}",
            ) from error
        connections.limit(blocks.server)
        try:
            ready(f"http://{service.host}:{service.port}")
            while not stop.wait(_SWEEP_SECONDS):
                # The next one will do what this one cannot.
                with contextlib.suppress(OSError):
                    uploads.sweep()
        finally:
            blocks.close(verbose=False)


def page(service: Service, uploads: Uploads) -> "gradio.Blocks":
    """Build the page, which reads `uploads`. Raises UsageError without the extra `web`."""
    gr = _gradio()
    load = functools.lru_cache(maxsize=4)(model_file.load)
    first = next(iter(service.models))

    def show(name: str, sent: tuple[Upload, ...]) -> str:
        try:
            return html.prediction_cards(sent, _load_chosen(service, load, name)) if sent else ""
        except LungcliError as error:
            return html.error_message(error.message, error.hint)

    def show_uploads(paths: list[str] | None, name: str) -> tuple[tuple[Upload, ...], None, str]:
        sent = _read_uploads(paths or [], uploads, service.megabytes << 20)
        return sent, None, show(name, sent)

    def show_phantom(label: str, name: str) -> tuple[tuple[Upload, ...], str]:
        sent = (html.example(label),)
        return sent, show(name, sent)

    def show_model(name: str, sent: tuple[Upload, ...]) -> tuple[str, str]:
        return _about(service, name), show(name, sent)

    # On a phone the results are below all inputs.
    private: dict[str, Any] = {"api_visibility": "private", "scroll_to_output": True}
    with gr.Blocks(title="lungcli", analytics_enabled=False, fill_width=True) as blocks:
        gr.Markdown(f"# lungcli\nPredicts the class of axial lung CT slices. **{DISCLAIMER}**")
        uploads_of_session = gr.State((), time_to_live=KEPT_SECONDS)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                file_box = gr.File(label="Slices: PNG, JPEG, TIFF, BMP, DICOM", file_count="multiple", elem_id="drop")
                model = gr.Dropdown(list(service.models), value=first, label="Model", elem_id="model")
                gr.Markdown("Or try a drawn phantom (a model trained on real slices may be wrong about drawings):")
                with gr.Row():
                    phantom_buttons = {label: gr.Button(label, size="sm", min_width=60) for label in CLASSES}
                with gr.Accordion("About this model", open=False):
                    about = gr.HTML(_about(service, first))
            with gr.Column(scale=3, min_width=320):
                results = gr.HTML(html.prediction_cards((), _load_chosen(service, load, first)), elem_id="results")
        file_box.upload(show_uploads, [file_box, model], [uploads_of_session, file_box, results], **private)
        model.change(show_model, [model, uploads_of_session], [about, results], **private)
        for label, button in phantom_buttons.items():
            button.click(functools.partial(show_phantom, label), [model], [uploads_of_session, results], **private)
    blocks.queue(max_size=_MAX_QUEUE)
    return blocks


def _load_chosen(service: Service, load: Callable[[Path], Model], name: str) -> Model:
    if name not in service.models:
        raise UsageError("this model is not served here", "choose one from the list")
    return load(service.models[name])


def _about(service: Service, name: str) -> str:
    try:
        return html.model_card(model_file.read_card(service.models[name]), name)
    except LungcliError as error:
        return html.error_message(error.message, error.hint)


def _read_uploads(paths: list[str], uploads: Uploads, most: int) -> tuple[Upload, ...]:
    """Read the files of a visitor; those beyond the limits of a session keep their name, without content."""
    room = FILES_PER_UPLOAD * most
    taken: list[Upload] = []
    for path in map(Path, paths):
        content = uploads.read(path)
        room -= len(content)
        fits = room >= 0 and len(taken) < html.MAX_PICTURES
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
