"""A small HTTP server on loopback whose answers a test writes: those of a good server, and of all bad ones."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["Answering", "answering", "break_off", "drip_body", "drip_headers", "endless", "said", "server_process"]

POLL_SECONDS = 0.01
"""How long a server that is told to stop goes on; half a second unless told, at the end of each test that has one."""

Saying = Callable[[BaseHTTPRequestHandler, Any], None]


class Answering:
    """The server's address, what it answers, and what it was asked."""

    def __init__(self, url: str, answers: dict[str, Saying]) -> None:
        self.url = url
        self.answers = answers
        """Path -> what says the answer, given the body that was sent; tests may change it. Others get a 404."""
        self.asked: list[tuple[str, Any]] = []
        """Paths and bodies, in order."""


@contextlib.contextmanager
def answering(**answers: Saying) -> Iterator[Answering]:
    """A server with these answers, by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(None)

        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, body: Any) -> None:
            found.asked.append((self.path[1:], body))
            with contextlib.suppress(OSError):  # who asked has left
                found.answers.get(self.path[1:], said("no such path", status=404))(self, body)

        def log_message(self, *told: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Answering(f"http://127.0.0.1:{server.server_port}", answers)
        threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
        yield found
        server.shutdown()


@contextlib.contextmanager
def server_process(script: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A package's own server, in a process: its address, and the process, which ends with the context.

    The script is told the descriptor of a socket that listens already. So there is no port that another program could
    take meanwhile, and a question waits until it is answered, or fails where the process has ended.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, str(script), str(listening.fileno())]
        process = subprocess.Popen(command, pass_fds=[listening.fileno()], cwd=script.parent)
        host, port = listening.getsockname()
    try:
        yield f"http://{host}:{port}", process
    finally:
        process.kill()
        process.wait()


def said(body: Any, *, status: int = 200, **headers: str) -> Saying:
    """An answer: a text as it is, all else as JSON."""

    def say(handler: BaseHTTPRequestHandler, asked: Any) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return say


def drip_body(handler: BaseHTTPRequestHandler, asked: Any) -> None:
    """A byte now and then, for ever."""
    handler.send_response(200)
    handler.end_headers()
    _drip(handler)


def drip_headers(handler: BaseHTTPRequestHandler, asked: Any) -> None:
    """The same, before the headers have ended."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
    _drip(handler)


def endless(handler: BaseHTTPRequestHandler, asked: Any) -> None:
    """As many bytes as somebody takes."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * (1 << 20))


def break_off(handler: BaseHTTPRequestHandler, asked: Any) -> None:
    """Less than was promised."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"reward": 1.0}')


def _drip(handler: BaseHTTPRequestHandler) -> None:
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.02)
