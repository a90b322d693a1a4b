"""What is let go of visits that are over: by itself, and of the page's library as installed."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.web import app, examples, gradio_sessions
from lungcli.web.heat_inputs import HeatInputs
from lungcli.web.uploads import Uploads
from lungcli.web.workers import Workers
from tests.modelfile import graphs
from tests.web.test_app import WITH_GRADIO, Served, free_port, uploads_in

# Gradio and what it brings warn of their own future.
pytestmark = pytest.mark.filterwarnings("ignore")
JSON = {"Content_Type": "application/json"}
NO_UPLOADS = SimpleNamespace(_signals={}, _statuses={})


def library(
    *, messages: Mapping[str, object], unfetched: Mapping[str, set[str]], running: Mapping[str, str] | None = None
) -> Any:
    """A page as its library keeps it: queues and unfetched events by visit, visits by running event."""
    events = {event: SimpleNamespace(session_hash=visit) for event, visit in (running or {}).items()}
    queue = SimpleNamespace(
        pending_messages_per_session=dict(messages),
        pending_event_ids_session=dict(unfetched),
        event_ids_to_events=events,
    )
    return SimpleNamespace(_queue=queue, app=SimpleNamespace(tokens={}), temp_file_sets=[])


def kept(blocks: Any) -> tuple[set[str], set[str]]:
    """Visits whose messages are kept, and those whose events are."""
    return set(blocks._queue.pending_messages_per_session), set(blocks._queue.pending_event_ids_session)


def test_a_session_is_forgotten_once_its_result_is_fetched() -> None:
    ids: dict[str, set[str]] = {"fetched": set(), "asked": set(), "running": {"e"}, "gone": {"f"}}
    blocks = library(messages=dict.fromkeys(("fetched", "asked", "running")), unfetched=ids, running={"e": "running"})
    gradio_sessions.forget(blocks, NO_UPLOADS, ["asked"])
    assert kept(blocks) == ({"asked", "running"}, {"asked", "running"})


def test_unfetched_results_make_room_for_newer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradio_sessions, "MAX_UNFETCHED", 2)
    ids = {name: {name} for name in ("old", "running", "newer", "newest")}
    blocks = library(messages=dict.fromkeys(ids), unfetched=ids, running={"running": "running"})
    gradio_sessions.forget(blocks, NO_UPLOADS, [])
    assert kept(blocks) == ({"running", "newer", "newest"},) * 2


@given(st.data())
def test_live_sessions_and_few_others_stay_in_any_order_of_events(data: st.DataObject) -> None:
    names = [str(number) for number in range(gradio_sessions.MAX_UNFETCHED * 2)]
    some = st.sets(st.sampled_from(names))
    messages, listed, fetched, asked, running = (data.draw(some) for _ in range(5))
    unfetched = {name: set() if name in fetched else {f"e{name}"} for name in names if name in listed}
    blocks = library(
        messages=dict.fromkeys(messages), unfetched=unfetched, running={f"e{name}": name for name in running}
    )
    gradio_sessions.forget(blocks, NO_UPLOADS, asked)
    queued, waiting = kept(blocks)
    assert queued >= messages & (asked | running)
    assert waiting >= listed & (asked | running)
    assert len((queued | waiting) - asked - running) <= gradio_sessions.MAX_UNFETCHED
    assert (queued | waiting) - asked - running <= messages & (listed - fetched)


def test_upload_progress_logins_and_file_names_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradio_sessions, "MAX_UNFETCHED", 1)
    monkeypatch.setattr(gradio_sessions, "MAX_LOGINS", 2)
    uploads = SimpleNamespace(
        _signals=dict.fromkeys(("told", "asked", "old", "new")), _statuses=dict.fromkeys(("old", "new"))
    )
    blocks = library(messages={}, unfetched={})
    blocks.app.tokens = dict.fromkeys(("first", "second", "third"), "ada")
    blocks.temp_file_sets = [{"a.png"}, {"a.png", "b.png"}]
    gradio_sessions.forget(blocks, uploads, ["asked"])
    assert set(uploads._signals) == {"asked", "new"}
    assert set(uploads._statuses) == {"new"}
    assert list(blocks.app.tokens) == ["second", "third"]
    assert blocks.temp_file_sets == [set(), set()]


@pytest.mark.parametrize("renamed", ["_queue", "pending_messages_per_session", "session_hash", "_signals", "tokens"])
def test_a_gradio_with_other_private_names_is_warned_about_once(renamed: str) -> None:
    blocks = library(messages={"a": None}, unfetched={"a": set()}, running={"e": "b"})
    uploads = SimpleNamespace(_signals={}, _statuses={})
    owners = [blocks, blocks._queue, blocks._queue.event_ids_to_events["e"], uploads, blocks.app]
    delattr(next(owner for owner in owners if hasattr(owner, renamed)), renamed)
    warned: list[str] = []
    forget = gradio_sessions.forgetter(blocks, uploads, "9.1", warned.append)
    forget([])
    forget([])
    [warning] = warned
    assert warning.startswith("gradio 9.1 stores sessions in an unknown way")
    assert f"'{renamed}'" in warning


def test_a_known_gradio_gets_no_warning() -> None:
    blocks = library(messages={"a": None}, unfetched={"a": set()})
    gradio_sessions.forgetter(blocks, SimpleNamespace(_signals={}, _statuses={}), "6.31.0", pytest.fail)([])
    assert kept(blocks) == (set(), set())


def test_a_session_is_in_use_until_its_answer_ends_or_breaks_off() -> None:
    output: list[list[str]] = []
    nothing: Any = None

    async def answered(query: bytes) -> None:
        await watched({"type": "http", "query_string": query}, nothing, nothing)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["query_string"]:
            await answered(b"")
            raise OSError("gone")

    watched = gradio_sessions.SessionCleanup(answer, forget=lambda names: output.append(list(names)))
    with pytest.raises(OSError, match="gone"):
        asyncio.run(answered(b"session_hash=a&upload_id=b"))
    assert output == [["a", "b"], []]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Any]]:
    """A page as served, and the library's own object of it."""
    pages: list[Any] = []
    lay_out = app.page

    def kept_page(service: app.Service, uploads: Uploads, workers: Workers, heat_inputs: HeatInputs) -> Any:
        pages.append(lay_out(service, uploads, workers, heat_inputs))
        return pages[-1]

    model = graphs.nodule_file(tmp_path_factory.mktemp("model") / "m.onnx")
    served = Served(app.Service(models={"tiny": model}, port=free_port()))
    with uploads_in(tmp_path_factory.mktemp("uploads")), pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "page", kept_page)
        served.start()
        yield served, pages[0]
        served.end()


