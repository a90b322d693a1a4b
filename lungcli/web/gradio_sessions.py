"""Visits that are over are forgotten.

The page's library keeps a queue of messages for each of the last 2,000 visits, with the verdicts that nobody fetched,
and a name or two for every visit and upload there ever was. What no request asks for any more is let go here.
"""

from collections.abc import Callable, Collection, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# Of Gradio; what `forget` reaches for has these names in it.
TESTED_VERSION = "6.31.0"
# Who has asked for a verdict, or sent a file, asks for what became of it a moment later.
MAX_UNFETCHED = 64
MAX_LOGINS = 1024


class SessionCleanup:
    """ASGI middleware that forgets, after each request, what no request that still runs is about.

    `forget` is told the names of visits and uploads that are being asked for.
    """

    def __init__(self, app: "ASGIApp", *, forget: Callable[[Collection[str]], None]) -> None:
        self._app, self._forget = app, forget
        self._asked: list[str] = []

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on."""
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
    """Return what forgets visits, and warns once and stops where the library, of this version, keeps them elsewhere."""
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
                f"gradio {version} keeps visits in a way that this version does not know ({error}), so that they stay "
                f"in memory until the page is ended; known is: pip install 'gradio=={TESTED_VERSION}'"
            )

    return forget_if_supported


def forget(blocks: Any, uploads: Any, in_use: Collection[str]) -> None:
    """Forget the visits and uploads that no request of `asked` is about, on the thread that answers requests.

    `blocks` is the page, `uploads` the library's record of uploads. No public name leads to what these keep, so a newer
    library may name it differently: raises AttributeError, and fails a test that runs the library itself.
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
    """Drop the queues of visits that are neither `live` nor among the newest whose verdict is still to be fetched."""
    over = [visit for visit in dict.fromkeys((*messages, *unfetched)) if visit not in live]
    waiting = [visit for visit in over if visit in messages and unfetched.get(visit)]
    for visit in set(over) - set(waiting[-MAX_UNFETCHED:]):
        messages.pop(visit, None)
        unfetched.pop(visit, None)


def _keep_newest(entries: MutableMapping[str, Any], most: int, live: Collection[str]) -> None:
    """Drop all but the `live` keys and the `most` newest others."""
    over = [key for key in list(entries) if key not in live]
    for key in over[: max(0, len(over) - most)]:
        entries.pop(key, None)
