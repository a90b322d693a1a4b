"""Limits of the page's connections: how many there may be, and how long each may take to send the head of a request.

Uvicorn, which serves the page, has no such limits; a client that sends half a request would keep its connection, and
with it an open file, for ever. What is used of Uvicorn's protocols are `client`, `connections` and `cycle`, the request
that is answered or was answered last.
"""

import asyncio
from typing import Any

HEAD_SECONDS = 10.0
# Processes have 1,024 open files as a rule; visitors behind one proxy are one client.
MAX_CONNECTIONS, MAX_OF_CLIENT = 640, 256


def limit(server: Any) -> None:
    """Set the limits for all connections to come to a running server of Uvicorn's."""
    server.config.http_protocol_class = _limited(server.config.http_protocol_class)


def _limited(protocol: Any) -> Any:
    class Limited(protocol):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            host = self.client and self.client[0]
            of_client = sum(bool(other.client) and other.client[0] == host for other in self.connections)
            if len(self.connections) > MAX_CONNECTIONS or of_client > MAX_OF_CLIENT:
                transport.abort()
            else:
                self._check_later(None)

        def _check_later(self, idle_since: object) -> None:
            asyncio.get_running_loop().call_later(HEAD_SECONDS, self._check, idle_since)

        def _check(self, idle_since: object) -> None:
            """Cut off a client that sent no whole head since a check before; `idle_since` is the last request then."""
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self.cycle is idle_since:
                self.transport.abort()
            elif not self.transport.is_closing():
                self._check_later(self.cycle if idle else self)

    return Limited
