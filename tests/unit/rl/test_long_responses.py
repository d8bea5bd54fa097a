"""The benchmark of long responses: its fits, and that what it measures is an update that learns."""

from __future__ import annotations

import pytest

from benchmarks.long_responses import fit, one_update


def test_a_fit_finds_the_polynomial_that_the_figures_lie_on():
    lengths = (1024, 2048, 4096, 8192)
    line = fit(lengths, [7 + 3 * s / 1024 for s in lengths], degree=1)
    assert line == pytest.approx({"a": 7, "b": 3, "off_percent": 0}, abs=1e-9)
    parabola = fit(lengths, [1 + 2 * s / 1024 + 5 * (s / 1024) ** 2 for s in lengths], degree=2)
    assert parabola == pytest.approx({"a": 1, "b": 2, "c": 5, "off_percent": 0}, abs=1e-9)


def test_a_fit_tells_how_far_a_figure_is_from_it():
    """The line of least relative squares through (1, 1), (2, 3), (3, 3): minimises (a+b-1)^2 + (a+2b-3)^2/9 + ..."""
    found = fit((1024, 2048, 3072), (1.0, 3.0, 3.0), degree=1)
    # Normal equations of weights 1, 1/9, 1/9: 11 a + 14 b = 15, 14 a + 22 b = 24; so a = -6/46, b = 54/46.
    assert (found["a"], found["b"]) == pytest.approx((-6 / 46, 54 / 46))
    assert found["off_percent"] == pytest.approx(100 * (1 - (-6 + 2 * 54) / 46 / 3))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_measured_update_makes_its_response_more_likely(tiny_folder, checkpointing):
    found = one_update(tiny_folder, 40, checkpointing=checkpointing)
    assert found["gain"] > 0 and found["peak_mib"] >= found["base_mib"] > 0
    assert found["update_cpu_s"] > 0 and found["tokens"] == 40
