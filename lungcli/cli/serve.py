"""`lungcli serve`."""

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, TextIO

from lungcli.cli import console, options
from lungcli.core import paths
from lungcli.core.errors import LungcliError, ModelFileError, UsageError
from lungcli.core.formatting import plain_lines

Host = Annotated[
    str, options.in_panel("Page", "Address to serve on; other than 127.0.0.1, other machines can connect.", "--host")
]
Port = Annotated[int, options.in_panel("Page", "Port to serve on.", "--port", min=1, max=65535)]
Auth = Annotated[
    Path | None,
    options.in_panel("Page", "Require a login; a file with one NAME:PASSWORD per line.", "--auth", metavar="FILE"),
]
MaxUpload = Annotated[int, options.in_panel("Page", "Largest picture accepted.", "--max-upload", min=1, metavar="MB")]


def serve(
    model: options.Model = "",
    host: Host = "127.0.0.1",
    port: Port = 7860,
    auth: Auth = None,
    max_upload: MaxUpload = 64,
) -> None:
    """Serve a web page that predicts slices.

    It shows class, probabilities, heat-map and referral. Needs the extra `web`: pip install 'lungcli[web]'. Nothing
    leaves this machine, and uploads are deleted once read.

    \b
    Example: lungcli serve
    """
    import signal
    import threading

    from lungcli.web import app, middleware

    accounts = _accounts(auth) if auth else ()
    service = app.Service(models=_models(model), host=host, port=port, accounts=accounts, megabytes=max_upload)
    console.disclaim()
    if host not in middleware.LOCAL_ADDRESSES:
        console.warn(f"{host} is open to other machines, and pictures are sent to it unencrypted")
        if not accounts:
            console.warn("anyone who can connect may use it; require a login with --auth FILE")
    stop = threading.Event()
    # Ctrl-C and service managers end it; uploads are deleted either way.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda _number, _frame: stop.set())
    with _silenced_libraries() as stderr:

        def ready(url: str) -> None:
            with contextlib.redirect_stderr(stderr):
                console.info(f"serving at {url}; press Ctrl-C to stop")

        def warn(what: str) -> None:
            with contextlib.redirect_stderr(stderr):
                console.warn(what)

        app.serve(service, ready, stop, warn)
    console.info("stopped; all uploads are deleted")


@contextlib.contextmanager
def _silenced_libraries() -> "Iterator[TextIO]":
    """Silence the libraries of the page, which would print broken requests as their senders wrote them.

    Yields the original stderr. With --debug it gets their output, with control characters made visible.
    """
    stderr = sys.stderr

    class Silenced(io.TextIOBase):
        def write(self, text: str) -> int:
            return stderr.write(plain_lines(text)) if console.ConsoleOptions.debug else len(text)

    with contextlib.redirect_stderr(Silenced()), contextlib.redirect_stdout(Silenced()):
        yield stderr


def _models(wanted: str) -> "Mapping[str, Path]":
    """Model files by name, the chosen one first; those that this version cannot use are left out."""
    from lungcli.modelfile import model_file, model_paths

    first = model_paths.resolve(wanted) if wanted else model_paths.default()
    model_file.read_card(first)
    # Visitors of the page need not know paths of this machine.
    name = model_paths.name_of(first)
    models = {first.stem if name == str(first) else name: first}
    for name, path in model_paths.files().items():
        try:
            model_file.read_card(path)
        except ModelFileError:
            continue
        models.setdefault(name, path)
    return models


def _accounts(path: Path) -> tuple[tuple[str, str], ...]:
    """Read `NAME:PASSWORD` lines. Raises LungcliError, UsageError."""
    try:
        text = paths.read_regular(path, 1 << 20).decode()
        lines = [line for line in text.splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise LungcliError(f"cannot read {path}", "--auth needs a text file with one NAME:PASSWORD per line") from error
    pairs = [line.partition(":") for line in lines]
    if not pairs or not all(name and password for name, _, password in pairs):
        raise UsageError(f"{path} is empty or has a line that is not NAME:PASSWORD", "write one NAME:PASSWORD per line")
    return tuple((name, password) for name, _, password in pairs)
