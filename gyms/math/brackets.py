r"""The bracketed parts of the parser: groups, pairs, intervals, sets, vectors, absolute values, matrices.

Brackets decide types: `(a, b)` is a pair (a point or an open interval), `[a, b)` an interval, `\{a, b\}` a set,
`\langle a, b \rangle` a vector. A bare `{...}` only groups.

*Lists with dots*: `3, 6, 9, \ldots`, `5, 6, \ldots, n`, `\{1, 2, \ldots, 8\}`. Where what stands before the dots has
one difference, the sequence is its first item, that difference, and its last item (or none); it may then be begun with
any number of items. With whole numbers at both ends it is the list itself. Others are compared as they are written,
item by item and in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from gyms.math.exact import rational
from gyms.math.tokens import Cursor, Token
from gyms.math.tree import MAX_ITEMS, NOTHING, NUMBER_SETS, Node, TooComplex, Unreadable, num, sym, walk, words

__all__ = ["DOTS", "FENCES", "BracketParser", "has_dots", "with_dots"]

FENCES = {
    "|": ("|", "abs"), "\\lvert": ("\\rvert", "abs"), "\\vert": ("\\vert", "abs"), "\\lfloor": ("\\rfloor", "floor"),
    "\\lceil": ("\\rceil", "ceil"), "\\|": ("\\|", "abs"), "\\lVert": ("\\rVert", "abs"),
}  # fmt: skip
"""Opening sign -> closing sign and operation."""


_SYSTEMS = words("cases dcases aligned align gathered gather split alignedat")
_IF = words("if for when where")


class BracketParser(Cursor):
    """Everything between an opening and a closing sign; the outer half has `items` and `sum`."""

    def items(self, closer: str | None) -> Node:
        """A list; the outer half has it."""
        raise NotImplementedError

    def sum(self) -> Node:
        """A sum; the outer half has it."""
        raise NotImplementedError

    def fenced(self, opener: str) -> Node:
        closer, op = FENCES[opener]
        self.skip()
        self.fences.append(closer)
        with self.nested():
            inner = self.sum()
        self.fences.pop()
        if self.peek() is None or self.tokens[self.place].text != closer:
            raise Unreadable(f"{opener} is not closed")
        self.skip()
        return self.node(op, (inner,))

    def group(self, opener: str, closer: str) -> Node:
        self.expect(opener)
        fences, self.fences = self.fences, []
        inner = self.items(closer)
        self.fences = fences
        self.expect(closer)
        return inner

    def bracketed(self, opener: str) -> Node:
        """`(...)`, `[...]` and the half-open intervals."""
        self.expect(opener)
        fences, self.fences = self.fences, []
        inner = self.items(None)
        self.fences = fences
        token = self.peek()
        if token is None or token.kind not in (")", "]"):
            raise Unreadable(f"{opener} is not closed")
        self.skip()
        brackets = opener + token.kind
        if inner.op == "list" and inner.value == ",":
            if brackets in ("(]", "[)") and len(inner.args) != 2:
                raise Unreadable("an interval has two ends")
            return self.node("tuple", inner.args, brackets)
        if brackets in ("(]", "[)") or inner.op == "list":
            raise Unreadable(f"the bracket {brackets} holds no pair")
        if inner.op == "plusminus" or inner.op == "rel":
            return inner
        # One item in brackets is itself; a sign in front of a number must not slip out of a power.
        return inner if brackets == "()" or inner.op == "matrix" else self.node("tuple", (inner,), brackets)

    def braced(self, closer: str) -> Node:
        if self.at(closer):
            self.skip()
            return Node("empty")
        fences, self.fences = self.fences, []
        numbers = self._past_builder() if closer == "\\}" else None
        inner = self.items(closer)
        self.fences = fences
        self.expect(closer)
        if numbers is not None:
            # The condition says which numbers, of the real ones or of a smaller set.
            return inner if numbers == "R" else self.node("inter", (inner, sym(f"\\mathbb{{{numbers}}}")))
        items = inner.args if inner.op == "list" else (inner,)
        if closer == "\\}" and has_dots(items):
            return with_dots(items, like="set")
        return self.node("set", items) if closer == "\\}" else self.node("tuple", items, "<>")

    def _past_builder(self) -> str | None:
        """Past `x \\mid` or `x \\in \\mathbb{Z} :` at the start of a set, to its numbers; None where none stands."""
        texts = [token.text for token in self.tokens[self.place : self.place + 7]]
        if len(texts) < 3 or self.tokens[self.place].kind != "word" or len(texts[0]) != 1:
            return None
        is_member = texts[1:4] == ["\\in", "\\mathbb", "{"] and texts[5:6] == ["}"] and texts[4] in ("R", *NUMBER_SETS)
        place = 6 if is_member else 1
        if texts[place : place + 1] not in (["\\mid"], ["|"], [":"], ["\\colon"]):
            return None
        self.place += place + 1
        return texts[4] if is_member else "R"

    def environment(self) -> Node:
        """A matrix: rows of cells; the shape is part of its value. A system: the list of what stands in its rows."""
        token = self._environment_name()
        if token.rstrip("*") in _SYSTEMS or (token == "array" and self._is_system()):
            return self._system()
        if token.rstrip("*") not in ("pmatrix", "bmatrix", "matrix", "Bmatrix", "smallmatrix", "array"):
            raise Unreadable(f"the environment {token[:20]!r} is not known")
        if token == "array" and self.at("{"):
            while not self.at("}"):
                if self.peek() is None:
                    raise Unreadable("an array's columns are not closed")
                self.skip()
            self.skip()
        rows: list[list[Node]] = [[]]
        while not self.at("\\end"):
            following = self.peek()
            if following is None:
                raise Unreadable("a matrix is not closed")
            if following.kind == "row":
                self.skip()
                if not self.at("\\end"):
                    rows.append([])
            elif following.kind == "&":
                self.skip()
            else:
                rows[-1].append(self.sum())
            if sum(map(len, rows)) > MAX_ITEMS:
                raise TooComplex(f"a matrix has over {MAX_ITEMS} cells")
        self.skip()
        self._environment_name()
        widths = {len(row) for row in rows}
        if len(widths) != 1 or widths == {0}:
            raise Unreadable("the rows of a matrix differ in length")
        return self.node("matrix", tuple(cell for row in rows for cell in row), (len(rows), widths.pop()))

    def _is_system(self) -> bool:
        """Whether a relation stands in the array that begins here."""
        texts = [token.text for token in self.tokens[self.place :]]
        return "=" in texts[: texts.index("\\end")] if "\\end" in texts else False

    def _system(self) -> Node:
        """`x=1 \\\\ y=2` as a list; a function given by cases as pairs of its value and the condition."""
        rows: list[list[list[Token]]] = [[[]]]
        while self.at("{") and not rows[0][0]:
            while not self.at("}") and self.peek() is not None:
                self.skip()
            self.skip()
        while not self.at("\\end"):
            token = self.peek()
            if token is None:
                raise Unreadable("an environment is not closed")
            self.skip()
            if token.kind == "row":
                rows.append([[]])
            elif token.kind == "&":
                rows[-1].append([])
            else:
                rows[-1][-1].append(token)
        self.skip()
        self._environment_name()
        found = [self._row(cells) for cells in rows if any(cells)]
        if not 0 < len(found) <= MAX_ITEMS:
            raise Unreadable("an environment is empty or too long")
        return found[0] if len(found) == 1 else self.node("list", tuple(found), ",")

    def _row(self, cells: list[list[Token]]) -> Node:
        """A relation that `&` only aligns, or a value and its condition."""
        signs = [token.text for cell in cells for token in cell]
        is_aligned = len(cells) == 1 or (
            cells[1] and cells[1][0].text in ("=", "\\le", "\\leq", "<", ">", "\\ge", "\\geq")
        )
        if is_aligned:
            return self.inner([token for cell in cells for token in cell])
        if len(cells) == 2 and "\\begin" not in signs:
            value = [*cells[0][:-1], *(token for token in cells[0][-1:] if token.kind != ",")]
            condition = [
                token for token in cells[1] if token.kind not in ("text", "word") or token.text.strip(" ,") not in _IF
            ]
            if condition and all(token.kind in ("text", "word", ",", ".") for token in condition):
                said = " ".join(token.text.strip(" ,.").casefold() for token in condition).strip()
                return self.node("case", (self.inner(value), Node("text", (), said)))
            return self.node("case", (self.inner(value), self.inner([t for t in condition if t.kind != "."])))
        raise Unreadable("the rows of a system hold no relations")

    def inner(self, tokens: list[Token]) -> Node:
        """What some of the tokens say on their own; the outer half has it."""
        raise NotImplementedError

    def _environment_name(self) -> str:
        self.expect("{")
        token = self.peek()
        if token is None or token.kind != "word":
            raise Unreadable("an environment has no name")
        self.skip()
        if self.at("*"):
            self.skip()
        self.expect("}")
        return token.text


# --- lists with dots

DOTS = Node("dots")
MIN_BEGUN = 2
"""Items that show a difference."""


def has_dots(items: Sequence[Node]) -> bool:
    """True where dots stand for items of a list."""
    return any(item == DOTS for item in items)


def with_dots(items: Sequence[Node], *, like: str) -> Node:
    """The list (`like` "list" or "set") that items with dots among them mean; Unreadable where it means none."""
    if any(node == DOTS for item in items if item != DOTS for node in walk(item)):
        raise Unreadable("dots stand inside an item")
    place = items.index(DOTS)
    begun, rest = list(items[:place]), list(items[place + 1 :])
    step = _step(begun)
    if not begun or has_dots(rest) or step is None or len(rest) > 1:
        return Node("sequence", tuple(items), "written")
    first = rational(begun[0])
    last = rational(rest[0]) if rest and rest[0].op in ("num", "neg") else None
    if first is None or last is None:
        return Node("sequence", (begun[0], num(step), *(rest or [NOTHING])), "steps")
    count, odd = divmod(last - first, step)
    if odd or not len(begun) <= count + 1 <= MAX_ITEMS:
        raise Unreadable("the dots do not lead to the last item")
    found = tuple(num(first + step * number) for number in range(int(count) + 1))
    return Node("set", found) if like == "set" else Node("list", found, ",")


def _step(begun: Sequence[Node]) -> Fraction | None:
    """The common difference of the items before the dots; None where there is none."""
    values = [rational(item) if item.op in ("num", "neg", "div") else None for item in begun]
    known = [value for value in values if value is not None]
    if len(known) < MIN_BEGUN or len(known) < len(values):
        return None
    steps = {after - before for before, after in pairwise(known)}
    step = steps.pop()
    return None if steps or not step else step
