"""The page as served: what it answers, what it refuses, whom it calls (nobody) and what it keeps (nothing)."""

import contextlib
import errno
import gc
import http.client
import importlib.util
import json
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lungcli.core.errors import LungcliError, UsageError
from lungcli.web import app, middleware
from tests.modelfile import graphs

WITH_GRADIO = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra `web` (gradio) is not installed"
)
# Gradio and what it brings warn of their own future.
pytestmark = pytest.mark.filterwarnings("ignore")


@contextlib.contextmanager
def uploads_in(folder: Path) -> Iterator[None]:
    """Keep uploads apart from those of other servers on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield


@pytest.fixture(scope="module", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with uploads_in(tmp_path_factory.mktemp("uploads")):
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.nodule_file(tmp_path_factory.mktemp("model") / "m.onnx")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """A page served in a thread, and the addresses beyond this machine that anything here tried to reach."""

    def __init__(self, service: app.Service) -> None:
        self.service = service
        self.called: list[object] = []
        self._stop, self._ready = threading.Event(), threading.Event()
        self.warned: list[str] = []
        happening = (lambda _: self._ready.set(), self._stop, self.warned.append)
        self._thread = threading.Thread(target=app.serve, args=(service, *happening))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(300)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        # Loops that libraries leave open complain when they are collected: here, where that is let pass.
        gc.collect()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        link = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        try:
            link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = link.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            link.close()

    def upload(self, content: bytes, query: str = "") -> tuple[int, bytes]:
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{border}--\r\n".encode()
        kind = f"multipart/form-data; boundary={border}"
        return self.ask("POST", f"/gradio_api/upload{query}", body, Content_Type=kind)[:2]


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[Served]:
    """Serve with every way out of this machine watched and shut."""
    watched = Served(app.Service(models={"tiny": model}, port=free_port(), megabytes=1))
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in middleware.LOCAL_ADDRESSES:
            watched.called.append(address)
            raise ConnectionRefusedError(f"no way out to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        watched.start()
        yield watched
        watched.end()


@WITH_GRADIO
def test_the_page_answers_with_a_policy_that_forbids_other_hosts(served: Served) -> None:
    status, content, headers = served.ask("GET", "/")
    assert status == 200
    assert b"lungcli" in content
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert headers["referrer-policy"] == "no-referrer"
    style = served.ask("GET", "/theme.css")[1].decode()
    assert "googleapis" not in style
    assert served.called == []


@WITH_GRADIO
def test_no_file_of_the_machine_is_served(served: Served, model: Path) -> None:
    for path in ("/etc/passwd", str(model), str(Path(app.__file__)), "pyproject.toml", "../../../../etc/passwd"):
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/"):
            status, content, _ = served.ask("GET", f"{route}{path}")
            assert status >= 400, (route, path)
            assert b"root:" not in content


@WITH_GRADIO
def test_no_file_of_the_machine_is_taken_for_an_upload(served: Served, model: Path) -> None:
    """A visitor may claim that a file lies on the server already: it must neither be judged nor deleted."""
    config = json.loads(served.ask("GET", "/config")[1])
    number = next(
        item["id"] for item in config["dependencies"] if [target[1] for target in item["targets"]] == ["upload"]
    )
    claimed = {"path": str(model), "meta": {"_type": "gradio.FileData"}}
    call = {"data": [[claimed], "tiny"], "fn_index": number, "session_hash": "s"}
    status, content, _ = served.ask(
        "POST", "/gradio_api/queue/join", json.dumps(call).encode(), Content_Type="application/json"
    )
    if status == 200:
        content = served.ask("GET", "/gradio_api/queue/data?session_hash=s")[1]
    assert b"process_completed" not in content or b'"success":false' in content.replace(b" ", b"")
    assert model.is_file()


@WITH_GRADIO
def test_too_large_an_upload_is_refused_and_leaves_nothing(served: Served) -> None:
    assert served.upload(b"x" * 1000)[0] == 200
    before = {path for path in Path(tempfile.gettempdir()).glob("lungcli-scratch-uploads-*/**/*") if path.is_file()}
    status, _ = served.upload(b"x" * (2 << 20))
    assert status == 413
    after = {path for path in Path(tempfile.gettempdir()).glob("lungcli-scratch-uploads-*/**/*") if path.is_file()}
    assert {path for path in after - before if path.stat().st_size > 1000} == set()


@WITH_GRADIO
def test_foreign_host_names_are_refused(served: Served) -> None:
    """A foreign page that makes its own name mean 127.0.0.1 must not read what is here."""
    assert served.ask("GET", "/", Host="evil.example")[0] == 400


@WITH_GRADIO
def test_a_login_is_required_and_the_upload_folder_is_deleted(model: Path) -> None:
    before = set(Path(tempfile.gettempdir()).glob("lungcli-scratch-uploads-*"))
    guarded = Served(app.Service(models={"tiny": model}, port=free_port(), accounts=(("ada", "secret"),)))
    guarded.start()
    try:
        assert guarded.ask("GET", "/config")[0] == 401
        assert guarded.upload(b"x")[0] == 401
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        assert guarded.ask("POST", "/login", b"username=ada&password=wrong", **form)[0] == 400
        status, _, headers = guarded.ask("POST", "/login", b"username=ada&password=secret", **form)
        assert status == 200
        assert guarded.ask("GET", "/config", Cookie=headers["set-cookie"].partition(";")[0])[0] == 200
    finally:
        guarded.end()
    assert set(Path(tempfile.gettempdir()).glob("lungcli-scratch-uploads-*")) == before


@WITH_GRADIO
def test_an_address_that_cannot_be_used_is_an_error_with_its_reason(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**changes: Any) -> LungcliError:
        with pytest.raises(LungcliError) as caught:
            app.serve(app.Service(models={"tiny": model}, **changes), lambda _: None, threading.Event(), print)
        return caught.value

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = refused(port=port)
    assert error.message == f"cannot serve on 127.0.0.1, port {port}: another program uses it"
    assert error.hint == f"choose another port: lungcli serve --port {port + 1}"
    for host in ("192.0.2.1", "no.such.host.invalid"):
        assert refused(host=host).message == f"cannot serve on {host}: it is no address of this machine"

    def forbidden(self: socket.socket, address: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", forbidden)
    assert refused(port=80).message == "cannot serve on port 80: this user may not"


def test_without_the_extra_the_error_names_the_command_that_installs_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UsageError) as caught:
        app.serve(app.Service(models={"tiny": model}), lambda _: None, threading.Event(), print)
    assert caught.value.hint == "install it: pip install 'lungcli[web]'"
