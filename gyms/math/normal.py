r"""One spelling for what can be written in many: from an answer's raw text to plain LaTeX-like ASCII.

Unicode digits, signs, superscripts and fractions become their LaTeX spelling; delimiters, sizes and spacing commands
go; `\text`-like wrappers become `\text`. Thin grouping (`1\,234`, `1{,}234`, `1,\!234`) becomes GROUP, a mark that only
stands inside a number. Every rule is one linear pass: white space is one space each before any pattern sees it, and
what stands at the end is taken off from the end, never looked for from every place before it.

What is *not* normalised: a comma that may be decimal or grouping is left as it is; `compare` decides with the gold
answer in hand, and refuses what stays ambiguous.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from gyms.math.remarks import number_word

__all__ = ["GROUP", "literal", "normalise"]

GROUP = "\x1f"
"""Stands between the digit groups of one number."""

MAX_INFIX = 8
"""Deepest nesting of infix fractions."""
_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207f", "0123456789+-n"
)
_SUBSCRIPTS = str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789")
_SUPER_RUN = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207a\u207b\u207f]+")
_SUB_RUN = re.compile("[\u2080-\u2089]+")
_VULGAR = {
    "\u00bd": "1/2", "\u2153": "1/3", "\u2154": "2/3", "\u00bc": "1/4", "\u00be": "3/4", "\u2155": "1/5",
    "\u2156": "2/5", "\u2157": "3/5", "\u2158": "4/5", "\u2159": "1/6", "\u215a": "5/6", "\u2150": "1/7",
    "\u215b": "1/8", "\u215c": "3/8", "\u215d": "5/8", "\u215e": "7/8", "\u2151": "1/9", "\u2152": "1/10",
}  # fmt: skip
_GREEK_NAMES = "alpha,beta,gamma,delta,epsilon,zeta,eta,theta,iota,kappa,lambda,mu,nu,xi"
_GREEK = {chr(0x3B1 + place): rf"\{name} " for place, name in enumerate(_GREEK_NAMES.split(","))}
_SIGNS = {
    "\u2212": "-", "\u2010": "-", "\u2011": "-", "\ufe63": "-", "\uff0d": "-", "\u00d7": r"\times ",
    "\u22c5": r"\cdot ",
    "\u00b7": r"\cdot ", "\u2219": r"\cdot ", "\u00f7": "/", "\u2044": "/", "\u2215": "/", "\u221a": r"\sqrt ",
    "\u221b": r"\sqrt[3]", "\u03c0": r"\pi ", "\u221e": r"\infty ", "\u2264": r"\le ", "\u2265": r"\ge ",
    "\u2a7d": r"\le ", "\u2a7e": r"\ge ", "\u2260": r"\ne ", "\u222a": r"\cup ", "\u2229": r"\cap ",
    "\u2208": r"\in ", "\u2205": r"\emptyset ", "\u00d8": r"\emptyset ", "\u211d": r"\mathbb{R}", "\u00b1": r"\pm ",
    "\u2213": r"\mp ", "\u00b0": r"\deg ", "\u2248": r"\approx ", "\u2261": r"\equiv ", "\u2216": r"\setminus ",
    "\u20ac": r"\euro ", "\u00a3": r"\pound ", "\u00a5": r"\yen ", "\u20b9": r"\rupee ",
    "\u20a9": r"\won ", "\u20bd": r"\ruble ", "\u20ba": r"\lira ", "\u20b1": r"\peso ",
    "\u00a2": " cents", "\u2032": "'",
    "\u2019": "'", "\u27e8": r"\langle ", "\u27e9": r"\rangle ", "\u230a": r"\lfloor ", "\u230b": r"\rfloor ",
    "\u2308": r"\lceil ", "\u2309": r"\rceil ", "\u2211": r"\sum ", "\u222b": r"\int ", "\u220f": r"\prod ",
    "\u2124": r"\mathbb{Z}", "\u2115": r"\mathbb{N}", "\u211a": r"\mathbb{Q}", "\u2102": r"\mathbb{C}",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2007": " ", "\u3000": " ", "\u2002": " ", "\u2003": " ",
    "\u2220": r"\angle ", "\u25b3": r"\triangle ", "\u2225": r"\parallel ", "\u22a5": r"\perp ", "\u2245": r"\cong ",
    "\u2026": r"\ldots ", "\u22ef": r"\ldots ", "\u223c": r"\sim ", "\u6216": " or ", "\u548c": " and ",
    "\u4e0e": " and ", "\u53ca": " and ", "\u3001": ",",
    "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "", "\u200e": "", "\u200f": "",
    "\u201c": '"', "\u201d": '"', "\uff0c": ",", "\uff08": "(", "\uff09": ")", "\uff1a": ":", "\uff1b": ";",
    "\uff05": "%", "\uff1d": "=", "\uff0e": ".", "\u3002": ".", "\uff0b": "+", "\uff0f": "/", "\uff0a": "*",
    **_GREEK,
    "\u03c1": r"\rho ", "\u03c3": r"\sigma ", "\u03c4": r"\tau ", "\u03c6": r"\phi ", "\u03c9": r"\omega ",
    "\u00b5": r"\mu ",
}  # fmt: skip
_SIGN_TABLE = str.maketrans({**_SIGNS, **{mark: rf"\frac{{{f[0]}}}{{{f[2:]}}}" for mark, f in _VULGAR.items()}})

_WHITE = str.maketrans("\t\n\r\f\v", "     ")
_WRAPPERS = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|mbox|hbox|mathrm|mathsf|operatorname\*?)[ ]*(?=\{)")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_FONTS = re.compile(
    r"\\(?:mathbf|mathit|boldsymbol|bm|pmb|mathcal|mathscr|vec|hat|underline|fbox|boxed|bf|rm|it|sf|tt|em|"
    r"large|Large|LARGE|huge|Huge|small|normalsize)(?![A-Za-z])"
)
_SIZES = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|strut|hline|"
    r"phantom\{[^{}]*\}|hspace\*?\{[^{}]*\}|vspace\*?\{[^{}]*\}|label\{[^{}]*\}|tag\{[^{}]*\}|"
    r"(?:text)?color[ ]*\{[^{}]*\})(?![A-Za-z])\.?"
)
_SPACES = re.compile(r"\\q?quad|\\(?:thinspace|enspace|space|nobreak)(?![A-Za-z])|(?<!\\)\\[,;:!> /\n]|~")
_THIN_GROUPS = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\,|\\!|\\ |\{\\,\}|')[ ]*(?=\d{3}(?!\d))")
_END_SIGNS = ("\\blacksquare", "\\square", "\\Box", "\\qed", "\\checkmark")
_EMPTY_END = re.compile(r"\\text\{[ .,;]*\}[ ]*$")
_LONE_BACKSLASH = re.compile(r"(?<!\\)\\[ ]*$")
_OPERATORS = re.compile(
    r"\\text[ ]*\{[ ]*(gcd|lcm|det|max|min|dim|deg|arg|sgn|sin|cos|tan|cot|sec|csc|ln|log|tg|ctg|cotg|sh|ch|th|arctg"
    r"|arcctg|cosec|ar[a-z]{0,2}(?:sin|cos|tan)h?)[ ]*\}(?=[ ]*[({\\_^A-Za-z\d])"
)
_STACKED = re.compile(
    r"\\(?:under|over)brace[ ]*\{([^{}]*)\}[ ]*[_^][ ]*\{(?:[^{}]|\{[^{}]*\})*\}"
    r"|\\(?:overset|underset|stackrel)[ ]*\{[^{}]*\}[ ]*\{([^{}]*)\}"
)
"""What stands above or below says something of the value, and is none."""
_NEGATIVE = re.compile(r"^(?:\\text\{)?[ ]*(?:negative|minus)[ ]*\}?[ ]*(?=[\d.\\(])")
_SHARE = re.compile(r"^(\d{1,12})[ ]*(?:\\text\{)?[ ]*(?:out of(?: every)?|in(?: every)?)[ ]*\}?[ ]*(\d{1,12})$")
_RECURRING = re.compile(
    r"^(?:(?P<start>-?\d{0,20}\.\d{0,20}?)(?:(?P<digit>\d)(?P=digit){2,40}|(?P<digits>\d{2,6})(?P=digits){2,20})"
    r"|(?P<point>-?\d{0,20}\.)(?P<twice>\d{2,6})(?P=twice))[ ]*(?:\\ldots|\.\.\.)[ ]*$"
)
"""A digit three times, or digits three times, twice directly behind the point: in 2.718281828... nothing recurs."""
_RECURRING_IN_BRACKETS = re.compile(r"^(-?\d*\.\d*)\((\d+)\)$")
_OUTWARD = re.compile(r"^\]|\[$|\[[ ]*\\cup|\\cup[ ]*\]")
_END = r"(?:(?!\\cup)[^\[\]()]|\([^\[\]()]{0,80}\)){1,80}"
_TURNED = re.compile(rf"([\[\](])({_END}[,;]{_END})([\[\])])")
_TEXT_COLON = re.compile(r"\\text\{[ ]*:[ ]*\}")
_DOTS_COMMAND = re.compile(r"\\(?:ldots|dots[bcimo]?|cdots|hdots)(?![A-Za-z])")
_OPERATOR_LETTER = re.compile(r"\\mathbb[ ]*\{?[ ]*([EP])[ ]*\}?(?=[ ]*[\[(])")
_UNIT_FRACTION = re.compile(
    r"\\[dt]?frac[ ]*\{[ ]*\\text\{([A-Za-z ]{1,30})\}[ ]*\}[ ]*\{[ ]*\\text\{([A-Za-z ]{1,30})\}[ ]*\}"
)
_TEXT_COMMA = re.compile(r"\\text\{([^{}]*[A-Za-z])[ ]*,[ ]*\}(?=[ ]*[^ ])")
_ORDINAL = re.compile(r"(?<=\d)[ ]*(?:\^[ ]*\{?[ ]*)?\\text\{[ ]*(?:st|nd|rd|th)[ ]*\}(?:(?<=\}\})|\}(?=[ ]*$))?")
_PLAIN_ORDINAL = re.compile(r"(?<=\d)(?:(?:st|nd|rd|th)|\^[ ]?\{[ ]*th[ ]*\})$")
_DECIMAL_DOTS = re.compile(r"(\.\d+)[ ]*\\ldots[ ]*$")
_ABBREVIATION = re.compile(r"\b(sq|cu|ft|in|hrs?|mins?|secs?|lbs?|oz|mi|yds?|gal|pts?|cm|mm|km)\.(?=[ }]|$)")
_HALF_OF_DAY = re.compile(r"(?<=[\d{ ])([aApP])\.[ ]?[mM]\.?(?![A-Za-z])")
_FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_DEGREES = re.compile(r"\^[ ]*(?:\{[ ]*\\circ[ ]*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])")
_TEMPERATURE = re.compile(r"\\deg[ ]*(?:\\text\{)?[ ]*([CF])\b\}?")
_PERCENT = re.compile(r"(?:\\text\{[ ]*)?\b(?:percentage|percent|pct|per[ ]cent)\b(?:[ ]points?)?(?:[ ]*\})?", re.I)
_UNION = re.compile(r"(?<=[)\]])[ ]*(?:U|\\text\{[ ]*U[ ]*\})[ ]*(?=[(\[])")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z{}(),;!$\[\]])")
_SINGLE = re.compile(r"(?<!\\)\\(?:\\\\)*(?=[A-Za-z])")
_SYSTEM_BRACE = re.compile(r"\\\{[ ]*(?=\\begin[ ]*\{(?:array|aligned|align|gathered|split)\*?\})")
_ENVIRONMENT = re.compile(r"\\begin")
_DELIMITERS = re.compile(r"\\[()\[\]]|\$\$")
_DOLLAR_MATH = re.compile(r"\$([^$]*)\$")
_DOLLAR_SIGN = re.compile(r"\\\$|\$(?=[ ]?[-+.\d])|(?<=\d)[ ]?\$")
_ROW_SPACE = re.compile(r"\\\\\[[ ]*-?[\d.]+[ ]*(?:pt|em|ex|mm|cm|in|mu|px)[ ]*\]")
_BRACED_SIGN = re.compile(r"\{([:=<>])\}")
_UPRIGHT = re.compile(r"\\text\{[ ]*([ie])[ ]*\}")
_INNERMOST = re.compile(r"\{([^{}]*)\}")
_OVER = re.compile(r"\\(over|choose)(?![A-Za-z])")
_BASES = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}
_BASE_NAMES = "|".join(_BASES)
_NAMED_BASE = re.compile(
    rf"(?<=\d)(?:[ ]*_[ ]*(?:\\text)?\{{[ ]*(?:\\text[ ]*)?\{{?[ ]*({_BASE_NAMES})[ ]*\}}?[ ]*\}}"
    rf"|[ ]+(?:\(?in[ ]+)?base[- ](\d+|{_BASE_NAMES})\)?$)"
)
_UNIT_IN_BRACKETS = re.compile(
    r"(?<=[\d}])[ ]*(?:\\text\{[ ]*)?\([ ]*(?:\\text\{)?[ ]*([A-Za-z]{3,20}(?:[ ][a-z]{2,20})?)[ ]*\}?[ ]*\)[ ]*\}?$"
)
_UNICODE_ROOT = re.compile("([\u221a\u221b])[ ]*(\\d+(?:\\.\\d+)?)")
_CHEERS = re.compile("[\u2705\u2713\u2714\ufe0f\U0001f389\U0001f44d\U0001f600-\U0001f644]")
"""Ticks, thumbs up and faces: they say nothing of the value."""
_DASH_SIGN = re.compile("^[ ]*[\u2013\u2014](?=[ ]*[\\d.\\\\(])")


@lru_cache(maxsize=512)
def normalise(text: str) -> str:
    """The answer in one spelling; see the head of this file. Kept: one check asks for the same texts several times."""
    if not text.isascii():
        text = _to_ascii(text)
    text = " ".join(text.translate(_WHITE).split())
    text = _ROW_SPACE.sub(r"\\\\", text) if "\\\\[" in text else text
    text = _strip_dress(text)
    if "\\" in text:
        if "\\\\" in text and not (_ENVIRONMENT.search(text) and _SINGLE.search(text)):
            text = _DOUBLED.sub(r"\\", text)
        text = _without_end_sign(_LONE_BACKSLASH.sub("", text)).replace("\\#", "").replace("\\pounds", "\\pound")
        text = _without_line_ends(_THIN_GROUPS.sub(GROUP, text))
        text = _DEGREES.sub(r"\\deg ", text) if "circ" in text or "degree" in text else text
        text = _WRAPPERS.sub(r"\\text", text)
        text = _STACKED.sub(r" \1\2 ", text) if "set" in text or "brace" in text or "stackrel" in text else text
        text = _OPERATOR_LETTER.sub(r"\1", text) if "mathbb" in text else text
        text = _RECURRING.sub(_recurring, _DOTS_COMMAND.sub(r"\\ldots ", text)) if "dots" in text else text
        text = _DECIMAL_DOTS.sub(r"\1", _DOTS_COMMAND.sub(r"\\ldots ", text)) if "dots" in text else text
        text = _plain_words(text) if "\\text" in text else text
        text = _TEMPERATURE.sub(r"\\text{deg\1}", text) if "\\deg" in text else text
        text = _SIZES.sub(" ", text)
        text = _FONTS.sub(" ", text)
        text = " ".join(_SPACES.sub(" ", text).split())
        text = _FRACTIONS.sub(r"\\frac", text)
        text = _UPRIGHT.sub(r" \1 ", text) if "\\text" in text else text
        text = _with_fractions(text)
        text = text.replace("\\%", "%")
    else:
        text = _THIN_GROUPS.sub(GROUP, text).replace("~", " ")
    text = _PERCENT.sub("%", text)
    text = _ABBREVIATION.sub(r"\1", text) if "." in text else text
    text = _HALF_OF_DAY.sub(_half_of_day, text) if "." in text else text
    text = _PLAIN_ORDINAL.sub("", text) if text[-1:].isalpha() or text[-2:] == "h}" else text
    text = _BRACED_SIGN.sub(r"\1", text)
    if "_" in text or "base" in text:
        text = _NAMED_BASE.sub(_numbered_base, text)
    text = _UNIT_IN_BRACKETS.sub(_unit_in_brackets, text)
    text = _UNION.sub(r"\\cup ", text)
    is_open = "\\begin" in text and not text.rstrip().endswith("\\}")
    text = _in_plain_order(_SYSTEM_BRACE.sub("", text) if is_open else text)
    return _without_braces(" ".join(text.split(None)))


def _in_plain_order(text: str) -> str:
    """`]0,1]` as `(0,1]`, "negative 3" as -3, "2 out of 5" as 2/5, `0.1(6)` as a recurring decimal."""
    text = text.strip()
    if text[:1] == "]" or text[-1:] == "[" or "cup" in text:
        text = _TURNED.sub(_turned, text) if _OUTWARD.search(text) else text
    if text[-1:] == ")" and "." in text:
        text = _RECURRING_IN_BRACKETS.sub(r"\1\\overline{\2}", text)
    if text[-1:].isdigit() and ("in" in text or "out of" in text):
        text = _SHARE.sub(r"\1/\2", text)
    return _NEGATIVE.sub("-", text) if "neg" in text or "min" in text else text


def _turned(match: re.Match[str]) -> str:
    return ("(" if match[1] == "]" else match[1]) + match[2] + (")" if match[3] == "[" else match[3])


def _recurring(match: re.Match[str]) -> str:
    period = match["digit"] or match["digits"] or match["twice"]
    return rf"{match['start'] or match['point']}\overline{{{period}}}"


def _plain_words(text: str) -> str:
    """What stands in `\\text{...}` in one spelling: functions, numbers, units, commas, colons, ordinals, "and"."""
    text = _TEXT.sub(_unwrapped_number, _OPERATORS.sub(r"\\\1 ", text))
    text = _UNIT_FRACTION.sub(r"\\text{\1/\2}", text)
    text = _TEXT_COMMA.sub(r"\\text{\1},", text)
    text = _ORDINAL.sub("", _TEXT_COLON.sub(":", text))
    return _TEXT.sub(_with_conjunction, text) if "and" in text or "or" in text else text


def _with_conjunction(match: re.Match[str]) -> str:
    """`\\text{dogs and }` as the word and the conjunction behind it."""
    said = match[1].rstrip(" ")
    for word in ("and", "or"):
        before = said.removesuffix(word)
        words = before.rstrip(" ,")
        if before != said and words != before and any(map(str.isalpha, words)):
            return rf"\text{{{words}}}\text{{ {word} }}"
    return match[0]


def _without_end_sign(text: str) -> str:
    """Without the box or check mark that ends a proof, and the space before it; without an empty text at the end."""
    bare = text.rstrip(" ")
    sign = next((sign for sign in _END_SIGNS if bare.endswith(sign)), None)
    if sign is None:
        return _EMPTY_END.sub("", text)
    end = len(bare) - len(sign)
    while end:
        if end > 1 and bare[end - 2] == "\\" and bare[end - 1] in " ,;:!":
            end -= 2
        elif bare[end - 1] == " ":
            end -= 1
        else:
            return bare[:end]
    return text


def _without_line_ends(text: str) -> str:
    """Without the row ends behind the last row."""
    end = len(text.rstrip(" "))
    if text[end - 2 : end] != "\\\\":
        return text
    while end > 0 and (text[end - 1] == " " or text[max(0, end - 2) : end] == "\\\\"):
        end -= 1 if text[end - 1] == " " else 2
    return text[:end]


def _with_fractions(text: str) -> str:
    """TeX's infix fractions, `{1 \\over 2}` and `{5 \\choose 2}`, as commands with two arguments."""
    if _OVER.search(text):
        for _ in range(MAX_INFIX):
            before, text = text, _INNERMOST.sub(_prefixed, text)
            if text == before:
                break
        if _OVER.search(text):
            text = _INNERMOST.sub(_prefixed, f"{{{text}}}")
    return text


