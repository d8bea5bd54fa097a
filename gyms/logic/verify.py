r"""Verifying answers to reasoning-gym's puzzles: no partial credit, no model text in `eval`, junk pays nothing.

reasoning-gym's own `score_answer` was made for evaluation, and as a reward it leaks: the default pays
`len(oracle) / len(answer)` to any text that holds the oracle, `game_of_life_halting` pays 1.0 for "I don't know",
`puzzle24` pays for 24 made of any numbers, `gsm_symbolic` takes the first number of anything, several datasets hand the
answer to `eval` or to sympy's `parse_expr`, which is the same. So every dataset is verified in one of three ways:

- *exactly* (the default): the answer equals the dataset's own one. Whitespace, the quotes of a list's items, a number's
  trailing zeros and, where case carries nothing, case do not count.
- *by rules*: several answers are right, and reasoning-gym checks the puzzle's constraints. Its check is called only if
  the whole answer matches the dataset's grammar (SHAPES), and only its full mark counts.
- *by us*: arithmetic puzzles, integrals (gyms/logic/formulas.py), assignments and some boards (gyms/logic/boards.py),
  where its check is wrong or evaluates model text.
"""

from __future__ import annotations

import ast
import copy
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from gyms.logic.boards import BOARDS
from gyms.logic.formulas import is_antiderivative, is_expanded_product

__all__ = ["CHECKS", "SHAPES", "Entry", "RuleChecker", "is_right", "is_same"]

Entry = Mapping[str, Any]
RuleChecker = Callable[[str, dict[str, Any]], float]
"""A dataset's own `score_answer`."""

_SOLVED = 1.0 - 1e-9
_WRONG_CONCLUSION = 0.1
"""reasoning-gym gives a conclusion that does not follow 0.05, one that follows and is trivial 0.25."""
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?|-?\.[0-9]{1,40}")
_GROUPED = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3}){1,13}(?:\.[0-9]{1,40})?")
_FENCED = re.compile(r"(```|~~~)[ \t]*\w*[ \t]*\n(.*)\n[ \t]*\1", re.DOTALL)
_MATH = re.compile(r"\\[(\[]((?:[^\\]|\\[^()\[\]])*)\\[)\]]")
_BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_WRAPPING = ("**", "__", "`", "$", "*", "_", '"', "'")

CASELESS = frozenset(
    {
        *("acre", "base_conversion", "bitwise_arithmetic", "calendar_arithmetic", "color_cube_rotation"),
        *("course_schedule", "family_relationships", "game_of_life_halting", "isomorphic_strings", "letter_jumble"),
        *("mahjong_puzzle", "needle_haystack", "ransom_note", "shortest_path", "syllogism"),
    }
)
"""Datasets whose answers do not depend on case."""

_JSON = r"[\[{](?:\"[^\"]{0,200}\"|[^\"]){0,20000}[\]}]"
"""Its texts are short: boxnet looks into each with a pattern that takes quadratic time."""
_MOVE = r"[Mm]ove disk [0-9]{1,3} from [Pp]eg [0-9]{1,3} to [Pp]eg [0-9]{1,3}"
_GRID = r"[0-9\s]{1,2000}"
_REAL = r"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?"
"""Digits are read in one way alone: where two of ten numbers could be split anywhere, a bad end costs 31**10 tries."""
SHAPES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(shape, re.DOTALL)
    for name, shape in {
        "advanced_geometry": rf"\(?\s*{_REAL}\s*(?:,\s*{_REAL})?\s*\)?\s*\u00b0?",
        "boxnet": _JSON,
        "complex_arithmetic": r"[-+0-9.ij\s]{1,80}",
        "cryptarithm": r"[A-Z]\s*=\s*[0-9](?:\s*,\s*[A-Z]\s*=\s*[0-9]){0,9}",
        "fraction_simplification": r"[$\s(\\]{0,4}(?:-?[0-9]{1,30}\s*/\s*[0-9]{1,30}|"
        r"\\?d?frac\{-?[0-9]{1,30}\}\{[0-9]{1,30}\})[$\s)\\]{0,4}",
        "graph_color": _JSON,
        "group_anagrams": _JSON,
        "jugs": _JSON,
        "kakurasu": r"[01\s]{1,2000}",
        "knight_swap": rf"{_JSON}|[Nn]o",
        "palindrome_generation": r"[A-Za-z]{1,2000}",
        "palindrome_partitioning": _JSON,
        "polynomial_equations": rf"{_REAL}(?:\s*,\s*{_REAL}){{0,9}}",
        "power_function": _REAL,
        "propositional_logic": r"[A-Z()\s\u00ac\u2227\u2228\u2192\u2194]{1,200}",
        "quantum_lock": r"[A-Ca-c](?:[\s,>\u2192-]{1,5}[A-Ca-c]){0,60}",
        "rubiks_cube": r"[A-Za-z]{1,2}'?[0-9]?(?:\s+[A-Za-z]{1,2}'?[0-9]?){0,400}",
        "rush_hour": r"[A-Z][+-][0-9](?:[\s,]+[A-Z][+-][0-9]){0,300}",
        "shortest_path": r"[a-z]{2,10}(?:\s+[a-z]{2,5}){0,2000}",
        "sokoban": r"[UDLRudlr\s]{1,5000}",
        "survo": _GRID,
        "time_intervals": r"[0-9]{1,9}(?: days)?(?:, )?(?:[0-9]{1,4}(?::[0-9]{1,2}){1,2}|(?::[0-9]{1,2}){1,2})?"
        r"(?:\.[0-9]{1,6})?",
        # One way to read the spaces between two moves: with two, a text that fails would take exponential time.
        "tower_of_hanoi": rf"\s*{_MOVE}(?:\s+{_MOVE}){{0,1999}}\s*",
        "tsumego": r"[A-Za-z]\s*[0-9]{1,2}",
        "word_ladder": r"[A-Za-z]{1,20}(?:\s*,\s*[A-Za-z]{1,20}){1,100}",
    }.items()
}
"""Dataset -> what its answers look like, wholly; those are verified by reasoning-gym's own rules, or by BOARDS."""


