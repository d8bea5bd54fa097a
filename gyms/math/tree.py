r"""What every file of this folder speaks of: the expression tree, the words of its language, and the caps.

*The tree* that answers are read into is one small immutable node, built by our own parser alone.

`op` says what a node is; `args` are its parts; `value` is what is not a node (a number, a name, a list of signs);
`note` is how it was written, which decides no value: the decimal places of a number, its grouping.

    num       value = Fraction; note = Written
    sym       value = name ("x", "x_1", "\alpha"); constants are the names "pi", "e", "i"
    add mul   args = two or more terms or factors
    neg div pow root fact percent deg abs floor ceil mixed based plusminus mod
              root(radicand, index); plusminus(left, right), value "+-" or "-+"; based(number), value = base
    fn        value = name, args = arguments; `call` is an unknown function (f(x))
    big       value = "sum" | "prod" | "int" | "lim" | ..., args = (lower, upper, body), absent ones are `NOTHING`
    tuple     ordered, value = its brackets ("()", "[]", "(]", "[)", "<>"); set, list: without order
    rel       args = sides, value = tuple of signs ("=", "<", "<=", ">", ">=", "!=", "in", "~")
    ratio     args = parts of a : b : c; note = the text, for times of the day
    union inter diff; matrix: args = cells row by row, value = (rows, columns)
    date      value = (year, month, day, weekday), what is absent 0
    sequence  args = (first, difference, last or NOTHING), value "steps"; or its items as written, value "written"
    where     args = (answer,), value = the set of numbers that its qualifier names ("Z", "N", "Q"); note = what runs
              over it, or ""
    quantity  args = (number,), value = units.Unit
    text      value = its words; word: the same for one run of letters that may be a product, args = (product,)
    case      args = (value, condition): a branch of a function
    inf empty reals dne many  (the words and signs of docs/math.md's table)

*The caps* are checked before anything is computed, so that no answer can cost more than some milliseconds. Every cap is
on the written form (length, digits, nesting) or on a size that is known before the work is done: the bits of a power
are its exponent times the bits of its base, so `9^{9^{9^9}}` is refused without being evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

__all__ = [
    "CONSTANTS",
    "COUNTS",
    "ENGLISH",
    "FUNCTIONS",
    "GREEK",
    "MAX_ANSWER_CHARS",
    "MAX_BITS",
    "MAX_DIGITS",
    "MAX_EXPONENT",
    "MAX_FACTORIAL",
    "MAX_ITEMS",
    "MAX_NESTING",
    "MAX_NODES",
    "MAX_RESPONSE_CHARS",
    "NOTHING",
    "NUMBER_SETS",
    "Node",
    "TooComplex",
    "Unreadable",
    "Written",
    "check_text",
    "count_of",
    "free_names",
    "infinite",
    "num",
    "power_bits",
    "renamed",
    "size",
    "sym",
    "walk",
    "with_values",
    "words",
]

# --- the tree


class Written(NamedTuple):
    """How a number was written."""

    places: int = 0
    """Digits after the decimal point."""
    significant: int = 0
    """Digits from the first that is not 0."""
    form: str = "int"
    """`int`, `dec`, `sci`, `rep` (repeating decimal)."""
    length: int = 0
    """Digits in all, leading zeros included."""
    groups: str = ""
    """The text where commas group its digits ("1,234"), else empty."""


class Node(NamedTuple):
    """One node; see the head of this file."""

    op: str
    args: tuple[Node, ...] = ()
    value: Any = None
    note: Any = None


NOTHING = Node("nothing")
CONSTANTS = frozenset(["pi", "e", "i"])
"""Names that are no variables."""
COUNTS = frozenset("CPA")
"""Letters that count combinations and arrangements: `{}_7C_3`."""


def num(value: int | Fraction, note: Written | None = None) -> Node:
    """A number."""
    return Node("num", (), Fraction(value), note or Written())


def sym(name: str) -> Node:
    """A variable or named constant."""
    return Node("sym", (), name)


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(top.args)


def renamed(node: Node, old: str, new: str) -> Node:
    """The tree with another name in the place of one."""
    if node == sym(old):
        return sym(new)
    return node._replace(args=tuple(renamed(part, old, new) for part in node.args))


def with_values(node: Node, point: Mapping[str, Fraction]) -> Node:
    """The tree with numbers in the place of names."""
    if node.op == "sym" and node.value in point:
        return num(point[node.value])
    return node._replace(args=tuple(with_values(part, point) for part in node.args)) if node.args else node


def free_names(node: Node) -> frozenset[str]:
    """The variables that occur."""
    return frozenset(part.value for part in walk(node) if part.op == "sym" and part.value not in CONSTANTS)


def infinite(node: Node) -> int:
    """1 for infinity, -1 for minus infinity, 0 for all else."""
    if node.op == "neg":
        return -infinite(node.args[0]) if node.args[0].op == "inf" else 0
    return int(node.op == "inf")


def count_of(letter: str, all_of: Node, taken: Node) -> Node:
    """The number of combinations (letter C) or arrangements (P, A) that the letter with two indices tells."""
    return Node("binom", (all_of, taken)) if letter == "C" else Node("fn", (all_of, taken), "perm")


def size(node: Node) -> int:
    """Number of nodes."""
    return sum(1 for _ in walk(node))


# --- words


def words(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


FUNCTIONS = words(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth asin acos atan ln log "
    "lg exp sqrt cbrt abs max min gcd lcm det dim deg arg Re Im floor ceil sgn arctg arcctg cosec arsinh arcosh artanh "
    "arcsinh arccosh arctanh asinh acosh atanh"
)
GREEK = words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar partial "
    "nabla checkmark star bigstar square triangledown spadesuit heartsuit diamondsuit clubsuit"
)
NUMBER_SETS = frozenset("NZQC")
"""Sets of numbers that are names: only the real line has values here."""
ENGLISH = words(
    "is we the so it then that thus has get gets are was if of on there here this have with not yes any all some one "
    "two three four five six seven eight nine ten zero "
    "how many value which what than says said does did can will would may must let you our"
)
"""Short words of prose; as products of letters they would give a sentence a value."""


# --- caps

MAX_RESPONSE_CHARS = 200_000
"""Longest response that is looked at."""
MAX_ANSWER_CHARS = 2_000
"""Longest extracted answer."""
MAX_DIGITS = 400
"""Longest run of digits."""
MAX_NESTING = 24
"""Deepest nesting of brackets, fractions, roots, exponents."""
MAX_NODES = 400
"""Nodes of the expression tree."""
MAX_ITEMS = 100
"""Items of a list, set or tuple; cells of a matrix."""
MAX_BITS = 1 << 15
"""Bits of an exact integer, of numerator and of denominator."""
MAX_EXPONENT = 4_000
"""Largest exponent in scientific notation."""
MAX_FACTORIAL = 3_000
"""Largest argument of a factorial or a binomial coefficient."""

_LONG_DIGITS = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")


class Unreadable(ValueError):
    """An answer is not in the language of docs/math.md; the message says why."""


class TooComplex(Unreadable):
    """An answer exceeds a cap."""


def check_text(text: str) -> None:
    """Raise TooComplex where an answer's text is over a cap."""
    if len(text) > MAX_ANSWER_CHARS:
        raise TooComplex(f"the answer has {len(text)} characters, at most {MAX_ANSWER_CHARS} are read")
    if _LONG_DIGITS.search(text):
        raise TooComplex(f"the answer has a run of over {MAX_DIGITS} digits")


def power_bits(base_bits: int, exponent: int) -> None:
    """Raise TooComplex where a base of that many bits to that power would exceed MAX_BITS."""
    if base_bits * abs(exponent) > MAX_BITS:
        raise TooComplex(f"a power has over {MAX_BITS} bits")
