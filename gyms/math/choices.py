r"""Which option an answer names: `D`, `(D)`, `\textbf{(D)}\ 45`, "option D", "D. the median".

The letter stands first, alone or set off by a bracket, a full stop or a colon; what follows is the option's own text,
and must not name another option: `A) B C D` lists them all. A sentence may *claim* one ("the best choice is C, since D
is too large", "so C is correct"): what it gives as its reason, or denies, may then name others. No option is claimed by
what others choose, by what a letter is picked *as*, by "statement C is true", or before talk of "the third option".
A short sentence may
name one option anywhere ("I choose B"). A letter without brackets may be a variable, so a bare `B` as the gold answer
is both: `verify` asks here first, then compares as mathematics.
"""

from __future__ import annotations

import re

__all__ = ["LETTERS", "choice_and_rest", "choice_of", "is_letter", "last_claim", "may_stand_behind", "option_of"]

LETTERS = "ABCDEFGHIJ"
MAX_WORDS = 8
"""A longer sentence may name an option for any reason."""
MAX_NAME_WORDS = 3
"""Up to so many words are a name, "the statement B"."""
MAX_CHARS = 400
MAX_CLAIM_CHARS = 4_000
"""How far before a response's end a claim is looked for."""

_WRAPPERS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|normal|up)?|math(?:rm|bf|sf|it)|mbox|hbox|underline|q?quad)(?![A-Za-z])"
)
_MARKS = re.compile(r"[{}$*]|\\[ ,;:!]|\\(?=\s|$)")
_DRESSED = re.compile(
    r"[\s$]*(?:\\(?:text(?:bf|it|rm)?|math(?:rm|bf)|mbox)[ ]?\{[ ]?)?\([ ]?[A-J][ ]?\)"
    r"(?:[ ]?\}|[ ]|\\[ ,;:]|~|\\q?quad)"
)
_FIRST = re.compile(
    r"(?:(?:the|my)[ ])?(?:(?:correct|right|best|final)[ ])?(?:(?:option|choice|answer|letter)(?:[ ]is|[ ]?:)?[ ]?)?"
    r"(?:[(\[][ ]?([A-J])[ ]?[)\]][ ]?[.:]?|([A-J])(?:[ ]?[).:]+|(?=$)))[ ]?(.*)",
    re.I,
)
_OTHER = re.compile(
    r"^(?:or|and|,|/|&|\|)|(?<![A-Za-z\\'])(?:[B-HJ]|A(?![ ][a-z]))(?![A-Za-z'])"
    r"|[(\[][ ]?[A-Ja-j][ ]?[)\]]|(?<!\w)I[).:]"
)
_REASON = re.compile(r"^(?:because|since|as|for the reason)\b.*", re.I)
_VERB = re.compile(r"(?:is|was|are|seems|looks|does|can|could|may|might|would|cannot|isn't|wasn't|doesn't)\b(.*)", re.I)
_PRAISE = re.compile(r"[ ](?:the[ ])?(?:correct|right|answer|true)\b", re.I)
_NAMED = re.compile(r"\(([A-J])\)|(?<![\w'(])([B-HJ]|A(?!\s+(?!and\b|or\b|nor\b)[a-z]))(?![\w'])")
_DENIAL = re.compile(
    r"\b(?:not|cannot|wrong|incorrect|false|except|neither|never|isn|but|excluded?|impossible"
    r"|or|either|another|else|maybe|perhaps|guess|if|unless|whether|suppose|assume|could|might|doubt)\b|n't\b",
    re.I,
)
_OTHER_USE = re.compile(
    r"\b(?:let|consider|check|try|test|denotes?|where|points?|midpoint|sides?|angles?|triangle|circle|line|segment|set"
    r"|vertex|vertices|event|matrix|column|row|variable|constant|vector|plane|node|box|bag|player|person|team)\b",
    re.I,
)
"""In a sentence that claims nothing, a bare letter beside such a word is something else's name."""
_OTHERS = re.compile(r"\b(?:statements?|claims?|cases?|assertions?|students?|people|they|many|most)\b", re.I)
"""In a sentence they are what others choose, or what an option speaks of; "Statement B" alone is an answer."""
_NAMED_BEFORE = re.compile(
    r"\b(?:points?|midpoint|sides?|angles?|triangles?|circles?|lines?|segments?|sets?|vertex|vertices|events?|matrix"
    r"|matrices|columns?|rows?|variables?|constants?|vectors?|planes?|nodes?|box|boxes|bags?|players?|person|persons"
    r"|teams?|statements?|claims?|cases?|assertions?|propositions?|hypothesis|conclusions?|lemma|theorem|premise|parts?"
    r"|steps?|figures?|graphs?|diagrams?|regions?|areas?|curves?|functions?|towns?|city|cities|stations?|groups?"
    r"|class|types?|kinds?|plans?|methods?|machines?|pumps?|containers?|tanks?|jars?|urns?|company|companies|stores?|shops?"
    r"|schools?|trains?|cars?|runners?|workers?|students?|child|friend|species|samples?|solutions?|expressions?"
    r"|equations?|formulas?|numbers?|values?|letters?[ ]of|named?|called|labell?ed)[ ](?:and[ ]|or[ ])?[(\[]?[ ]?$",
    re.I,
)
"""What the letter directly behind it is the name of: no option."""
_WHO = re.compile(
    r"(?:(?:^|[.!?:][ ]+)(?:(?:so|hence|thus|therefore|then|finally|now|please)[ ,]+)*"
    r"|[,;][ ](?:and[ ])?(?:(?:so|hence|thus|therefore|then)[ ,]+)+"
    r"|\b(?:I|we)(?:'(?:ll|d|ve|m|re))?[ ](?:(?:would|will|shall|should|must|can|have|had|to|am|are|do|did|therefore"
    r"|thus|then|hence|now|finally|simply|definitely|confidently|clearly|also|decided?|want|need)[ ]){0,4}"
    r"|\blet(?:'s|[ ]us)[ ](?:therefore[ ]|then[ ])?|\bmust[ ](?:therefore[ ]|then[ ])?"
    r"|\b(?:correct|right|best|answer)[ ](?:(?:choice|option|answer|is|thing|move)[ ]){0,2}to[ ])$",
    re.I,
)
"""Whose choice counts: "I pick", "we must therefore choose", "So select"; not "most students choose"."""
_AS_ITS_NAME = re.compile(
    r"[ ]+(?:as|for|to[ ]be)[ ](?:the|an?|our|its|their)[ ]"
    r"(?!(?:(?:only|most|correct|right|best|final|simple|same|following)[ ])*(?:answer|option|choice|one|reasons?)\b)"
    r"|[ ]+as[ ][a-z]+(?=[.,;]|$)",
    re.I,
)
"""Behind a letter that is picked for a part: "we pick A as the origin"."""
_SPEAKS_ON = re.compile(r"\b(?:options?|choices?|answers?|first|second|third|fourth|fifth|last|former|latter)\b", re.I)
"""Behind a claim: what may take it back without a letter, "the true value matches the third option instead"."""
_OPTION = r"(?:(?:option|choice|answer|letter)[ ])?[(\[]?[ ]?(?P<letter>[A-J])[ ]?[)\].]?(?![\w'])"
_SURELY = r"(?:[ ](?:therefore|thus|then|hence|clearly|indeed|simply|obviously|definitely|only))?"
_CLAIMS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter|[Oo]ne)(?:[ ](?:here|above|below))?"
        rf"(?:[ ](?:is|must[ ]be|has[ ]to[ ]be|would[ ]be|should[ ]be){_SURELY}[ ]?:?|[ ]?:)[ ]{_OPTION}",
        rf"(?<![\w'\\]){_OPTION}[ ](?:is|must[ ]be){_SURELY}"
        r"[ ](?:the[ ](?:only[ ])?(?:(?:best|correct|right)[ ])?(?:best|correct|right|answer|one|option|choice)"
        r"|correct|right|best|true)\b",
        rf"\b(?P<picked>pick|choose|select|chose|picked|selected|go[ ]with|going[ ]with)[ ]{_OPTION}",
        rf"^{_OPTION}(?=,?[ ](?:not|rather[ ]than|instead[ ]of)\b)",
        rf"^(?:(?:[Hh]ence|[Tt]hus|[Tt]herefore|[Ss]o)[ ,]+)?(?:the[ ])?(?:[Oo]ption|[Cc]hoice)[ ]{_OPTION}"
        r"(?=$|[.,;:!]|[ ](?:because|since|as|for|given|not|rather|instead|must|is|alone|only)\b)",
    )
)
_ASIDE = re.compile(
    r"[ ,;.(]{1,3}(?:because|since|as|for|given|so|while|whereas|rather[ ]than|instead[ ]of|(?:and[ ])?not"
    r"|the[ ](?:others?|rest|remaining))\b[^.]*"
)
"""Behind a claim: its reason, or what it denies."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z(*])|\n+")


def choice_of(text: str) -> str | None:
    """The letter of the only option that an answer names, in upper case, or None."""
    if len(text) > MAX_CHARS:
        return None
    first = choice_and_rest(text)
    return first[0] if first is not None else _claimed(text) or _only_letter(text)


def may_stand_behind(before: str) -> bool:
    """Whether the end of a sentence may name its option: what stands before neither denies it nor claims another."""
    plain = _plain(before)
    return not _is_denial(plain) and not _mentions(plain)


def last_claim(response: str) -> str | None:
    """The option that the last sentence to claim one claims; None where a later one names another, or speaks of any."""
    sentences = _SENTENCE.split(response[-MAX_CLAIM_CHARS:])
    for place in range(len(sentences) - 1, -1, -1):
        letter = _claimed(sentences[place])
        if letter is not None:
            return letter if _lets_stand(letter, _plain(" ".join(sentences[place + 1 :]))) else None
    return None


def choice_and_rest(text: str) -> tuple[str, str] | None:
    """The letter that an answer begins with, and the option's text behind it; None where it begins with none."""
    if len(text) > MAX_CHARS:
        return None
    plain = _plain(text)
    match = _FIRST.fullmatch(plain)
    if match is None:
        return None
    rest = _REASON.sub("", match[3]).strip(" .,")
    if _OTHER.search(rest):
        return None
    verb = _VERB.match(rest)
    if verb is not None and not _PRAISE.match(verb[1]):
        return None
    return (match[1] or match[2]).upper(), rest


