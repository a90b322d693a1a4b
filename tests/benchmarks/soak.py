"""Predictions by the thousand: does memory stay flat, and are files closed again?

Run: python -m tests.benchmarks.soak [FILES] [UPLOADS]     (10,000 and 1,000 where nothing is given; ten minutes)

`lungcli predict` judges a folder of FILES pictures in one process, which is watched from outside; the page judges
UPLOADS pictures one after another, each in a visit of its own, asked for over HTTP as a browser does; every tenth
visitor is gone before the verdict is there (needs the extra `web`).
"""

import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.benchmarks import machine

LUNGCLI = [sys.executable, "-m", "lungcli"]


def watched(process: "subprocess.Popen[bytes]", seconds: float = 1.0) -> list[tuple[float, float, int]]:
    """Look at a process until it ends: seconds since its start, resident memory in MB, open files."""
    seen, began = [], time.monotonic()
    watched_one = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            memory, files = watched_one.memory_info().rss / 1e6, watched_one.num_fds()
            # A process that has ended and is not waited for has no memory.
            seen += [(time.monotonic() - began, memory, files)] if memory else []
        except psutil.Error:
            break
        time.sleep(seconds)
    return seen


def told(what: str, seen: list[tuple[float, float, int]]) -> None:
    """Print how memory and open files stood after each tenth of what was seen."""
    for tenth in range(1, 11):
        seconds, memory, files = seen[tenth * (len(seen) - 1) // 10]
        machine.say(f"{what}, {10 * tenth} %: {seconds:.0f} s {memory:.0f} MB {files} files open")
    machine.say(f"{what}: at most {max(row[1] for row in seen):.0f} MB, {max(row[2] for row in seen)} files")


def predict(pictures: list[Path], folder: Path, count: int, environment: dict[str, str]) -> None:
    """Judge a folder of `count` pictures with one call."""
    many = folder / "many"
    many.mkdir()
    for number in range(count):
        (many / f"{number}.png").hardlink_to(pictures[number % len(pictures)])
    command = [*LUNGCLI, "predict", "--jsonl", str(many)]
    with (folder / "verdicts.jsonl").open("wb") as out:
        seen = watched(subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.DEVNULL))
    judged = sum(1 for _ in (folder / "verdicts.jsonl").open("rb"))
    told(f"predict, {judged} verdicts of {count} files", seen)


def serve(pictures: list[Path], folder: Path, count: int, environment: dict[str, str]) -> None:
    """Have the page judge `count` pictures, one visit after another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command, said = [*LUNGCLI, "--debug", "serve", "--port", str(port)], folder / "said.txt"
    with said.open("wb") as words:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=words)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(lambda: _ask(address).startswith(b"<"))
        began, service = time.monotonic(), psutil.Process(process.pid)
        for number in range(1, count + 1):
            visit(address, pictures[number % len(pictures)], stays=number % 10 > 0)
            if number * 10 % count < 10:
                memory, files = service.memory_info().rss / 1e6, service.num_fds()
                machine.say(
                    f"page, {number} visits: {time.monotonic() - began:.0f} s {memory:.0f} MB {files} files open"
                )
    except (SystemExit, OSError):
        machine.say(said.read_text(errors="replace")[-4000:])
        raise
    finally:
        process.terminate()
        process.wait(60)


def visit(address: str, picture: Path, *, stays: bool) -> None:
    """Send one picture to the page, and wait for the verdict where the visitor stays. Raises OSError, SystemExit."""
    mark = uuid.uuid4().hex
    with _open(f"{address}/gradio_api/heartbeat/{mark}"):
        config = json.loads(_ask(f"{address}/config"))
        number = next(row["id"] for row in config["dependencies"] if [each[1] for each in row["targets"]] == ["upload"])
        call = {"data": [[_sent(address, picture, mark)], "bundled"], "fn_index": number, "session_hash": mark}
        _ask(f"{address}/gradio_api/queue/join", json.dumps(call).encode(), {"Content-Type": "application/json"})
        told = _ask(f"{address}/gradio_api/queue/data?session_hash={mark}") if stays else b""
    if stays and (b"process_completed" not in told or b'"success":true' not in told.replace(b" ", b"")):
        raise SystemExit(f"the page gave no verdict: {told[-500:]!r}")


def _sent(address: str, picture: Path, mark: str) -> dict[str, object]:
    """Upload a picture, ask how far that is, and name it as the page wants it."""
    body = (
        f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{picture.name}"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode()
    body += picture.read_bytes() + f"\r\n--{mark}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    [path] = json.loads(_ask(f"{address}/gradio_api/upload?upload_id={mark}", body, kind))
    _ask(f"{address}/gradio_api/upload_progress?upload_id={mark}")
    return {"path": path, "orig_name": picture.name, "meta": {"_type": "gradio.FileData"}}


def _open(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, data=body, headers=headers or {})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer: http.client.HTTPResponse = direct.open(request, timeout=120)
    return answer


def _ask(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    with _open(url, body, headers) as answer:
        return answer.read()


def _wait(ready: Callable[[], bool]) -> None:
    for _ in range(600):
        try:
            if ready():
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the page does not answer")


def main() -> None:
    """Measure and print."""
    files, uploads = (int(word) for word in (sys.argv[1:] + ["10000", "1000"][len(sys.argv) - 1 :])[:2])
    machine.state()
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"LUNGCLI_HOME": home}
        subprocess.run(
            [*LUNGCLI, "data", "phantom", "--slices", "60"], check=True, env=environment, capture_output=True
        )
        pictures = sorted(Path(home, "data", "phantom", "slices").rglob("*.png"))
        if files:
            predict(pictures, Path(home), files, environment)
        if uploads and importlib.util.find_spec("gradio"):
            serve(pictures, Path(home), uploads, environment)


if __name__ == "__main__":
    main()
