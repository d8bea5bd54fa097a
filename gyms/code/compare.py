"""Whether a value is the expected one. Runs on the host, on plain decoded data, with the host's own operators.

    json        the default for tests as data: the value as JSON would carry it equals the expected one, so a tuple
                matches a list and the key 1 matches "1", because a task written as JSON cannot say otherwise. Where the
                expected value holds what JSON has not (a tuple, a set), types must agree
    exact       same types at every depth; integers and floats of equal value agree, booleans are not numbers
    python      Python's `==`, as in the assert that the test was
    tolerance   numbers within `tolerance`, relative or absolute; all else as `json`
    unordered   lists and tuples at every depth without order, each element as often
    multiset    the outermost list or tuple without order, each element as often
    set         the outermost list, tuple or set as a set: order and repetition do not matter

NaN equals NaN (but for `python`), -0.0 equals 0.0. For standard output:

    lines       the default: line by line, without white space at line ends and empty lines at the end
    exact       to the byte, but for one newline at the end
    tokens      the words in order, whatever white space is between them
    tolerance   words in order, numbers within `tolerance`
    unordered, multiset   lines in any order, each as often;  set: lines as a set
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gyms.sandbox.inside import values

__all__ = ["OUTPUT_COMPARATORS", "VALUE_COMPARATORS", "outputs_match", "values_match"]

VALUE_COMPARATORS = ("json", "exact", "python", "tolerance", "unordered", "multiset", "set")
OUTPUT_COMPARATORS = ("lines", "exact", "tokens", "tolerance", "unordered", "multiset", "set")
MAX_UNORDERED = 2000
"""Longest list compared without order element by element; its elements may not be hashable, which costs squares."""
_MAX_NUMBER_CHARS = 400
_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]++\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)", re.IGNORECASE)
"""A number as contest programs print it; `float` also reads `1_0` and digits of other scripts."""
Equal = Callable[[Any, Any], bool]


def values_match(comparator: str, expected: Any, value: Any, tolerance: float = 1e-6) -> bool:
    """Whether a decoded value is the expected one under the named comparator."""
    if comparator not in VALUE_COMPARATORS:
        raise ValueError(f"comparator {comparator!r}: expected one of {', '.join(VALUE_COMPARATORS)}")
    try:
        return _matches(comparator, expected, value, tolerance)
    except (ArithmeticError, RecursionError, TypeError, ValueError):  # a signalling NaN, an int past float
        return False


def _matches(comparator: str, expected: Any, value: Any, tolerance: float) -> bool:
    if comparator == "python":
        return bool(expected == value)
    if comparator == "exact":
        return _same(expected, value, _equal_numbers)
    if comparator == "json":
        return _same_json(expected, value, _equal_numbers)
    if comparator == "tolerance":
        return _same_json(expected, value, lambda a, b: _close(a, b, tolerance))
    if comparator == "unordered":
        return _same_unordered(expected, value)
    if not _is_sequence(expected, comparator) or not _is_sequence(value, comparator):
        return _same_json(expected, value, _equal_numbers)
    if comparator == "multiset":
        return _as_multisets(list(expected), list(value), lambda a, b: _same_json(a, b, _equal_numbers))
    return _covers(expected, value) and _covers(value, expected)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _equal_numbers(expected: Any, value: Any) -> bool:
    return bool(expected == value) or (expected != expected and value != value)


def _close(expected: Any, value: Any, tolerance: float) -> bool:
    if expected == value or (expected != expected and value != value):
        return True
    return math.isclose(expected, value, rel_tol=tolerance, abs_tol=tolerance)


def _same(expected: Any, value: Any, equal: Equal) -> bool:
    """Same types at every depth."""
    if _is_number(expected) and _is_number(value):
        return equal(expected, value)
    if type(expected) is not type(value):
        return False
    if isinstance(expected, list | tuple):
        return len(expected) == len(value) and all(_same(a, b, equal) for a, b in zip(expected, value, strict=True))
    if isinstance(expected, dict):
        return _typed(expected) == _typed(value) and all(
            _same(part, value[key], equal) for key, part in expected.items()
        )
    if isinstance(expected, set | frozenset):
        return _typed(expected) == _typed(value)
    return bool(expected == value)


def _typed(keys: Iterable[Any]) -> set[Any]:
    """Keys, or elements of a set, that equal only keys of the same types: to Python True and 1 are one key."""
    return {_typed_key(key) for key in keys}


def _typed_key(key: Any) -> Any:
    if isinstance(key, bool):
        return bool, key
    if isinstance(key, tuple):
        return tuple, tuple(map(_typed_key, key))
    return (frozenset, frozenset(_typed(key))) if isinstance(key, frozenset) else key


def _same_json(expected: Any, value: Any, equal: Equal) -> bool:
    """As `_same`, with what JSON cannot tell apart taken as equal."""
    if type(expected) is list and type(value) in (list, tuple):
        return len(expected) == len(value) and all(
            _same_json(a, b, equal) for a, b in zip(expected, value, strict=True)
        )
    if type(expected) is tuple and type(value) is tuple:
        return _same_json(list(expected), value, equal)
    if type(expected) is dict and type(value) is dict:
        found = _under_keys_of(expected, value)
        return found is not None and all(_same_json(part, found[key], equal) for key, part in expected.items())
    return _same(expected, value, equal)


def _under_keys_of(expected: Mapping[Any, Any], value: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """A dict by the expected keys, where it has just these, as they are or as JSON writes them."""
    if len(expected) != len(value):
        return None  # and no two keys become one
    if _typed(expected) == _typed(value):
        return value
    written = {_json_key(key): part for key, part in value.items()}
    return written if expected.keys() == written.keys() else None


def _json_key(key: Any) -> Any:
    if key is None or type(key) is bool:
        return {None: "null", True: "true", False: "false"}[key]
    return str(key) if type(key) is int and abs(key) < 10**18 else repr(key) if type(key) is float else key


def _is_sequence(value: Any, comparator: str) -> bool:
    return type(value) in ((list, tuple, set, frozenset) if comparator == "set" else (list, tuple))


def _same_unordered(expected: Any, value: Any) -> bool:
    if type(expected) in (list, tuple) and type(value) in (list, tuple):
        return _as_multisets(list(expected), list(value), _same_unordered)
    if type(expected) is dict and type(value) is dict:
        found = _under_keys_of(expected, value)
        return found is not None and all(_same_unordered(part, found[key]) for key, part in expected.items())
    return _same_json(expected, value, _equal_numbers)


def _as_multisets(expected: list[Any], value: list[Any], same: Equal) -> bool:
    """Whether each element has its own counterpart; `same` is an equivalence, so the first one found will do."""
    if len(expected) != len(value):
        return False
    if sorted(map(_text, expected)) == sorted(map(_text, value)):
        return True  # the common case, without squares
    if len(expected) > MAX_UNORDERED:
        return False
    left = list(value)
    for part in expected:
        place = next((i for i, other in enumerate(left) if same(part, other)), None)
        if place is None:
            return False
        left.pop(place)
    return True


def _text(value: Any) -> str:
    """A text that only equal values have; `repr`, but for integers of more digits than it prints."""
    try:
        return repr(value)
    except ValueError:
        return json.dumps(values.encode(value))


def _covers(some: Iterable[Any], others: Iterable[Any]) -> bool:
    """Every element of `others` has an equal one in `some`."""
    known = list(some)
    texts = {_text(part) for part in known}
    rest = [part for part in others if _text(part) not in texts]
    if len(rest) * len(known) > MAX_UNORDERED**2:
        return False
    return all(any(_same_json(part, other, _equal_numbers) for other in known) for part in rest)


def outputs_match(comparator: str, expected: str, output: bytes, tolerance: float = 1e-6) -> bool:
    """Whether standard output is the expected text under the named comparator."""
    try:
        text = output.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if comparator == "exact":
        return expected.removesuffix("\n") == text.removesuffix("\n")
    if comparator == "tokens":
        return expected.split() == text.split()
    if comparator == "tolerance":
        wanted, found = expected.split(), text.split()
        return len(wanted) == len(found) and all(
            _same_word(a, b, tolerance) for a, b in zip(wanted, found, strict=True)
        )
    wanted_lines, found_lines = _lines(expected), _lines(text)
    if comparator == "lines":
        return wanted_lines == found_lines
    if comparator in ("unordered", "multiset"):
        return sorted(wanted_lines) == sorted(found_lines)
    if comparator == "set":
        return set(wanted_lines) == set(found_lines)
    raise ValueError(f"comparator {comparator!r}: expected one of {', '.join(OUTPUT_COMPARATORS)}")


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.replace("\r\n", "\n").rstrip().split("\n")]


def _same_word(expected: str, word: str, tolerance: float) -> bool:
    if expected == word:
        return True
    if len(expected) > _MAX_NUMBER_CHARS or len(word) > _MAX_NUMBER_CHARS:
        return False
    if not _NUMBER.fullmatch(expected) or not _NUMBER.fullmatch(word):
        return False
    wanted, found = float(expected), float(word)
    is_past_floats = (math.isinf(wanted) and expected[-1].isdigit()) or (math.isinf(found) and word[-1].isdigit())
    return not is_past_floats and _close(wanted, found, tolerance)