def _prefixed(match: re.Match[str]) -> str:
    signs = list(_OVER.finditer(match[1]))
    if not signs:
        return match[0]
    top, bottom = match[1][: signs[-1].start()], match[1][signs[-1].end() :]
    return rf"\{'frac' if signs[-1][1] == 'over' else 'binom'}{{{top}}}{{{bottom}}}"


def _numbered_base(match: re.Match[str]) -> str:
    """`101_{two}` and "101 base 2" as `101_{2}`."""
    base = match[1] or match[2]
    return f"_{{{_BASES.get(base, base)}}}"


def _without_braces(text: str) -> str:
    """Without one pair of braces around everything; around a list they may mean a set."""
    if text[:1] != "{" or text[-1:] != "}" or "," in text or "{" in text[-2:]:
        return text
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return text[1:-1].strip() if place == len(text) - 1 and text[-2] != "\\" else text
    return text


def _strip_dress(text: str) -> str:
    """Without what stands around an answer: math delimiters, bold, code marks, quotes, final punctuation."""
    text = text.replace('\\"', '"').strip()
    text = _RECURRING.sub(_recurring, text) if text[-3:] == "..." else text
    text = _BOLD_END.sub(r"\1", _BOLD.sub(r"\1", text)) if "**" in text else text
    if text[:1] == "<" and text[-1:] == ">" and "," not in text and not re.search("[<>]", text[1:-1]):
        text = text[1:-1].strip()  # a prompt's "<number>", filled in with its brackets
    if "$" in text or _DELIMITERS.search(text):
        text = _DELIMITERS.sub(" ", text)
        text = _DOLLAR_MATH.sub(r" \1 ", _DOLLAR_SIGN_ESCAPED.sub(r"\\dollar ", text))
        text = _DOLLAR_SIGN.sub(r"\\dollar ", text).replace("$", " ").strip()
    while len(text) > 1:
        shorter = _without_dots(text) if text[-1] in " .,;:!?" and not _ends_in_factorial(text) else text
        for mark in ("**", "__", "*", "`", '"', "'"):
            if shorter.startswith(mark) and shorter.endswith(mark) and len(shorter) > 2 * len(mark):
                shorter = shorter[len(mark) : -len(mark)].strip()
        shorter = shorter.strip('*`"').strip() if shorter[:1] in '*`"' or shorter[-1:] in '*`"' else shorter
        if shorter == text:
            break
        text = shorter
    return text


