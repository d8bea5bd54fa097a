"""A page that is served while its run goes on: on this machine alone, made anew when the folder has changed.

Only the loopback address is bound, only the page's own address is answered, and only to a browser that asked for this
machine by name: a site that points its own name at 127.0.0.1 gets nothing.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rl.page.content import Source
from rl.page.folder import NotARun
from rl.page.html import page_of

__all__ = ["LivePage", "server_of"]

HOST = "127.0.0.1"
REFRESH_SECONDS = 5.0


class LivePage:
    """The newest page of some runs. Thread-safe."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._etag = ""
        self._body = b""

    def newest(self) -> tuple[str, bytes]:
        """Its ETag and its bytes; made only where the folders differ from last time.

        Raises:
            NotARun: a folder is no run any more.
        """
        with self._lock:
            etag = f'"{hashlib.sha256(repr(self._source.state()).encode()).hexdigest()[:32]}"'
            if etag != self._etag:
                page = page_of(self._source.read(), follow_seconds=REFRESH_SECONDS, etag=etag)
                self._body, self._etag = page.encode("utf-8"), etag
            return self._etag, self._body


def server_of(page: LivePage, *, port: int, say: Callable[[str], None]) -> ThreadingHTTPServer:
    """A server of the page on loopback; `port` 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost") or self.path != "/":
                self._answer(404, b"nothing here\n")
                return
            try:
                etag, body = page.newest()
            except (NotARun, OSError) as error:  # the folder is being moved or removed: the browser asks again
                say(f"the page could not be made: {error}")
                self._answer(503, f"{error}\n".encode())
                return
            if self.headers.get("If-None-Match") == etag:
                self._answer(304, b"", ETag=etag)
            else:
                self._answer(200, body, ETag=etag, Content_Type="text/html; charset=utf-8")

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content_Type": "text/plain; charset=utf-8", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are no news."""

    return ThreadingHTTPServer((HOST, port), Handler)
