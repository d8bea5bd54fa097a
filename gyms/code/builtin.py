"""Small hand-written problems, so that the gym has tasks without any data set; train and held-out share none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PROBLEMS"]


def _problem(name: str, text: str, solution: str, *tests: tuple[str, Any]) -> Mapping[str, Any]:
    return {
        "entry_point": name,
        "text": text,
        "solution": solution,
        "tests": [{"call": call, "expected": expected} for call, expected in tests],
    }


_TRAIN = (
    _problem(
        "count_vowels",
        "Write a function `count_vowels(text)` that returns how many of the letters a, e, i, o, u, in either case, "
        "stand in `text`.",
        "def count_vowels(text):\n    return sum(letter in 'aeiou' for letter in text.lower())\n",
        ("count_vowels('stone bridge')", 4),
        ("count_vowels('')", 0),
        ("count_vowels('RHYTHM')", 0),
        ("count_vowels('AEIOUaeiou')", 10),
    ),
    _problem(
        "running_total",
        "Write a function `running_total(numbers)` that returns the list of the sums of the first 1, 2, 3, ... of the "
        "numbers.",
        "def running_total(numbers):\n    totals, total = [], 0\n    for number in numbers:\n        total += number\n"
        "        totals.append(total)\n    return totals\n",
        ("running_total([1, 2, 3, 4])", [1, 3, 6, 10]),
        ("running_total([])", []),
        ("running_total([5, -5, 2])", [5, 0, 2]),
    ),
    _problem(
        "is_leap_year",
        "Write a function `is_leap_year(year)` that returns whether a year is a leap year of the Gregorian calendar.",
        "def is_leap_year(year):\n    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)\n",
        ("is_leap_year(2024)", True),
        ("is_leap_year(1900)", False),
        ("is_leap_year(2000)", True),
        ("is_leap_year(2023)", False),
    ),
    _problem(
        "second_largest",
        "Write a function `second_largest(numbers)` that returns the second largest of the different values in a list, "
        "or None where there are fewer than two.",
        "def second_largest(numbers):\n    values = sorted(set(numbers))\n"
        "    return values[-2] if len(values) > 1 else None\n",
        ("second_largest([4, 9, 7, 9])", 7),
        ("second_largest([3, 3])", None),
        ("second_largest([-1, -5])", -5),
    ),
    _problem(
        "group_by_length",
        "Write a function `group_by_length(words)` that returns a dictionary from each length to the sorted list "
        "of the words of that length.",
        "def group_by_length(words):\n    groups = {}\n    for word in sorted(words):\n"
        "        groups.setdefault(len(word), []).append(word)\n    return groups\n",
        ("group_by_length(['oak', 'elm', 'maple'])", {3: ["elm", "oak"], 5: ["maple"]}),
        ("group_by_length([])", {}),
    ),
    _problem(
        "digits_sum",
        "Write a function `digits_sum(number)` that returns the sum of the decimal digits of an integer, sign ignored.",
        "def digits_sum(number):\n    return sum(map(int, str(abs(number))))\n",
        ("digits_sum(1234)", 10),
        ("digits_sum(-905)", 14),
        ("digits_sum(0)", 0),
    ),
    _problem(
        "transpose",
        "Write a function `transpose(rows)` that returns a matrix, given as a list of rows, with rows and columns "
        "exchanged.",
        "def transpose(rows):\n    return [list(column) for column in zip(*rows)]\n",
        ("transpose([[1, 2, 3], [4, 5, 6]])", [[1, 4], [2, 5], [3, 6]]),
        ("transpose([[7]])", [[7]]),
    ),
    _problem(
        "longest_run",
        "Write a function `longest_run(items)` that returns the length of the longest run of equal items.",
        "def longest_run(items):\n    best = current = 0\n    for place, item in enumerate(items):\n"
        "        current = current + 1 if place and items[place - 1] == item else 1\n"
        "        best = max(best, current)\n    return best\n",
        ("longest_run([1, 1, 2, 2, 2, 3])", 3),
        ("longest_run([])", 0),
        ("longest_run(['a'])", 1),
    ),
)
_HELDOUT = (
    _problem(
        "caesar",
        "Write a function `caesar(text, shift)` that moves every letter a-z by `shift` places, round the end of the "
        "alphabet, and leaves all other characters.",
        "def caesar(text, shift):\n    move = lambda c: chr((ord(c) - 97 + shift) % 26 + 97)\n"
        "    return ''.join(move(c) if 'a' <= c <= 'z' else c for c in text)\n",
        ("caesar('xyz!', 3)", "abc!"),
        ("caesar('hello', 0)", "hello"),
        ("caesar('abc', -1)", "zab"),
    ),
    _problem(
        "primes_below",
        "Write a function `primes_below(limit)` that returns the list of all primes below `limit`, in order.",
        "def primes_below(limit):\n    is_prime = lambda n: all(n % d for d in range(2, int(n**0.5) + 1))\n"
        "    return [n for n in range(2, limit) if is_prime(n)]\n",
        ("primes_below(20)", [2, 3, 5, 7, 11, 13, 17, 19]),
        ("primes_below(2)", []),
        ("primes_below(3)", [2]),
    ),
    _problem(
        "flatten",
        "Write a function `flatten(nested)` that returns all items of nested lists, to any depth, as one flat list.",
        "def flatten(nested):\n    flat = []\n    for item in nested:\n"
        "        flat.extend(flatten(item) if isinstance(item, list) else [item])\n    return flat\n",
        ("flatten([1, [2, [3, [4]]], 5])", [1, 2, 3, 4, 5]),
        ("flatten([[], [[]]])", []),
    ),
    _problem(
        "mean_and_spread",
        "Write a function `mean_and_spread(numbers)` that returns a pair: the mean of the numbers, and the difference "
        "of the largest and the smallest.",
        "def mean_and_spread(numbers):\n    return sum(numbers) / len(numbers), max(numbers) - min(numbers)\n",
        ("mean_and_spread([1, 2, 6])", (3.0, 5)),
        ("mean_and_spread([4])", (4.0, 0)),
    ),
)
PROBLEMS: Mapping[str, tuple[Mapping[str, Any], ...]] = {"train": _TRAIN, "heldout": _HELDOUT}
"""Problems of each split, as task data."""
