"""The inner half of the parser: numbers, names, functions, roots, powers and postfix signs.

Runs of letters that are no known name are products of single letters; so a misspelt name never has a value.
"""

from __future__ import annotations

from gyms.math.brackets import DOTS, FENCES, BracketParser
from gyms.math.tokens import Token, read_number
from gyms.math.tree import (
    COUNTS,
    ENGLISH,
    FUNCTIONS,
    GREEK,
    NOTHING,
    NUMBER_SETS,
    Node,
    Unreadable,
    count_of,
    num,
    sym,
    words,
)

__all__ = ["MAX_LETTERS", "AtomParser"]

_ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log", "arctg": "arctan", "arcctg": "arccot",
    "cosec": "csc", "tg": "tan", "ctg": "cot", "cotg": "cot", "sh": "sinh", "ch": "cosh", "th": "tanh",
    "arsinh": "asinh", "arcosh": "acosh", "artanh": "atanh", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
}  # fmt: skip
_BIG = {"sum": "sum", "prod": "prod", "int": "int", "lim": "lim", "oint": "int", "iint": "int", "iiint": "int"}
_CONSTANTS = {
    "\\infty": Node("inf"), "\\emptyset": Node("empty"), "\\varnothing": Node("empty"), "\\pi": sym("pi"),
    "\\imath": sym("i"), "\\e": sym("e"), "\\ldots": DOTS,
}  # fmt: skip
_WORDS = {
    "pi": sym("pi"), "Pi": sym("pi"), "infinity": Node("inf"), "Infinity": Node("inf"), "inf": Node("inf"),
    "infty": Node("inf"), "oo": Node("inf"), "emptyset": Node("empty"), "theta": sym("\\theta"),
    "alpha": sym("\\alpha"), "beta": sym("\\beta"),
}  # fmt: skip
_SEPARATING_WORDS = {"and": ",", "or": "or", "AND": ",", "OR": "or", "&": ","}
_CALLED = frozenset("fghFGHP")
_STARTERS = frozenset(["num", "word", "(", "{", "["])
_NO_STARTERS = words(
    r"\cup \cap \setminus \backslash \in \notin \le \leq \leqslant \ge \geq \geqslant \lt \gt \ne \neq \approx \simeq "
    r"\equiv \pm \mp \cdot \times \div \ast \cdotp \colon \rvert \rfloor \rceil \rangle \} \end \bmod \mod \pmod "
    r"\to \rightarrow \mid \deg \parallel \perp \cong \sim \forall \implies \Rightarrow "
    r"\land \lor \wedge \vee \rVert \|"
)


_OPERATORS = words(r"E P N V Var Cov Pr \Pr \det det \dim dim \deg tr rank \E")
MAX_CALL_TOKENS = 12
"""Longest argument of a function's name before an equals sign."""
MAX_LETTERS = 4
"""Longest run of letters that is read as a product: abcd is, prose is not."""


def _is_count(node: Node) -> bool:
    return node.value.denominator == 1 and node.note.form == "int"


