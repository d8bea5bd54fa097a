"""Plain Python values as JSON text and back, with their exact types: all that crosses between a program and its judge.

Only the built-in types themselves are carried, tested by `type(x) is ...`: a subclass of `int` with an `__eq__` of its
own is refused, and nothing is unpickled, so what arrives is what the host's own comparison sees. Integers of any size,
NaN, -0.0, infinities, bytes, complex numbers and shared or cyclic containers (refused by depth) are covered. Two
documented coercions: `collections` dictionaries (Counter, OrderedDict, defaultdict) arrive as `dict`, and numbers and
arrays of numpy as what their `tolist()` gives.

    null true false "text" 12            themselves (an integer of up to 15 digits)
    [..]                                 a list
    {"i": "-0x1f.."} {"f": "0x1.8p+0"}   a large integer; a float, exactly
    {"t": [..]} {"s": [..]} {"z": [..]}  a tuple, a set, a frozenset
    {"d": [[key, value], ..]}            a dict, in its order
    {"b": "hex"} {"a": "hex"}            bytes, a bytearray
    {"c": [re, im]} {"q": [num, den]} {"m": "1.50"}   complex, Fraction, Decimal
"""

from __future__ import annotations

import collections
import decimal
import fractions
from typing import Any

__all__ = ["ValueTooLarge", "decode", "encode"]

MAX_DEPTH = 100
MAX_NODES = 1_000_000
MAX_FRACTION_BITS = 1 << 15
"""Longest numerator or denominator: a fraction is reduced when it is read, which costs the square of its length."""
MAX_OF_ONE_HASH = 100
"""Most values of one hash among a set's elements or a dict's keys: a table of those costs the square of them."""
_SMALL = 10**15
_DICTS = (dict, collections.Counter, collections.OrderedDict, collections.defaultdict)


class ValueTooLarge(ValueError):
    """More parts, or nested more deeply, than is carried."""


def encode(value: object) -> Any:
    """The value as JSON-able data; TypeError for what is not plain, ValueTooLarge past the caps."""
    return _encode(value, 0, [0])


def _encode(value: Any, depth: int, count: list[int]) -> Any:
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_NODES:
        raise ValueTooLarge(f"a value nested over {MAX_DEPTH} deep or with over {MAX_NODES} parts")
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else {"i": hex(value)}
    if kind is float:
        return {"f": value.hex()}
    if kind is list:
        return [_encode(part, depth + 1, count) for part in value]
    if kind is tuple or kind is set or kind is frozenset:
        name = "t" if kind is tuple else "s" if kind is set else "z"
        return {name: [_encode(part, depth + 1, count) for part in value]}
    if kind in _DICTS:
        pairs = dict.items(value)
        return {"d": [[_encode(k, depth + 1, count), _encode(v, depth + 1, count)] for k, v in pairs]}
    if kind is bytes or kind is bytearray:
        return {"b" if kind is bytes else "a": value.hex()}
    if kind is complex:
        return {"c": [value.real.hex(), value.imag.hex()]}
    if kind is fractions.Fraction:
        _require_short(value.numerator, value.denominator)
        return {"q": [_encode(value.numerator, depth + 1, count), _encode(value.denominator, depth + 1, count)]}
    if kind is decimal.Decimal:
        return {"m": str(value)}
    if kind.__module__ == "numpy" and callable(getattr(value, "tolist", None)):
        return _encode(value.tolist(), depth + 1, count)
    raise TypeError(f"a {kind.__name__} is not plain data")


def decode(data: Any) -> Any:
    """The value of encoded data; ValueError where it is not the code of one. Meets hostile data: strict throughout."""
    return _decode(data, 0)


def _decode(data: Any, depth: int) -> Any:
    if depth > MAX_DEPTH + 1:
        raise ValueTooLarge(f"a value nested over {MAX_DEPTH} deep")
    kind = type(data)
    if data is None or kind is bool or kind is str:
        return data
    if kind is int and -_SMALL < data < _SMALL:
        return data
    if kind is list:
        return [_decode(part, depth + 1) for part in data]
    if kind is not dict or len(data) != 1:
        raise ValueError("not an encoded value")
    ((tag, body),) = data.items()
    if tag in ("i", "f", "b", "a", "m"):
        if type(body) is not str:
            raise ValueError(f"a value tagged {tag!r} needs text")
        return _from_text(tag, body)
    if type(body) is not list:
        raise ValueError(f"a value tagged {tag!r} needs a list")
    return _from_list(tag, body, depth)


def _from_text(tag: str, body: str) -> Any:
    if tag == "i":
        return int(body, 16)
    if tag == "f":
        return float.fromhex(body)
    if tag == "m":
        if len(body) > 10_000:
            raise ValueTooLarge("a Decimal of over 10000 characters")
        try:
            return decimal.Decimal(body)
        except decimal.InvalidOperation:
            raise ValueError("not a Decimal") from None
    return bytes.fromhex(body) if tag == "b" else bytearray.fromhex(body)


def _from_list(tag: str, body: list[Any], depth: int) -> Any:
    if tag == "d":
        if any(type(pair) is not list or len(pair) != 2 for pair in body):
            raise ValueError("a dict is a list of pairs")
        pairs = [(_decode(k, depth + 1), _decode(v, depth + 1)) for k, v in body]
        _require_spread([k for k, _ in pairs])
        return dict(pairs)
    if tag == "c":
        if len(body) != 2 or any(type(part) is not str for part in body):
            raise ValueError("a complex number is two floats")
        return complex(float.fromhex(body[0]), float.fromhex(body[1]))
    parts = [_decode(part, depth + 1) for part in body]
    if tag == "t":
        return tuple(parts)
    if tag == "q":
        if len(parts) != 2 or any(type(part) is not int for part in parts) or parts[1] == 0:
            raise ValueError("a fraction is two integers")
        _require_short(*parts)
        return fractions.Fraction(parts[0], parts[1])
    if tag not in ("s", "z"):
        raise ValueError(f"unknown tag {tag!r}")
    _require_spread(parts)
    return set(parts) if tag == "s" else frozenset(parts)


def _require_short(numerator: int, denominator: int) -> None:
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
        raise ValueTooLarge(f"a fraction of numbers of over {MAX_FRACTION_BITS} bits")


def _require_spread(parts: list[Any]) -> None:
    """Refuse what cannot be hashed, and many values of one hash."""
    try:
        hashes = [hash(part) for part in parts]
    except TypeError:
        raise ValueError("a set's element or a dict's key is not hashable") from None
    if len(parts) > MAX_OF_ONE_HASH and max(collections.Counter(hashes).values()) > MAX_OF_ONE_HASH:
        raise ValueError("too many values of one hash")
