"""Where ranks find one another. That they do: tests/contract/rl/test_ranks.py, tests/integration/test_nodes.py."""

from __future__ import annotations

import socket

import pytest

from rl.ranks import _link_to, open_store


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((request.param, 0))
        except OSError as error:
            pytest.skip(f"this machine has no {request.param}: {error}")
    return request.param


def test_the_link_to_a_host_is_the_interface_that_has_the_address_from_which_it_is_reached(host: str) -> None:
    assert _link_to(host, 9) == socket.if_indextoname(1)  # Linux: the loopback interface is the first


def test_the_store_is_reached_under_the_address_that_it_was_opened_for(host: str) -> None:
    store = open_store(host, seconds=10.0)
    with socket.create_connection((host, store.port), timeout=10.0):
        pass