class AtomParser(BracketParser):
    """Atoms with what is attached to them."""

    def _separator(self) -> str | None:
        """Past `,` `;` "and" "or" and their combinations; which it was."""
        found = None
        while (token := self.peek()) is not None:
            if token.kind in (",", ";"):
                found = found or ","
            elif token.kind in ("text", "word") and token.text.strip(" ,;") in _SEPARATING_WORDS:
                found = _SEPARATING_WORDS[token.text.strip(" ,;")]
            elif token.kind == "text" and not token.text.strip(" ,;.") and found is not None:
                pass
            elif token.text in ("\\land", "\\lor", "\\wedge", "\\vee"):
                found = "or" if token.text in ("\\lor", "\\vee") else ","
            else:
                break
            self.skip()
        return found

    def starts_factor(self, token: Token) -> bool:
        """True where the token may begin a factor that is multiplied without a sign."""
        if token.kind == "word":
            return token.text not in _SEPARATING_WORDS and token.text != "mod"
        if token.kind == "command":
            return token.text not in _NO_STARTERS and not (self.fences and token.text == self.fences[-1])
        if token.kind == "|":
            return not (self.fences and self.fences[-1] == "|")
        return token.kind in _STARTERS

    def power(self, *, is_exponent: bool = False) -> Node:
        """An atom with its subscripts, exponents and postfix signs."""
        with self.nested():
            base = self._atom()
            while (token := self.peek()) is not None:
                if token.kind in ("^", "**"):
                    self.skip()
                    base = self.node("pow", (base, self._exponent()))
                elif token.kind == "_" and is_exponent and base.op == "num":
                    return base  # x^2_1 is the square of x_1
                elif token.kind == "_" and base.op == "pow" and base.args[0].op == "sym":
                    self.skip()
                    base = self.node("pow", (self._subscripted(base.args[0]), base.args[1]))
                elif token.kind == "_":
                    self.skip()
                    base = self._subscripted(base)
                elif token.kind == "!":
                    self.skip()
                    is_double = self.at("!")
                    self.place += is_double
                    base = self.node("fact", (base,), 2 if is_double else None)
                elif token.kind == "%":
                    self.skip()
                    base = self.node("percent", (base,))
                elif token.text == "\\deg" and token.kind == "command":
                    self.skip()
                    base = self.node("deg", (base,))
                elif token.kind == "'" and base.op == "sym":
                    self.skip()
                    base = sym(base.value + "'")
                else:
                    return base
        return base

    def _exponent(self) -> Node:
        if self.at("-") or self.at("+"):
            is_negative = self.at("-")
            self.skip()
            exponent = self.power()
            return self.node("neg", (exponent,)) if is_negative else exponent
        with self.nested():
            return self.power(is_exponent=True) if not self.at("{") else self.group("{", "}")

    def _subscripted(self, base: Node) -> Node:
        """`x_1`, `x_{max}`: a name; `204_5`, `204_{5}`: a number in a base."""
        token = self.peek()
        if token is None:
            raise Unreadable("a subscript is missing")
        names: list[str] = []
        if token.kind == "{":
            self.skip()
            while not self.at("}"):
                inner = self.peek()
                if inner is None:
                    raise Unreadable("a subscript is not closed")
                names.append(inner.text.strip())
                self.skip()
        else:
            names.append(token.text.strip())
        self.skip()
        name = "".join(names)
        if base.op == "num":
            if not name.isdigit() or not 2 <= int(name[:4]) <= 36:
                raise Unreadable(f"a number has the subscript {name!r}, which is no base")
            digits = str(base.value)
            if base.value.denominator != 1 or any(int(digit) >= int(name) for digit in digits):
                raise Unreadable(f"{digits} is not a number in base {name}")
            return self.node("based", (num(int(digits, int(name))),), int(name))
        if base.op == "fn" or base.op == "big":
            return base
        if base.op != "sym" or not name:
            raise Unreadable("only names and numbers have subscripts")
        return sym(f"{base.value}_{name}")

    def _atom(self) -> Node:
        token = self.peek()
        if token is None:
            raise Unreadable("the answer ends too early")
        if token.kind in ("_", "^", "{") and (counted := self._counted()) is not None:
            return counted
        if token.kind == "num":
            self.skip()
            self.num_nodes += 1
            return self._plainly_counted(read_number(token.text))
        if token.kind == "word":
            return self._word(token)
        if token.kind == "text":
            return self._text(token)
        if token.text in FENCES:
            return self.fenced(token.text)
        if token.kind == "command":
            return self._command(token)
        if token.kind in ("(", "["):
            return self.bracketed(token.kind)
        if token.kind == "{":
            return self.group("{", "}")
        raise Unreadable(f"cannot read {self.rest()!r}")

    def _counted(self) -> Node | None:
        """`{}_7C_3`, `{}^7C_3`, `_7P_3`: a number of combinations or arrangements; None where it is no such count."""
        start = self.place
        if [token.text for token in self.tokens[start : start + 2]] == ["{", "}"]:
            self.place += 2
        if not (self.at("_") or self.at("^")):
            self.place = start
            return None
        self.skip()
        top = self._argument()
        letter = self.peek()
        sign = self.tokens[self.place + 1].text if self.place + 1 < len(self.tokens) else ""
        if letter is None or letter.text.strip() not in COUNTS or sign not in ("_", "^"):
            raise Unreadable("an index stands before no letter")
        self.place += 2
        self.num_nodes += 1
        return count_of(letter.text.strip(), top, self._argument())

    def _plainly_counted(self, number: Node) -> Node:
        """`7C3` and `7P3`, which stand together; else the number itself."""
        following = self.tokens[self.place : self.place + 2]
        if len(following) < 2 or following[0].text not in ("C", "P") or any(token.spaced for token in following):
            return number
        if following[1].kind != "num" or not following[1].text.isdigit() or not _is_count(number):
            return number
        self.place += 2
        self.num_nodes += 1
        return count_of(following[0].text, number, read_number(following[1].text))

    def _text(self, token: Token) -> Node:
        """Upright letters inside a formula: `\\text{e}`, `\\mathrm{ABC}`; words are no part of a formula."""
        name = token.text.strip()
        if not name.isalpha() or not name.isascii() or len(name) > 2:
            raise Unreadable(f"the words {token.text[:20]!r} stand in a formula")
        self.skip()
        return sym(name) if len(name) == 1 else self._letters(name)

    def _letters(self, name: str) -> Node:
        is_word = name in ENGLISH or (name.istitle() and name.lower() in ENGLISH) or not name.isascii()
        if len(name) > MAX_LETTERS or is_word:
            raise Unreadable(f"the word {name[:20]!r} stands in a formula")
        parts = tuple(sym(letter) for letter in name)
        self.num_nodes += len(parts)
        return parts[0] if len(parts) == 1 else self.node("mul", parts, "letters")

    def _word(self, token: Token) -> Node:
        if token.text in FUNCTIONS:
            self.skip()
            return self._function(token.text)
        if token.text in _WORDS:
            self.skip()
            return _WORDS[token.text]
        if token.text in _SEPARATING_WORDS:
            raise Unreadable(f"cannot read {self.rest()!r}")
        after = self.tokens[self.place + 1] if self.place + 1 < len(self.tokens) else None
        if len(token.text) == 1 and token.text in _CALLED and (primes := self._primes_of_call()) is not None:
            self.place += 1 + primes
            inner = self.bracketed("(")
            args = inner.args if inner.op == "tuple" else (inner,)
            return self.node("call", args, token.text + "'" * primes)
        if len(token.text) > 1 and after is not None and after.kind in ("^", "_", "!", "'"):
            # Only the last letter carries what follows: ab^2 is a b^2.
            self.tokens[self.place : self.place + 1] = [
                Token("word", token.text[:-1], token.spaced), Token("word", token.text[-1]),
            ]  # fmt: skip
            return self._word(self.tokens[self.place])
        self.skip()
        return self._letters(token.text)

    def called(self) -> Node | None:
        """The name at the start of `p(x) = ...`, `E[X] = ...`, `\\phi(12) = ...`; None where none stands here.

        A letter before a bracket is a factor elsewhere; before a bracket that is closed in front of an equals sign
        it is a function's name, of simple arguments, or of any where the name is an operator's.
        """
        name = self.peek()
        opener = self._past_marks(self.place + 1)
        after = self.tokens[opener] if opener < len(self.tokens) else None
        if name is None or after is None or after.kind not in ("(", "["):
            return None
        is_operator = name.text in _OPERATORS or (name.kind == "text" and name.text.strip().isalpha())
        is_letter = (name.kind == "word" and len(name.text) == 1) or name.text.lstrip("\\") in GREEK
        if not (is_operator or is_letter):
            return None
        closer = {"(": ")", "[": "]"}[after.kind]
        for place in range(opener + 1, min(opener + 1 + MAX_CALL_TOKENS, len(self.tokens) - 1)):
            token = self.tokens[place]
            if token.kind == closer:
                follows = self.tokens[place + 1]
                if follows.text not in ("=", "\\approx", "\\equiv") or place == opener + 1:
                    return None
                inner = "".join(part.text for part in self.tokens[opener + 1 : place])
                called = "".join(part.text for part in self.tokens[self.place : opener]).strip()
                self.place = place + 1
                return self.node("call", (sym(inner),), called)
            is_simple = token.kind in (",", "num") or (token.kind == "word" and len(token.text) == 1)
            if token.kind in ("(", "[") or not (is_simple or is_operator):
                return None
        return None

    def _past_marks(self, place: int) -> int:
        """Behind the primes, the subscript and the -1 in the exponent of a function's name."""
        while place < len(self.tokens) and self.tokens[place].kind in ("'", "_", "^"):
            kind, place = self.tokens[place].kind, place + 1
            if kind == "'" or place >= len(self.tokens):
                continue
            group = [token.text for token in self.tokens[place : place + 4]]
            if kind == "^" and group != ["{", "-", "1", "}"]:
                return place
            place += 4 if kind == "^" else 3 if group[0] == "{" and group[2:3] == ["}"] else 1
        return place

    def _primes_of_call(self) -> int | None:
        """How many primes stand between a function's name and its bracket; None where no bracket follows."""
        place = self.place + 1
        while place < len(self.tokens) and self.tokens[place].kind == "'":
            place += 1
        is_call = place < len(self.tokens) and self.tokens[place].kind == "("
        return place - self.place - 1 if is_call else None

    def _command(self, token: Token) -> Node:
        name = token.text[1:]
        self.skip()
        if token.text in _CONSTANTS:
            return _CONSTANTS[token.text]
        if name in GREEK:
            return sym(token.text)
        if name in ("frac", "binom", "dbinom", "tbinom"):
            top, bottom = self._argument(), self._argument()
            return self.node("div" if name == "frac" else "binom", (top, bottom))
        if name == "sqrt":
            return self._root()
        if name in FUNCTIONS or name in _ALIASES:
            return self._function(name)
        if name in _BIG:
            return self._big(_BIG[name])
        if name == "begin":
            return self.environment()
        if name in ("{", "langle"):
            return self.braced("\\}" if name == "{" else "\\rangle")
        if name == "mathbb":
            group = self._argument()
            if group == sym("R"):
                return Node("reals")
            if group.op == "sym" and group.value in NUMBER_SETS:
                return sym(f"\\mathbb{{{group.value}}}")
            raise Unreadable("only the usual sets of numbers are known")
        if name in ("angle", "triangle") and (after := self.peek()) is not None and after.text.isupper():
            self.skip()
            return self.node("call", (self._letters(after.text),), name)
        if name in ("overline", "bar", "overrightarrow", "widehat", "angle", "triangle", "dot", "ddot", "tilde"):
            return self.node("call", (self._argument(),), name)
        raise Unreadable(f"the command {token.text[:20]} is not known")

    def _argument(self) -> Node:
        """A command's argument: a group, or one sign or digit as TeX has it (`\\frac12`)."""
        token = self.peek()
        if token is None:
            raise Unreadable("a command's argument is missing")
        if token.kind == "{":
            return self.group("{", "}")
        if token.kind == "num" and token.text.isdigit() and len(token.text) > 1:
            self.tokens[self.place : self.place + 1] = [Token("num", token.text[0]), Token("num", token.text[1:])]
        elif token.kind == "word" and len(token.text) > 1 and token.text not in FUNCTIONS:
            self.tokens[self.place : self.place + 1] = [Token("word", token.text[0]), Token("word", token.text[1:])]
        with self.nested():
            return self._atom()

    def _root(self) -> Node:
        index = num(2)
        if self.at("["):
            self.skip()
            index = self.sum()
            self.expect("]")
        if self.at("("):
            return self.node("root", (self.bracketed("("), index))
        return self.node("root", (self._argument(), index))

    def _function(self, name: str) -> Node:
        name = _ALIASES.get(name, name)
        if name == "sqrt":
            return self._root()
        exponent, base = None, None
        while self.at("^") or self.at("_"):
            is_power = self.at("^")
            self.skip()
            argument = self._exponent() if is_power else self._argument()
            exponent, base = (argument, base) if is_power else (exponent, argument)
        if self.at("(") or self.at("{"):
            inner = self.bracketed("(") if self.at("(") else self.group("{", "}")
            args = inner.args if inner.op in ("tuple", "list") else (inner,)
        else:
            args = (self._tight_product(),)
        if base is not None:
            args = (*args, base)
        if name in ("max", "min") and len(args) == 1 and args[0].op == "set":
            args = args[0].args  # \max\{a, b\}
        # What stands below \max is what it runs over, no argument: such a node has no value, and equals only itself.
        node = self.node("fn", args, name if base is None else "logb" if name == "log" else f"{name}_over")
        if exponent is None:
            return node
        if exponent.op == "neg" and name in ("sin", "cos", "tan", "cot", "sec", "csc"):
            return self.node("fn", args, f"arc{name}")
        if exponent.op == "neg" and name in ("sinh", "cosh", "tanh"):
            return self.node("fn", args, f"a{name}")
        return self.node("pow", (node, exponent))

    def _tight_product(self) -> Node:
        """A function's argument without brackets: `\\sin 2x`, up to the next sign or function."""
        factors = [self.power()]
        while (
            (token := self.peek()) is not None
            and self.starts_factor(token)
            and token.kind in ("num", "word", "command")
        ):
            name = token.text.lstrip("\\")
            if name in FUNCTIONS or name in _BIG or token.kind == "num":
                break
            factors.append(self.power())
        return factors[0] if len(factors) == 1 else self.node("mul", tuple(factors))

    def _big(self, kind: str) -> Node:
        """A sum, product, integral or limit: kept as it is written, never computed."""
        lower, upper = NOTHING, NOTHING
        while self.at("_") or self.at("^"):
            is_lower = self.at("_")
            self.skip()
            if self.at("{"):
                self.skip()
                bound = self._bound()
            else:
                bound = self._argument()
            lower, upper = (bound, upper) if is_lower else (lower, bound)
        return self.node("big", (lower, upper, self.sum()), kind)

    def _bound(self) -> Node:
        """What stands in braces under a sign: `k=1`, `x \\to 0`."""
        sides = [self.sum()]
        while self.at("=") or self.at("\\to") or self.at("\\rightarrow") or self.at("\\le") or self.at("\\leq"):
            self.skip()
            sides.append(self.sum())
        self.expect("}")
        return sides[0] if len(sides) == 1 else self.node("rel", tuple(sides), ("=",) * (len(sides) - 1))