def option_of(gold: str) -> tuple[str, str] | None:
    r"""The letter and the text of a gold answer that gives both, such as `\textbf{(B)}\ 30`; None for others."""
    return choice_and_rest(gold) if _DRESSED.match(gold) and not is_letter(gold) else None


def is_letter(text: str) -> bool:
    """True for a gold answer that is one letter from A to J: bare, in brackets, or in upright letters."""
    return re.fullmatch(rf"[(\[]?[ ]?[{LETTERS}][ ]?[)\]]?[ ]?[.:]?", _plain(text)) is not None


def _claimed(text: str) -> str | None:
    """The one option that a text claims, in words that say so; None where it claims none, two, or takes it back."""
    if len(text) > MAX_CHARS:
        return None
    plain = _plain(text)
    mentions = _mentions(plain)
    claims = [match for match in mentions if _is_own(match)]
    if not claims or len({match["letter"] for match in mentions}) != 1:
        return None
    claim = max(claims, key=lambda match: match.end())
    letter = claim["letter"]
    rest = plain[claim.end() :]
    aside = _ASIDE.match(rest)
    rest = rest[aside.end() :] if aside is not None else rest
    is_asked = rest.lstrip().startswith("?")
    if is_asked or _is_denial(plain[: min(match.start() for match in mentions)]) or _DENIAL.search(rest):
        return None
    return letter if _lets_stand(letter, rest) else None


