r"""Our own parser: from tokens to the expression tree, in one pass, without evaluating anything.

Precedence, loosest first: list (`,` `;` and, or), relation, set operation, ratio (`:`), sum, product (explicit and
implicit, from left to right), sign, power, postfix. A mixed number is an integer followed by a proper fraction of
integers: `3\frac12` is 7/2. Everything that the language does not know raises Unreadable; nothing is guessed. What the
model wrote is never handed to an evaluator of another library.
"""

from __future__ import annotations

from collections.abc import Callable

from gyms.math.atoms import AtomParser
from gyms.math.tokens import Token
from gyms.math.tree import MAX_ITEMS, Node, TooComplex, Unreadable, num

__all__ = ["parse"]

_RELATIONS = {
    "=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "=<": "<=", "=>": ">=", "!=": "!=", "<>": "!=",
    "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=", "\\lt": "<",
    "\\gt": ">", "\\ne": "!=", "\\neq": "!=", "\\in": "in", "\\notin": "notin", "\\approx": "~", "\\simeq": "~",
    "\\equiv": "=",
    "\\parallel": "parallel", "\\perp": "perp", "\\cong": "cong", "\\sim": "sim",
}  # fmt: skip
_SET_OPERATIONS = {"\\cup": "union", "\\cap": "inter", "\\setminus": "diff", "\\backslash": "diff"}
_TIMES = {"*", "\\cdot", "\\times", "\\ast", "\\cdotp"}
_OVER = {"/", "\\div"}


def parse(tokens: list[Token]) -> Node:
    """The tree of a whole answer; Unreadable where the tokens are not one, TooComplex over a cap."""
    parser = Parser(tokens)
    node = parser.items(None)
    if parser.peek() is not None:
        raise Unreadable(f"cannot read {parser.rest()!r}")
    return node