def _visit(served: Served, *, fetched: bool) -> bytes:
    """Drop a phantom into the page, as a browser does; what the page says of it."""
    name = uuid.uuid4().hex
    [path] = json.loads(served.upload(examples.phantom("normal").content, f"?upload_id={name}")[1])
    if fetched:
        assert b"done" in served.ask("GET", f"/gradio_api/upload_progress?upload_id={name}")[1]
    config = json.loads(served.ask("GET", "/config")[1])
    number = next(row["id"] for row in config["dependencies"] if [each[1] for each in row["targets"]] == ["upload"])
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    call = {"data": [[file], "tiny"], "fn_index": number, "session_hash": name}
    assert served.ask("POST", "/gradio_api/queue/join", json.dumps(call).encode(), **JSON)[0] == 200
    return served.ask("GET", f"/gradio_api/queue/data?session_hash={name}")[1] if fetched else b""


@WITH_GRADIO
def test_gradio_keeps_nothing_of_past_sessions(opened: tuple[Served, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer library that keeps things elsewhere fails here: then `forget` has to learn where."""
    import gradio
    from gradio import routes

    monkeypatch.setattr(gradio_sessions, "MAX_UNFETCHED", 2)
    served, blocks = opened
    for fetched in (True, False, False, False, False, True):
        output = _visit(served, fetched=fetched)
        assert (b"lung-card" in output) == fetched
    queue, uploads = blocks._queue, routes.file_upload_statuses
    # A moment after a prediction is output its event is over, then its request, which may have kept what was fetched.
    for _ in range(200):
        served.ask("GET", "/config")
        if not queue.event_ids_to_events and len(queue.pending_messages_per_session) <= 2:
            break
        time.sleep(0.05)
    assert queue.event_ids_to_events == {}
    assert 0 < len(queue.pending_messages_per_session) == len(queue.pending_event_ids_session) <= 2
    assert 0 < len(uploads._signals) == len(uploads._statuses) <= 2
    assert blocks.app.tokens == {}
    assert [names for names in blocks.temp_file_sets if names] == []
    assert len(blocks.state_holder.session_data) <= 16
    assert len(queue.event_analytics) <= 1
    assert served.warned == []
    assert gradio.__version__ == gradio_sessions.TESTED_VERSION, "name the version that this test was run with"


@WITH_GRADIO
def test_many_visitors_who_send_the_same_slice_at_once_get_a_prediction_each(opened: tuple[Served, Any]) -> None:
    served, _ = opened
    with ThreadPoolExecutor(12) as visitors:
        output = list(visitors.map(lambda _: _visit(served, fetched=True), range(24)))
    assert [b"lung-card" in each for each in output] == [True] * 24
