"""Sandboxes under every tier that works here, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gyms.sandbox import Program, Sandbox, open_sandbox
from tests.integration.sandbox.patience import PATIENT
from tests.integration.sandbox.tiers import working_tiers
from tests.integration.sandbox.traces import Watch, own_temporary_folder, wait_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the sandboxes of a module, and those alone, keep their files."""
    tmp_path_factory.getbasetemp()  # not within: files that follow use it too
    with own_temporary_folder() as path:
        yield path


@pytest.fixture(scope="module")
def watch(folder: Path) -> Watch:
    return Watch()


@pytest.fixture(scope="module", params=working_tiers())
def sandbox(request: pytest.FixtureRequest, watch: Watch) -> Iterator[Sandbox]:
    opened = open_sandbox(request.param)
    assert opened.run(Program(source="print('warm')")).stdout == b"warm\n"
    opened.open().close()  # from here on, what lasts of a first one is there
    yield opened
    opened.close()


@pytest.fixture
def clean(request: pytest.FixtureRequest, watch: Watch) -> Iterator[None]:
    """What there is of a sandbox is as much after a test as before it, and the next program runs as ever."""
    if "sandbox" not in request.fixturenames:
        yield
        return
    box = request.getfixturevalue("sandbox")
    before = watch.settled()
    yield
    assert wait_for(lambda: watch.traces() == before), (before, watch.traces())
    assert box.run(Program(source="print(6 * 7)", limits=PATIENT)).stdout == b"42\n"
