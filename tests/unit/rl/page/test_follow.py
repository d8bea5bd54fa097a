"""A page that is served: on this machine alone, and anew when the folder has changed."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator

import pytest

from rl.page.content import Source
from rl.page.follow import LivePage, server_of
from tests.run_folders import response, siblings, write_run, write_step

GROUPS = [siblings(0, response("3"), response("4", 0.0))]


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", [GROUPS], is_done=False)


@pytest.fixture
def port(folder) -> Iterator[int]:
    page = LivePage(Source([folder.path], max_samples=100, keeps=True))
    with server_of(page, port=0, say=lambda text: None) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def asked(port: int, path: str = "/", **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers.get("ETag", ""), body


def test_a_page_is_sent_once_and_again_when_a_step_was_written(port, folder):
    status, etag, body = asked(port)
    assert status == 200 and body.startswith(b"<!doctype html>") and b'id="texts-0-0"' in body
    assert asked(port, If_None_Match=etag)[::2] == (304, b"")
    write_step(folder, 1, GROUPS)
    status, newer, body = asked(port, If_None_Match=etag)
    assert status == 200 and newer != etag and b'id="texts-0-1"' in body


def test_only_the_page_is_served_and_only_under_this_machines_name(port):
    assert asked(port, "/../../etc/passwd")[0] == 404
    assert asked(port, "/config.json")[0] == 404
    assert asked(port, Host="example.org")[0] == 404
    assert asked(port, Host=f"localhost:{port}")[0] == 200


def test_a_folder_that_is_gone_for_a_while_is_told_and_not_the_end(port, folder):
    away = folder.path.with_name("away")
    folder.path.rename(away)
    status, _, body = asked(port)
    assert status == 503 and b"is no folder" in body
    away.rename(folder.path)
    assert asked(port)[0] == 200
