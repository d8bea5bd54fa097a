"""Settings that all tests share: what is drawn, and how long it may take.

Every test draws the same on every machine and in any order: the generators that libraries share are seeded from the
test's id before it runs. A test that wants several draws takes seeds as parameters.
"""

import gc
import os
import random
import sys
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from gyms.sandbox import Sandbox, SandboxError, open_sandbox
from tests.scheduling import (  # noqa: F401 - hooks
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_setup,
    pytest_terminal_summary,
)

# A busy machine must not fail a test: examples may take as long as pytest's own timeout allows. Developers look for new
# examples, which are kept in .hypothesis; what a change must pass is always the same.
SHARED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("house", **SHARED)
settings.register_profile("house-ci", derandomize=True, database=None, **SHARED)
settings.load_profile("house-ci" if os.environ.get("CI") == "true" else "house")


NUM_HIDDEN = pytest.StashKey[int]()
MANY = 200
"""Modules that make it worth a search through all of them: torch is 1,100, vLLM 3,600 more."""


def seed_all(name: str) -> None:
    """Seed the shared generators from a name. What is not imported is not drawn from, and stays unimported."""
    seed = zlib.crc32(name.encode())
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if torch := sys.modules.get("torch"):
        # torch.manual_seed writes down the stack for every kind of device that is not there: 0.3 ms a test
        (torch if torch.cuda.is_available() else torch.default_generator).manual_seed(seed)


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    seed_all(request.node.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    gc.disable()
    try:
        return (yield)
    finally:
        hide_imports(session)
        gc.enable()


def hide_imports(session: pytest.Session) -> None:
    """What is imported stays: no search for garbage, for which many tests ask too, need look through all of it."""
    gc.collect()
    gc.freeze()
    session.stash[NUM_HIDDEN] = len(sys.modules)


@pytest.fixture(scope="module", autouse=True)
def imports_are_hidden(request: pytest.FixtureRequest) -> None:
    """Also what a file before has imported, such as vLLM, whose engines show all again when they are closed."""
    num_new = len(sys.modules) - request.session.stash[NUM_HIDDEN]
    if num_new > MANY or gc.get_freeze_count() == 0:
        hide_imports(request.session)


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # extensions complain of what the interpreter's end does not find


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    """What tests share draws the same whichever of them comes first."""
    if fixturedef.scope != "function":
        seed_all(f"{fixturedef.baseid}::{fixturedef.argname}")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """The best tier that works here."""
    try:
        box = open_sandbox()
    except SandboxError as error:
        pytest.skip(str(error))
    yield box
    box.close()
