"""Values across the wall: exact types both ways, and nothing that a hostile program writes does harm."""

from __future__ import annotations

import collections
import contextlib
import decimal
import fractions
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.sandbox.inside.values import ValueTooLarge, decode, encode
from gyms.sandbox.results import read_last_line, read_results
from tests.growth import grows_linearly

HASHABLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    HASHABLE | st.complex_numbers(allow_nan=False) | st.fractions() | st.decimals(allow_nan=False),
    lambda part: (
        st.lists(part, max_size=4)
        | st.tuples(part, part)
        | st.sets(HASHABLE, max_size=4)
        | st.frozensets(HASHABLE, max_size=4)
        | st.dictionaries(HASHABLE, part, max_size=4)
    ),
    max_leaves=10,
)


def there_and_back(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


def typed(value: Any) -> Any:
    """A value with the types of all its parts."""
    if isinstance(value, dict):
        return dict, [(typed(k), typed(v)) for k, v in value.items()]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, value))
    if isinstance(value, list | tuple):
        return type(value), [typed(part) for part in value]
    return type(value), repr(value)


@given(PLAIN)
def test_a_plain_value_arrives_with_its_exact_types(value: Any) -> None:
    assert typed(there_and_back(value)) == typed(value)


def test_odd_numbers_arrive_as_they_are() -> None:
    assert math.isnan(there_and_back(math.nan))
    assert math.copysign(1, there_and_back(-0.0)) == -1
    assert there_and_back(-(10**20_000)) == -(10**20_000)
    assert there_and_back([math.inf, -math.inf, 5e-324]) == [math.inf, -math.inf, 5e-324]
    assert there_and_back("\ud800\x00") == "\ud800\x00"
    assert type(there_and_back(bytearray(b"x"))) is bytearray


class Equal(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize(
    "value", [Equal(3), [Equal(3)], {Equal(3): 1}, object(), range(3), iter([]), len, int, Ellipsis]
)
def test_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_dictionaries_of_collections_arrive_as_dict() -> None:
    for value in (
        collections.Counter("aab"),
        collections.OrderedDict(a=2, b=1),
        collections.defaultdict(int, a=2, b=1),
    ):
        assert typed(there_and_back(value)) == typed({"a": 2, "b": 1})


def test_depth_and_cycles_are_capped() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueTooLarge):
        encode(cycle)
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ValueTooLarge):
        decode(deep)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: (
        st.lists(part, max_size=3)
        | st.dictionaries(
            st.sampled_from(["i", "f", "t", "s", "z", "d", "b", "a", "c", "q", "m", "x"]), part, max_size=2
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_a_value_or_a_value_error(data: Any) -> None:
    with contextlib.suppress(ValueError, OverflowError):
        decode(data)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes_on_the_result_channel_are_read_without_an_error(data: bytes, num_calls: int) -> None:
    assert len(read_results(data, num_calls).outcomes) <= num_calls
    read_last_line(data)


@given(st.lists(st.fixed_dictionaries({"n": st.integers(-2, 3), "v": JSON}), max_size=6))
def test_results_count_in_order_alone(lines: list[Any]) -> None:
    data = b'{"n": -1, "v": true}\n' + b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    expected = 0
    for line in lines[:4]:
        if line["n"] != expected:
            break
        expected += 1
    assert len(read_results(data, 4).outcomes) == expected


def test_a_line_that_was_cut_off_is_none() -> None:
    loaded = b'{"n": -1, "v": true}\n'
    assert read_results(loaded + b'{"n": 0, "v": 12', 1).outcomes == ()
    assert read_results(loaded + b'{"n": 0, "v": 12}\n', 1).outcomes[0].value == 12
    assert read_last_line(b'{"cases": []}') is None


def test_colliding_hashes_take_linear_time() -> None:
    step = 2**61 - 1  # the modulus of hash(int)

    def read(ones: str) -> str:
        collisions = json.dumps({"s": [{"i": hex(step * n)} for n in range(len(ones))]}).encode()
        lines = [b'{"n": -1, "v": true}', b'{"n": 0, "v": ' + collisions + b"}", b""]
        return read_results(b"\n".join(lines), 1).outcomes[0].error

    assert "one hash" in read("1" * 50_000)
    assert grows_linearly(read, "1", size=2_000)


def test_nesting_and_digit_bombs_are_no_values() -> None:
    nested = b'{"n": 0, "v": ' + b"[" * 500_000 + b"\n"
    assert read_results(b'{"n": -1, "v": true}\n' + nested, 1).outcomes == ()
    digits = b'{"n": 0, "v": ' + b"9" * 1_000_000 + b"}\n"
    assert read_results(b'{"n": -1, "v": true}\n' + digits, 1).outcomes == ()


def test_values_of_many_hashes_are_carried_even_where_half_share_one() -> None:
    step = 2**61 - 1
    mixed = {"s": [*range(1, 5001), *({"i": hex(step * n)} for n in range(1 << 10, 5000))]}
    with pytest.raises(ValueError, match="one hash"):
        decode(mixed)
    powers = {2.0**n for n in range(1000)}
    assert there_and_back(powers) == powers


def test_long_fractions_are_refused_before_they_are_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two numbers of n bits cost n squared to reduce: a million bits took seconds each, a channel holds several."""
    long = {"i": hex(3**1_000_000)}
    with monkeypatch.context() as patched:
        patched.setattr(fractions, "Fraction", lambda *parts: pytest.fail("reduced what it was to refuse"))
        for fraction in ([long, {"i": hex(7**700_000)}], [1, long], [long, 1]):
            with pytest.raises(ValueTooLarge):
                decode({"q": fraction})
    with pytest.raises(ValueTooLarge):
        encode(fractions.Fraction(1, 3**100_000))
    assert there_and_back(fractions.Fraction(1, 3**9000)) == fractions.Fraction(1, 3**9000)


def test_exact_numbers_of_the_library_are_carried() -> None:
    assert there_and_back(fractions.Fraction(-1, 3)) == fractions.Fraction(-1, 3)
    assert there_and_back(decimal.Decimal("1.50")).as_tuple() == decimal.Decimal("1.50").as_tuple()