def _mentions(plain: str) -> list[re.Match[str]]:
    """What sounds like a claim of an option, whoever makes it."""
    return [match for pattern in _CLAIMS for match in pattern.finditer(plain)]


def _is_own(claim: re.Match[str]) -> bool:
    """Whether a claim is the writer's own, and of an option: no "statement B is true", no "we pick A as the origin"."""
    before, behind = claim.string[: claim.start("letter")], claim.string[claim.end("letter") :].lstrip(").]")
    if _NAMED_BEFORE.search(before):
        return False
    if "picked" not in claim.re.groupindex:
        return True
    return _WHO.search(claim.string[: claim.start()]) is not None and _AS_ITS_NAME.match(behind) is None


def _lets_stand(letter: str, rest: str) -> bool:
    """Whether what follows a claim names no other option, and speaks of none without its letter."""
    return _named(rest) <= {letter} and _SPEAKS_ON.search(rest) is None


def _is_denial(before: str) -> bool:
    """Whether what stands before a claim takes it back, or makes it a case."""
    return _DENIAL.search(re.split(r"[,;.]", before)[-1]) is not None or re.search(r"\bif\b", before, re.I) is not None


def _only_letter(text: str) -> str | None:
    """The only option that a sentence names, as in "I choose B."; "A" and "I" are words unless in brackets."""
    plain = _plain(text)
    num_words = len(plain.split())
    if num_words > MAX_WORDS or (num_words > MAX_NAME_WORDS and _OTHERS.search(plain)):
        return None
    if _DENIAL.search(plain) or re.search(r"[=<>+]", plain):
        return None
    named = _named(plain)
    if len(named) != 1 or (_OTHER_USE.search(plain) and "(" not in plain):
        return None
    return named.pop()


def _named(plain: str) -> set[str]:
    return {one or other for one, other in _NAMED.findall(plain)}


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub(" ", _WRAPPERS.sub(" ", text)).split())