def is_right(name: str, answer: str, entry: Entry, rules: RuleChecker) -> bool:
    """Whether `answer` solves the entry of dataset `name`.

    What `rules` raises is passed on: whether the puzzle or the answer is to blame is the caller's to find out.
    """
    gold = entry["answer"]
    if gold is None or not str(gold).rstrip().endswith("."):
        answer = _without_full_stop(answer)
    if name in CHECKS:
        return CHECKS[name](answer, entry)
    if gold is not None and name not in BOARDS and is_same(answer, str(gold), ignore_case=name in CASELESS):
        return True
    if name not in SHAPES:
        return False
    plain = _unwrapped(answer)
    if SHAPES[name].fullmatch(plain) is None:
        return False
    if name in BOARDS:
        return BOARDS[name](plain, entry)
    # A copy: knight_swap writes into its puzzle.
    is_solved = rules(plain, copy.deepcopy(dict(entry))) >= _SOLVED
    return is_solved and not (name == "propositional_logic" and _restates_premise(plain, entry, rules))


def _restates_premise(answer: str, entry: Entry, rules: RuleChecker) -> bool:
    """Whether a conclusion and one of the premises follow from each other: a restated premise concludes nothing."""

    def follows(conclusion: str, premise: str) -> bool:
        alone = {**entry, "metadata": {**entry["metadata"], "premises": [premise]}}
        return rules(conclusion, alone) > _WRONG_CONCLUSION

    return any(follows(answer, premise) and follows(premise, answer) for premise in entry["metadata"]["premises"])


def is_same(answer: str, gold: str, *, ignore_case: bool = False) -> bool:
    """Whether two answers are the same text, list, number or lines of numbers, whatever their dress.

    Example:
        is_same(" ['a','b'] ", '["a", "b"]') and is_same("7.0 2", "7 2.00") and not is_same("7 or 8", "7")
    """
    if len(answer) > 4 * len(gold) + 200:
        return False
    one, other, as_it_is = _plain(_unwrapped(answer)), _plain(gold), _plain(answer)
    if ignore_case:
        one, other, as_it_is = one.casefold(), other.casefold(), as_it_is.casefold()
    if other in (one, as_it_is):  # a right answer may have quotes of its own
        return bool(other)
    return _lines_of_numbers(_unwrapped(answer)) == _lines_of_numbers(gold) is not None


def _lines_of_numbers(text: str) -> list[list[Fraction]] | None:
    lines = [[_without_separators(word) for word in line.split()] for line in text.strip().splitlines()]
    is_numbers = any(lines) and all(_NUMBER.fullmatch(word) for line in lines for word in line)
    return [[Fraction(word) for word in line] for line in lines] if is_numbers else None


def _without_separators(text: str) -> str:
    """1,234,567 as 1234567; other commas are between numbers."""
    return text.replace(",", "") if _GROUPED.fullmatch(text) else text