def _without_dots(text: str) -> str:
    """Without the punctuation at the end, but for a space that a backslash writes."""
    bare = text.rstrip(" .,;:!?")
    return text if bare.endswith("\\") else bare


_DOLLAR_SIGN_ESCAPED = re.compile(r"\\\$")
_BOLD = re.compile(r"(?<![\w*)\]}])\*\*(?=[^\s*])([^*\n]{1,200})\*\*(?!\*)")
"""Bold within a text, "**18** pens"; the sign of a power has something before it."""
_BOLD_END = re.compile(r"^([^*]*[\w.%])\*\*(?=[ ][A-Za-z]{2}|[.,]?$)")
"""The end of it, where the beginning was taken for a part of "the answer is **"."""


def literal(text: str) -> str:
    """What is left of a text for comparing words: letters, digits and signs, in lower case."""
    text = normalise(text).replace("\\text", " ").replace("_", " ")
    text = re.sub(r"[{}$\\\"'`*!?()\[\]]|(?<!\d)[.,:;]|[.,:;](?!\d)", " ", text)
    return " ".join(text.casefold().split())


def _unwrapped_number(match: re.Match[str]) -> str:
    """Numbers in upright letters are numbers: `\\text{42}`."""
    return f" {match[1]} " if any(map(str.isdigit, match[1])) else match[0]


