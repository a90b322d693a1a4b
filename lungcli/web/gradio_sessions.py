"""Removing what Gradio keeps of past sessions.

Gradio keeps a queue of messages for each of the last 2,000 sessions, with results that nobody fetched, and a name or
two for every session and upload there ever was. What no running request needs is removed here.
"""

from collections.abc import Callable, Collection, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# The version of Gradio whose private names `forget` uses.
TESTED_VERSION = "6.31.0"
# A result, or the status of an upload, is fetched a moment after it was requested.
MAX_UNFETCHED = 64
MAX_LOGINS = 1024


class SessionCleanup:
    """ASGI middleware that removes, after each request, the data of sessions that no running request uses.

    `forget` is called with the names of the sessions and uploads in use.
    """

    def __init__(self, app: "ASGIApp", *, forget: Callable[[Collection[str]], None]) -> None:
        self._app, self._forget = app, forget
        self._asked: list[str] = []

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, and clean up after it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        names = [*query.get("session_hash", ()), *query.get("upload_id", ())]
        self._asked += names
        try:
            await self._app(scope, receive, send)
        finally:
            for name in names:
                self._asked.remove(name)
            self._forget(self._asked)


def forgetter(
    blocks: Any, uploads: Any, version: str, warn: Callable[[str], None]
) -> Callable[[Collection[str]], None]:
    """Return a function that forgets sessions; where this version of Gradio is unknown, it warns once and stops."""
    supported = True

    def forget_if_supported(in_use: Collection[str]) -> None:
        nonlocal supported
        if not supported:
            return
        try:
            forget(blocks, uploads, in_use)
        except AttributeError as error:
            supported = False
            warn(
                f"gradio {version} stores sessions in an unknown way ({error}), so they stay in memory until the page "
                f"is stopped; a known version: pip install 'gradio=={TESTED_VERSION}'"
            )

    return forget_if_supported


def forget(blocks: Any, uploads: Any, in_use: Collection[str]) -> None:
    """Forget the sessions and uploads that are not `in_use`, on the thread that answers requests.

    `blocks` is the page, `uploads` Gradio's record of uploads. What they keep has no public name, so a newer Gradio
    may name it differently: raises AttributeError then, which a test with Gradio itself notices.
    """
    queue = blocks._queue
    running = {event.session_hash for event in queue.event_ids_to_events.values()}
    _forget_sessions(queue.pending_messages_per_session, queue.pending_event_ids_session, {*in_use, *running})
    _keep_newest(uploads._statuses, MAX_UNFETCHED, in_use)
    _keep_newest(uploads._signals, 0, {*in_use, *uploads._statuses})
    _keep_newest(blocks.app.tokens, MAX_LOGINS, ())
    # Names of uploads, which are deleted once read.
    for names in blocks.temp_file_sets:
        names.clear()


def _forget_sessions(
    messages: MutableMapping[str, Any], unfetched: MutableMapping[str, Collection[str]], live: Collection[str]
) -> None:
    """Drop the queues of sessions that are neither `live` nor among the newest with a result still to be fetched."""
    over = [session for session in dict.fromkeys((*messages, *unfetched)) if session not in live]
    waiting = [session for session in over if session in messages and unfetched.get(session)]
    for session in set(over) - set(waiting[-MAX_UNFETCHED:]):
        messages.pop(session, None)
        unfetched.pop(session, None)


def _keep_newest(entries: MutableMapping[str, Any], most: int, live: Collection[str]) -> None:
    """Drop all but the `live` keys and the `most` newest others."""
    over = [key for key in list(entries) if key not in live]
    for key in over[: max(0, len(over) - most)]:
        entries.pop(key, None)
