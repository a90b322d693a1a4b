"""Visits that are over are forgotten.

The page's library keeps a queue of messages for each of the last 2,000 visits, with the verdicts that nobody fetched,
and a name or two for every visit and upload there ever was. What no request asks for any more is let go here.
"""

from collections.abc import Callable, Collection, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# Who has asked for a verdict, or sent a file, asks for what became of it a moment later.
UNFETCHED = 64
LOGINS = 1024


class Visits:
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


def forget(blocks: Any, uploads: Any, asked: Collection[str]) -> None:
    """Forget the visits and uploads that no request of `asked` is about, on the thread that answers requests.

    `blocks` is the page, `uploads` the library's record of uploads. Where a newer library names or keeps things
    differently, nothing is forgotten.
    """
    found = _attributes(
        getattr(blocks, "_queue", None),
        "pending_messages_per_session",
        "pending_event_ids_session",
        "event_ids_to_events",
    )
    if found:
        messages, unfetched, events = found
        running: set[Any] = {getattr(event, "session_hash", None) for event in events.values()}
        if None not in running:
            _forget_visits(messages, unfetched, {*asked, *running})
    if found := _attributes(uploads, "_signals", "_statuses"):
        signals, statuses = found
        _keep_newest(statuses, UNFETCHED, asked)
        _keep_newest(signals, 0, {*asked, *statuses})
    if found := _attributes(getattr(blocks, "app", None), "tokens"):
        _keep_newest(found[0], LOGINS, ())
    if found := _attributes(blocks, "temp_file_sets"):
        # Names of uploads, which are deleted once read.
        for names in found[0]:
            names.clear()


def _forget_visits(
    messages: MutableMapping[str, Any], unfetched: MutableMapping[str, Collection[str]], live: Collection[str]
) -> None:
    """Drop the queues of visits that are neither `live` nor among the newest whose verdict is still to be fetched."""
    over = [visit for visit in dict.fromkeys((*messages, *unfetched)) if visit not in live]
    waiting = [visit for visit in over if visit in messages and unfetched.get(visit)]
    for visit in set(over) - set(waiting[-UNFETCHED:]):
        messages.pop(visit, None)
        unfetched.pop(visit, None)


def _keep_newest(kept: MutableMapping[str, Any], most: int, live: Collection[str]) -> None:
    """Drop all but the `live` keys and the `most` newest others."""
    over = [key for key in list(kept) if key not in live]
    for key in over[: max(0, len(over) - most)]:
        kept.pop(key, None)


def _attributes(owner: Any, *names: str) -> list[Any]:
    """Attributes of an object: all of them, or none."""
    found = [getattr(owner, name, None) for name in names]
    return [] if None in found else found
