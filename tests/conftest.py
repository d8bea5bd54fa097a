"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

from tests.scheduling import (  # noqa: F401 - hooks
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_setup,
    pytest_terminal_summary,
)

# A busy machine must not fail a test: examples may take as long as pytest's own timeout allows.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