class Parser(AtomParser):
    """The levels above atoms; `AtomParser` has the rest."""

    def inner(self, tokens: list[Token]) -> Node:
        """What some of the tokens say on their own, counted with the rest."""
        parser = Parser(tokens)
        parser.num_nodes, parser.depth = self.num_nodes, self.depth
        node = parser.items(None)
        if parser.peek() is not None:
            raise Unreadable(f"cannot read {parser.rest()!r}")
        self.num_nodes = parser.num_nodes
        return node

    def items(self, closer: str | None) -> Node:
        """A list as far as `closer`, or its only item; which separators stood there is the list's value."""
        with self.nested():
            found = [self.relation()]
            separators: set[str] = set()
            while (separator := self._separator()) is not None:
                if self.peek() is None or self.at(closer):
                    raise Unreadable("a list ends in a separator")
                separators.add(separator)
                found.append(self.relation())
                if len(found) > MAX_ITEMS:
                    raise TooComplex(f"a list has over {MAX_ITEMS} items")
        if len(found) == 1:
            return found[0]
        return self.node("list", tuple(found), "or" if "or" in separators else ",")

    def relation(self) -> Node:
        """Sides and the signs between them: `a < x \\le b`; one side without a sign is itself."""
        called = self.called()
        sides = [self._sets() if called is None else called]
        signs: list[str] = []
        while (token := self.peek()) is not None and (sign := _RELATIONS.get(token.text)) and token.kind != "text":
            self.skip()
            signs.append(sign)
            sides.append(self._sets())
        return sides[0] if not signs else self.node("rel", tuple(sides), tuple(signs))

    def _sets(self) -> Node:
        return self._chain(self._ratio, _SET_OPERATIONS)

    def _ratio(self) -> Node:
        start = self.place
        parts = [self.sum()]
        while self.at(":") or self.at("\\colon"):
            self.skip()
            parts.append(self.sum())
        if len(parts) == 1:
            return parts[0]
        written = "".join(token.text for token in self.tokens[start : self.place])
        return self.node("ratio", tuple(parts), note=written)

    def _chain(self, part: Callable[[], Node], operations: dict[str, str]) -> Node:
        left = part()
        while (token := self.peek()) is not None and token.kind == "command" and token.text in operations:
            self.skip()
            left = self.node(operations[token.text], (left, part()))
        return left

    def sum(self) -> Node:
        """Terms with + and -, `\\pm` and `\\mp`, and `\\bmod` loosest of all."""
        terms: list[Node] = [self._signed_product()]
        while (token := self.peek()) is not None:
            if token.text in ("+", "-") and token.kind == token.text:
                self.skip()
                term = self._signed_product()
                terms.append(term if token.text == "+" else self.node("neg", (term,)))
            elif token.text in ("\\pm", "\\mp"):
                self.skip()
                left = terms[0] if len(terms) == 1 else self.node("add", tuple(terms))
                sign = "+-" if token.text == "\\pm" else "-+"
                terms = [self.node("plusminus", (left, self._signed_product()), sign)]
            elif token.text in ("\\bmod", "\\mod", "\\pmod") or (token.kind == "word" and token.text == "mod"):
                self.skip()
                left = terms[0] if len(terms) == 1 else self.node("add", tuple(terms))
                kind = "pmod" if token.text == "\\pmod" else ""
                terms = [self.node("mod", (left, self._signed_product()), kind)]
            else:
                break
        return terms[0] if len(terms) == 1 else self.node("add", tuple(terms))

    def _signed_product(self) -> Node:
        signs, has_plus = 0, False
        while (token := self.peek()) is not None and token.kind in ("-", "+"):
            self.skip()
            signs += token.kind == "-"
            has_plus = True
            if signs > 3:
                raise Unreadable("too many signs")
        if not has_plus and (self.at("\\pm") or self.at("\\mp")):
            sign = "+-" if self.at("\\pm") else "-+"
            self.skip()
            return self.node("plusminus", (num(0), self._product()), sign)
        product = self._product()
        return self.node("neg", (product,)) if signs % 2 else product

    def _product(self) -> Node:
        factors: list[Node] = [self.power()]
        while (token := self.peek()) is not None:
            if token.text in _TIMES and token.kind != "text":
                self.skip()
                factors.append(self._signed_factor())
            elif token.text in _OVER and token.kind != "text":
                self.skip()
                top = factors[0] if len(factors) == 1 else self.node("mul", tuple(factors))
                factors = [self._mixed_or_div(factors, top, self._signed_factor())]
            elif self.starts_factor(token):
                self._implicit(factors, token)
            else:
                break
        return factors[0] if len(factors) == 1 else self.node("mul", tuple(factors))

    def _mixed_or_div(self, factors: list[Node], top: Node, bottom: Node) -> Node:
        """`3 1/2` is a mixed number: its whole and numerator stand as two numbers, spaced."""
        if len(factors) == 2 and factors[1].note == "spaced":
            fraction = self.node("div", (num(factors[1].value), bottom))
            if _is_whole(factors[0]) and _is_proper(fraction):
                return self.node("mixed", (factors[0], fraction))
            raise Unreadable("two numbers stand side by side")
        return self.node("div", (top, bottom))

    def _implicit(self, factors: list[Node], token: Token) -> None:
        """The next factor without a sign: a product, or the fraction of a mixed number."""
        last = factors[-1]
        if token.kind == "num":
            follows = self.tokens[self.place + 1].text if self.place + 1 < len(self.tokens) else ""
            if last.op != "num":
                if last.op in ("sym", "root", "pow", "fn", "div"):
                    raise Unreadable("a number stands behind a factor without a sign")
                factors.append(self.power())
                return
            if not (token.spaced and follows == "/" and len(factors) == 1):
                raise Unreadable("two numbers stand side by side")
            number = self.power()
            factors.append(Node("num", (), number.value, "spaced"))
            return
        is_fraction = token.text == "\\frac"
        factor = self.power()
        if is_fraction and len(factors) == 1 and _is_whole(last) and _is_proper(factor):
            factors[0] = self.node("mixed", (last, factor))
        elif (
            is_fraction
            and len(factors) == 1
            and _is_whole(last)
            and factor.op == "percent"
            and _is_proper(factor.args[0])
        ):
            factors[0] = self.node("percent", (self.node("mixed", (last, factor.args[0])),))
        else:
            factors.append(factor)

    def _signed_factor(self) -> Node:
        """A factor behind a sign of multiplication: `2 \\cdot -3`."""
        if self.at("-"):
            self.skip()
            return self.node("neg", (self.power(),))
        return self.power()


def _is_whole(node: Node) -> bool:
    return node.op == "num" and node.value.denominator == 1 and node.note.form == "int"


def _is_proper(node: Node) -> bool:
    """A fraction of two integers below one, as it is written in a mixed number."""
    return node.op == "div" and all(_is_whole(part) for part in node.args) and node.args[0].value < node.args[1].value