def _without_full_stop(answer: str) -> str:
    """Without one full stop that ends a sentence; "..." is left."""
    text = answer.rstrip()
    return text[:-1] if len(text) > 1 and text[-1] == "." and text[-2] not in ". \n" else answer


def _unwrapped(answer: str) -> str:
    """Without the fence, box, formula, bold, code or quotation marks around the whole of it."""
    text = answer.strip()
    if (fenced := _FENCED.fullmatch(text)) is not None and fenced[1] not in fenced[2]:
        text = fenced[2].strip()
    for _ in range(2):  # a box in a formula, a formula in bold
        for wrapped in (_MATH, _BOX):
            if (inner := wrapped.fullmatch(text)) is not None:
                text = inner[1].strip()
        for mark in _WRAPPING:
            if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark) and text.count(mark) == 2:
                text = text[len(mark) : -len(mark)].strip()
    return text


def _plain(text: str) -> str:
    """Lines without trailing space and without doubled space; of a list also without quotes, and space around items."""
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.strip().splitlines()]
    plain = "\n".join(lines)
    if plain.startswith("[") and plain.endswith("]"):
        plain = re.sub(r" ?([\[\](){},:]) ?", r"\1", " ".join(re.sub("['\"]", "", plain).split()))
    return re.sub(r" ?, ?", ",", plain)


# -- puzzles that we check ourselves ----------------------------------------------------------------------------------


def _value_of(text: str) -> tuple[Fraction, list[Fraction]] | None:
    """Value and numbers of a formula of + - * / and brackets, exactly; None where it is anything else."""
    if re.fullmatch(r"[0-9.+\-*/()\s\u00d7\u00f7\u2212]{1,200}", text) is None or re.search(r"\*\s*\*|/\s*/", text):
        return None
    plain = text.translate({0xD7: "*", 0xF7: "/", 0x2212: "-"})
    numbers: list[Fraction] = []

    def value(node: ast.expr) -> Fraction:
        match node:
            case ast.Constant(value=int() | float() as number):
                numbers.append(Fraction(str(number)))
                return numbers[-1]
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -value(inner)
            case ast.BinOp(left=left, op=sign, right=right):
                a, b = value(left), value(right)
                match sign:
                    case ast.Add():
                        return a + b
                    case ast.Sub():
                        return a - b
                    case ast.Mult():
                        return a * b
                    case ast.Div():
                        return a / b
        raise ValueError(f"{type(node).__name__} is no arithmetic")

    try:
        return value(ast.parse(plain.strip(), mode="eval").body), numbers
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _makes(answer: str, numbers: list[int], target: int) -> bool:
    formula, sign, result = _unwrapped(answer).partition("=")
    found = _value_of(formula.strip())
    is_said = not sign or result.strip() == str(target)
    return is_said and found is not None and found[0] == target and sorted(found[1]) == sorted(numbers)


def _countdown(answer: str, entry: Entry) -> bool:
    return _makes(answer, entry["metadata"]["numbers"], entry["metadata"]["target"])


def _puzzle24(answer: str, entry: Entry) -> bool:
    metadata = entry["metadata"]
    numbers = metadata.get("numbers")
    if numbers is None:  # the dataset's own answer uses the numbers that were given
        found = _value_of(str(entry["answer"]))
        numbers = found[1] if found else []
    return _makes(answer, list(map(int, numbers)), 24)


def _decimal_arithmetic(answer: str, entry: Entry) -> bool:
    """A unit of the last place that is asked for off at most: reasoning-gym rounds in between, and some of its own
    answers are further off; these are not asked."""
    asked = re.search(r"maximum of ([0-9]{1,3}) significant digits.*\n(.+) = \?", str(entry["question"]))
    exact = _value_of(asked[2]) if asked is not None else None
    if asked is None or exact is None:
        return is_same(answer, str(entry["answer"]))
    found = _number(answer)
    return found is not None and abs(found - exact[0]) <= abs(exact[0]) / 10 ** (int(asked[1]) - 1)


def _number_format(answer: str, entry: Entry) -> bool:
    """One of the candidates, in whatever form; they have three decimals, its own answer a float's error."""
    found, gold = _number(answer), _number(str(entry["answer"]))
    return found is not None and gold is not None and abs(found - gold) < Fraction(1, 2000)


def _number(text: str) -> Fraction | None:
    """A number in digits, grouped or not, or in scientific notation."""
    plain = _without_separators(_unwrapped(text))
    return Fraction(plain) if re.fullmatch(rf"(?:{_NUMBER.pattern})(?:[eE][-+]?[0-9]{{1,3}})?", plain) else None


