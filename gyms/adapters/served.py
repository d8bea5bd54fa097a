"""One question to a server over HTTP, bounded as a whole: a deadline for all of it, and a most of bytes.

urllib's own timeout is for each operation of the socket: a server that sends a byte now and then holds its caller for
ever. So a timer shuts the connection down at the deadline, whatever is waited for: the handshake, headers, the next
byte. A session is the cookies that the server sets.

*Whose fault?* No answer at all, one that breaks off, or one that is not what the server's protocol says is the
service's (`ServiceFailed`). One that does not come in time is nobody's yet (`TooSlow`): it may be what was asked.

The proxies of the environment (`http_proxy`, ...) are never used: such servers stand beside the run, and no variable of
a shell decides what is asked. Left out: connections that are kept, an answer that is read while it comes.
"""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.cookiejar import CookieJar
from typing import Any, NamedTuple, Self
from urllib.error import HTTPError, URLError
from urllib.request import HTTPCookieProcessor, HTTPHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from gyms.api import ServiceFailed

__all__ = ["BUSY", "MAX_ANSWER_BYTES", "Answer", "Server", "TooLong", "TooSlow", "check_url", "object_of", "reward_of"]

MAX_ANSWER_BYTES = 32 << 20
"""Longest answer that is read."""
BUSY = frozenset({429, 502, 503, 504})
"""Statuses by which a server, or what stands before it, says that it cannot answer now, whatever was asked."""


class TooSlow(TimeoutError):
    """There was no whole answer in time."""


class TooLong(ServiceFailed):
    """The answer has more bytes than are read."""


class Answer(NamedTuple):
    """What a server said."""

    status: int
    """Of HTTP."""
    text: str
    """The body; bytes that are no UTF-8 became U+FFFD."""


class Server:
    """A server, with a session of its own. Asked by one thread at a time.

    Args:
        url: `http://HOST:PORT`, without a path of a question.
        seconds: longest time of one answer.
        max_bytes: longest answer that is read.
    """

    def __init__(self, url: str, *, seconds: float, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._deadline: _Deadline | None = None
        self._opener = build_opener(
            ProxyHandler({}), _Http(self._connected), _Https(self._connected), HTTPCookieProcessor(CookieJar())
        )

    def get(self, path: str) -> Answer:
        """The answer to a GET; raises as post()."""
        return self._asked(path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """The answer to JSON, of whatever status.

        Raises:
            TooSlow: there was no whole one in time.
            TooLong: it has too many bytes.
            ServiceFailed: there was none, or it broke off.
        """
        return self._asked(path, json.dumps(body).encode())

    def _asked(self, path: str, data: bytes | None) -> Answer:
        request = Request(f"{self._url}/{path}", data, {"Content-Type": "application/json"})
        where = f"url = {self._url!r}: /{path}"
        with _Deadline(self._seconds) as self._deadline:
            is_over = self._deadline.is_over
            try:
                with self._open(request) as answer:
                    found = answer.read(self._max_bytes + 1)
                    status, is_broken_off = answer.status, bool(answer.length) and len(found) <= self._max_bytes
            except URLError as error:  # it could not be reached, or did not take the question
                raise ServiceFailed(f"{where} is not answered: {error.reason}") from error
            except (OSError, HTTPException) as error:
                if is_over() or isinstance(error, TimeoutError):
                    raise TooSlow(f"{where} takes over {self._seconds:g} s") from error
                raise ServiceFailed(f"{where} broke off: {type(error).__name__}: {error}") from error
            if is_over():
                raise TooSlow(f"{where} takes over {self._seconds:g} s")
        if is_broken_off:
            raise ServiceFailed(f"{where} broke off behind {len(found)} bytes of its answer")
        if len(found) > self._max_bytes:
            raise TooLong(f"{where} is answered with more than {self._max_bytes} bytes")
        return Answer(status=status, text=found.decode("utf-8", "replace"))

    def _open(self, request: Request) -> Any:
        try:
            return self._opener.open(request, timeout=self._seconds)
        except HTTPError as error:  # an answer like any other
            return error

    def _connected(self, connection: socket.socket) -> None:
        assert self._deadline is not None
        self._deadline.watch(connection)


def check_url(url: str) -> None:
    """ValueError where a setting `url` is none of a server."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url = {url!r}: expected http://HOST:PORT or https://HOST:PORT")


def object_of(answer: Answer, where: str) -> dict[str, Any]:
    """The JSON object of an answer that must be one; ServiceFailed where it is none."""
    try:
        found = json.loads(answer.text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ServiceFailed(f"{where} answers {answer.text[:300]!r}, expected a JSON object")
    return found


def reward_of(value: Any, where: str) -> float:
    """A reward as a server said it; ServiceFailed where it is no finite number, which is not to become a score."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ServiceFailed(f"{where} gives the reward {value!r:.100}, expected a finite number")
    return float(value)


class _Deadline:
    """Ends the connections of one question when its time is up."""

    def __init__(self, seconds: float) -> None:
        self._is_over = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._timer.cancel()
        self._timer.join()
        for connection in self._sockets:
            connection.close()

    def is_over(self) -> bool:
        return self._is_over

    def watch(self, connection: socket.socket) -> None:
        """Shut this connection down at the deadline."""
        with self._lock:
            self._sockets.append(connection.dup())  # TLS takes the other one away from whoever knows it
            if self._is_over:
                self._shut_down()

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
            self._shut_down()

    def _shut_down(self) -> None:
        for connection in self._sockets:
            with suppress(OSError):  # the server was quicker
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(HTTPConnection):
    """Hands its socket over before anything is said on it, TLS's handshake included."""

    connected: Callable[[socket.socket], None]

    def connect(self) -> None:
        super().connect()
        self.connected(self.sock)


class _TlsConnection(HTTPSConnection, _Connection):
    """HTTPSConnection.connect asks the next class for its connection, and wraps it then."""


class _Http(HTTPHandler):
    def __init__(self, connected: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connected = connected

    def http_open(self, req: Request) -> Any:
        return self.do_open(_maker(_Connection, self._connected), req)


class _Https(HTTPSHandler):
    def __init__(self, connected: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connected = connected

    def https_open(self, req: Request) -> Any:
        return self.do_open(_maker(_TlsConnection, self._connected), req)


def _maker(kind: type[_Connection], connected: Callable[[socket.socket], None]) -> Any:
    """What urllib calls for a connection."""

    def make(host: str, **facts: Any) -> _Connection:
        made = kind(host, **facts)
        made.connected = connected
        return made

    return make