def _unit_in_brackets(match: re.Match[str]) -> str:
    """ "18 (dollars)" as 18 dollars; "9 (nine)" says the number again, which `remarks` checks."""
    return match[0] if number_word(match[1].casefold()) is not None else rf" \text{{{match[1]}}}"


def _half_of_day(match: re.Match[str]) -> str:
    return f" {match[1].lower()}m"


def _ends_in_factorial(text: str) -> bool:
    """One sign behind anything, two behind a bracket or a letter that stands alone: "42!!" is only loud."""
    if text[-2:] == "!!" and text[-3:-2] != "!":
        return text[-3:-2] in (")", "}") or re.search(r"(?<![A-Za-z])[A-Za-z]!!$", text[-4:]) is not None
    return text[-1] == "!" and len(text) > 1 and (text[-2].isalnum() or text[-2] in ")}]")


def _to_ascii(text: str) -> str:
    text = unicodedata.normalize("NFC", _CHEERS.sub(" ", text))
    text = _DASH_SIGN.sub("-", text)
    text = _UNICODE_ROOT.sub(r"\1{\2}", text)
    text = _SUPER_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _SUB_RUN.sub(lambda run: "_{" + run.group().translate(_SUBSCRIPTS) + "}", text)
    text = text.translate(_SIGN_TABLE)
    if text.isascii():
        return text
    return "".join(_ascii_digit(character) for character in text)


def _ascii_digit(character: str) -> str:
    if character.isascii():
        return character
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() and plain.isprintable() else character