def _number_sorting(answer: str, entry: Entry) -> bool:
    return _numbers_of(answer) == _numbers_of(str(entry["answer"])) is not None


def _numbers_of(text: str) -> list[Fraction] | None:
    plain = re.sub(r"[\s'\"]", "", _unwrapped(text))
    if not (plain.startswith("[") and plain.endswith("]")) or len(plain) > 20_000:
        return None
    parts = plain[1:-1].split(",")
    return [Fraction(part) for part in parts] if all(map(_NUMBER.fullmatch, parts)) else None


def _coin_flip(answer: str, entry: Entry) -> bool:
    """A probability to one part in a thousand; reasoning-gym's tolerance is absolute, and pays 0 for small ones.

    Its own answers go down to `3.051757812e-05`.
    """
    shape = r"[0-9]{0,30}\.?[0-9]{1,30}(?:[eE][-+]?[0-9]{1,2})?|[0-9]{1,30}/[0-9]{1,30}"
    one, other = (re.sub(r"[\s,]", "", _unwrapped(text)) for text in (answer, str(entry["answer"])))
    if re.fullmatch(shape, one) is None or re.search("/0+$", one):
        return False
    gold = Fraction(other)
    return abs(Fraction(one) - gold) <= gold / 1000


def _prime_factorization(answer: str, entry: Entry) -> bool:
    """The same factors, in any order."""
    return _factors(answer) == _factors(str(entry["answer"])) is not None


def _factors(text: str) -> list[int] | None:
    parts = re.split(r"\s*(?:[x\u00d7*]|\\times|\\cdot)\s*", _unwrapped(text)[:2000])
    return sorted(map(int, parts)) if all(re.fullmatch("[0-9]{1,30}", part) for part in parts) else None


def _n_queens(answer: str, entry: Entry) -> bool:
    return any(is_same(answer, str(board)) for board in entry["metadata"]["valid_answers"])


def _knights_knaves(answer: str, entry: Entry) -> bool:
    gold = _roles(str(entry["answer"]))
    return bool(gold) and _roles(_unwrapped(answer)) == gold


def _roles(text: str) -> dict[str, str] | None:
    """`Zoey is a knight, and Joe is a knave.` as a dict; None where it says anything else or anyone twice."""
    if len(text) > 2000:
        return None
    parts = re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", text.strip().rstrip("."))
    found = [re.fullmatch(r"(\w{1,40}) is an? (\w{1,40})", part.strip()) for part in parts]
    if not all(found):
        return None
    roles = {match.group(1).casefold(): match.group(2).casefold() for match in found if match}
    return roles if len(roles) == len(parts) else None


def _integral(answer: str, entry: Entry) -> bool:
    metadata = entry["metadata"]
    return is_antiderivative(_unwrapped(answer), str(metadata["integrand"]), str(metadata["variable"]))


def _product(answer: str, entry: Entry) -> bool:
    return is_expanded_product(_unwrapped(answer), str(entry["answer"]))


def _json_value(answer: str, entry: Entry) -> bool:
    """Whether two JSON values are equal, numbers to one part in a million; a text also without its quotes."""
    gold = str(entry["answer"])
    try:
        wanted = json.loads(gold)
    except (ValueError, RecursionError):
        return is_same(answer, gold)
    for text in (answer.strip(), _unwrapped(answer)):
        try:
            if _is_close(json.loads(text), wanted):
                return True
        except (ValueError, RecursionError):
            continue
    return isinstance(wanted, str) and is_same(answer, wanted)


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    if isinstance(one, int | float) and isinstance(other, int | float):
        if max(abs(one), abs(other)) > sys.float_info.max:
            return one == other  # a whole number that no float holds, or infinity
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_close, one, other))
    return type(one) is type(other) and one == other


CHECKS: Mapping[str, Callable[[str, Entry], bool]] = {
    "codeio": _json_value,
    "coin_flip": _coin_flip,
    "countdown": _countdown,
    "decimal_arithmetic": _decimal_arithmetic,
    "intermediate_integration": _integral,
    "knights_knaves": _knights_knaves,
    "n_queens": _n_queens,
    "number_format": _number_format,
    "number_sorting": _number_sorting,
    "polynomial_multiplication": _product,
    "prime_factorization": _prime_factorization,
    "puzzle24": _puzzle24,
    "simple_integration": _integral,
}
"""Dataset -> our own check of an answer."""
