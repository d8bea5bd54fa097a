"""One check of one response: extract, read, compare. Pure: the same arguments give the same result, anywhere.

Nothing here waits, forks, or sets a signal; the caps of `tree` bound the time, and the scoring worker that calls it can
be killed. `verify` is what the gym, the tests and the benchmark call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from gyms.api import Status
from gyms.math.choices import choice_and_rest, choice_of, last_claim, may_stand_behind
from gyms.math.compare import equivalent, share_right
from gyms.math.extract import MAX_DISTINCT_FINALS, TOO_LONG, Extracted, extract
from gyms.math.gold import BadGold, Gold, read_gold
from gyms.math.guesses import otherwise_said, restates
from gyms.math.normal import literal, normalise
from gyms.math.read import read, read_labelled
from gyms.math.relations import FalseEquation
from gyms.math.remarks import in_digits
from gyms.math.scalars import Rules
from gyms.math.shapes import differs_in_case
from gyms.math.tree import MAX_ANSWER_CHARS, MAX_RESPONSE_CHARS, TooComplex, Unreadable, check_text
from gyms.response import final_text

__all__ = ["AnswerCheck", "partial_value", "verify", "verify_gold"]

_PROSE = re.compile(r"[A-Za-z']{2,}[ ,]")
_RATIO_WORD = re.compile(r"(?<=\d)\s*(?:\\text\{)?\s*\bto\b\s*\}?\s*(?=\d)")
_BEFORE_WORD = re.compile(r"(?:\b(?:is|are|be|equals)|[=:])[\s*$]{0,9}$", re.I)
_ARTICLES = re.compile(r"^(?:the|an?)\s+")
_TRANSFORMS = re.compile(
    r"\b(?:simplif|express|convert|write|evaluate|compute|calculate|factor|expand|rewrite|reduce)", re.I
)


MAX_CHANGES = 1
"""Changes of mind from one box to another: two are a list of guesses."""
MAX_LEAD = 20
"""Characters before a number in words that tell whether it is the answer."""
MIN_ECHO_CHARS = 12
"""A shorter text may stand in the question by accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCheck:
    """What became of one response."""

    status: Status
    is_right: bool = False
    answer: str | None = None
    """The answer as it was extracted."""
    flags: frozenset[str] = frozenset()
    detail: str = ""


def verify(
    gold: str,
    response: str,
    *,
    question: str = "",
    answer_type: str = "auto",
    tolerance: float | str | Fraction | None = None,
    units: str | bool | None = None,
    significant_digits: int = 6,
    finals: str = "last",
) -> AnswerCheck:
    """Verify a response, or a bare answer, against a gold answer.

    Args:
        gold: the gold answer, bare or with its own box (`\\boxed{12}`).
        response: what the model said.
        question: the problem's text, where known: an echo of it is no answer.
        answer_type: one of ANSWER_TYPES.
        tolerance: largest absolute difference of numbers; None: exact, but for the rules of docs/math.md.
        units: the unit of the gold answer where it is not written in it; True: an answer must have its unit.
        significant_digits: digits that a decimal needs to stand for 1/3 or pi.
        finals: `agree` or `last`, see `Gold`.

    A gold answer that cannot be used gives the status `bad_task`.

    Example:
        verify("1/2", "so it is \\\\boxed{0.5}").is_right
    """
    try:
        found = read_gold(
            gold, question=question, answer_type=answer_type, tolerance=tolerance, units=units,
            significant_digits=significant_digits, finals=finals,
        )  # fmt: skip
    except BadGold as error:
        return AnswerCheck(status=Status.BAD_TASK, detail=str(error))
    return verify_gold(found, response)


def verify_gold(gold: Gold, response: str) -> AnswerCheck:
    """Verify a response against a gold answer that was read."""
    if len(response) > MAX_RESPONSE_CHARS:
        return AnswerCheck(status=Status.TOO_COMPLEX, detail=f"the response has over {MAX_RESPONSE_CHARS} characters")
    found = extract(response)
    if found.problem:
        status = Status.TOO_COMPLEX if found.problem == TOO_LONG else Status.NO_ANSWER
        return AnswerCheck(status=status, detail=found.problem, flags=found.flags)
    if found.finals:
        return _check_finals(gold, found)
    return _check_unmarked(gold, found, response)


def partial_value(gold: Gold, checked: AnswerCheck) -> float:
    """The share of a collection's parts that an answer has right, in [0, 1); 0 for a conflict or a refused form."""
    if checked.answer is None or checked.flags & {"conflict", "unevaluated", "restated", "false_equation"}:
        return 0.0
    rules = Rules(tolerance=gold.tolerance, significant_digits=gold.significant_digits)
    try:
        return share_right(gold.node, read(checked.answer, unit_hint=gold.has_unit), rules)
    except (Unreadable, FalseEquation):
        return 0.0


def _check_finals(gold: Gold, found: Extracted) -> AnswerCheck:
    finals = [final.strip() for final in found.finals if final not in found.phrases or _is_readable(final)]
    if not finals:
        finals = [found.finals[-1].strip()]
    taken_back = [final.strip() for final in found.taken_back if final.strip() in finals]
    said = [*(found.boxes or taken_back), finals[-1]]
    if found.boxes and _agrees(gold, found.boxes[-1], finals[-1]):
        taken_back += [final.strip() for final in found.boxes]
    if found.guess is not None and found.guess.is_correction and not _says_again(gold, found.guess.text, finals[-1]):
        taken_back.append(finals[-1])
        finals.append(found.guess.text)
        said.append(found.guess.text)
    answer = finals[-1]
    if gold.finals == "last" and _is_hedged(gold, said):
        return AnswerCheck(
            status=Status.NO_ANSWER, flags=found.flags | {"conflict", "hedge"}, detail="the finals hold several answers"
        )
    checked = _check(gold, answer, found.flags)
    if answer in found.phrases and not checked.is_right and (parts := otherwise_said(answer)) is not None:
        first = _check(gold, parts[0], found.flags)
        if first.is_right and _says_again(gold, parts[1], parts[0]):
            checked, answer = first, parts[0]
    if found.guess is not None and not found.guess.is_correction:
        guess = found.guess.text
        both = _check(gold, f"{answer} or {guess}", found.flags)
        if both.is_right:
            checked = both
        elif checked.is_right and not _says_again(gold, guess, answer):
            return AnswerCheck(
                status=Status.OK, answer=answer, flags=checked.flags | {"conflict"}, detail=f"or {guess}"
            )
    if len(finals) > 1 and checked.is_right:
        replaced = taken_back if gold.finals == "last" else []
        others = [final for final in finals[:-1] if final not in replaced]
        if len(others) >= MAX_DISTINCT_FINALS or not all(_agrees(gold, other, answer) for other in others):
            return AnswerCheck(
                status=Status.OK, answer=answer, flags=checked.flags | {"conflict"}, detail="the final answers differ"
            )
    return checked


def _is_hedged(gold: Gold, boxes: list[str]) -> bool:
    """Whether boxes in a row hold more than one change of mind: three different answers, or one that comes back."""
    changes = 0
    for before, after in pairwise(boxes):
        changes += not _agrees(gold, before, after)
        if changes > MAX_CHANGES:
            return True
    return False


def _agrees(gold: Gold, other: str, answer: str) -> bool:
    """Whether two finals say the same: by their text, because both are right, or because they are equal."""
    if max(len(other), len(answer)) > MAX_ANSWER_CHARS:
        return other == answer
    if normalise(other) == normalise(answer):
        return True
    right = [_check(gold, text, frozenset()).is_right for text in (other, answer)]
    if any(right):
        return all(right)
    try:
        return equivalent(read_labelled(answer), read_labelled(other), Rules())
    except (Unreadable, FalseEquation):
        return False


def _says_again(gold: Gold, guess: str, answer: str) -> bool:
    """Whether a guess says the right answer anew; behind a letter without a known option, what is no letter may."""
    if gold.is_choice and not gold.option and choice_of(guess) is None:
        return True
    return _agrees(gold, guess, answer) or restates(guess, answer)


def _is_readable(text: str) -> bool:
    """False for prose: it claims no value."""
    if in_digits(normalise(text)) is not None:
        return True
    try:
        read(text)
    except TooComplex:
        return True
    except Unreadable:
        return False
    return True


def _check_unmarked(gold: Gold, found: Extracted, response: str) -> AnswerCheck:
    if gold.question and _is_echo(response, gold.question):
        return AnswerCheck(
            status=Status.NO_ANSWER, flags=frozenset({"echo"}), detail="the response repeats the question"
        )
    asked = gold.question.strip()
    if len(asked) >= MIN_ECHO_CHARS and asked in response:
        found = extract(response.replace(asked, "\n"))  # the question's own numbers are no answer
    checked: AnswerCheck | None = None
    for candidate in found.candidates:
        if _is_prose_sum(candidate) and candidate != found.candidates[-1]:
            continue
        if not _may_be_spelled(candidate, response):
            continue
        if gold.is_choice and not may_stand_behind(_before(candidate, found.candidates)):
            continue
        judged = _check(gold, candidate, found.flags)
        if judged.status is Status.TOO_COMPLEX and checked is None:
            return judged
        if judged.is_right or (judged.status is Status.OK and judged.detail != "words"):
            return judged
        checked = checked or judged
    said = last_claim(final_text(response) or "") if gold.is_choice else None
    if said is not None:
        return _check(gold, said, found.flags)
    if checked is None or checked.status is not Status.OK or checked.detail == "words":
        return AnswerCheck(status=Status.NO_ANSWER, detail="no final answer is marked", flags=found.flags)
    return checked


def _may_be_spelled(candidate: str, response: str) -> bool:
    """False for a number in words that is but the end of a text: "Six. Seven.", "a tough\\none"."""
    if in_digits(normalise(candidate)) is None:
        return True
    text = (final_text(response) or "").strip()
    return text == candidate or _BEFORE_WORD.search(text[: max(0, text.rfind(candidate))][-MAX_LEAD:]) is not None


def _is_prose_sum(candidate: str) -> bool:
    """True for a sentence around a sum: what stands behind the equals sign is the answer."""
    before, sign, _ = candidate.partition("=")
    return bool(sign) and _PROSE.match(before) is not None and any(map(str.isdigit, before))


def _before(candidate: str, candidates: tuple[str, ...]) -> str:
    """What stands before a candidate in another one that ends in it; empty where none does."""
    whole = next((other for other in candidates if other != candidate and candidate in other), "")
    return whole[: whole.rindex(candidate)] if whole else ""


def _is_echo(response: str, question: str) -> bool:
    squeezed = "".join(response.split()).casefold()
    return not squeezed or (
        len(squeezed) > 1 and squeezed in "".join(question.split()).casefold() and len(squeezed) > 12
    )


def _check(gold: Gold, text: str, flags: frozenset[str]) -> AnswerCheck:
    """One extracted answer against the gold answer."""
    rules = Rules(
        tolerance=gold.tolerance,
        significant_digits=gold.significant_digits,
        require_unit=gold.require_unit,
        is_percent_question=_asks_percent(gold.question),
    )
    answer = text.strip()[:500]
    try:
        check_text(text)
        is_right = _is_right(gold, text, rules)
        words = "words" if not is_right and _is_words(text, gold) else ""
    except FalseEquation:
        rules.flags.add("false_equation")
        return AnswerCheck(
            status=Status.OK, answer=answer, flags=flags | rules.flags, detail="the answer is a false equation"
        )
    except TooComplex as error:
        return AnswerCheck(status=Status.TOO_COMPLEX, answer=answer, flags=flags, detail=str(error))
    except Unreadable as error:
        return AnswerCheck(status=Status.INVALID_ANSWER, answer=answer, flags=flags, detail=str(error))
    if is_right and _is_restated(gold, text):
        rules.flags.add("restated")
        is_right = False
    return AnswerCheck(
        status=Status.OK, is_right=is_right, answer=answer, flags=flags | frozenset(rules.flags), detail=words
    )


def _is_right(gold: Gold, text: str, rules: Rules) -> bool:
    if gold.is_choice:
        letter = choice_of(text)
        if letter is not None:
            return letter == gold.node.value and _is_option(gold, text)
        if gold.option:
            return equivalent(read(gold.option), read_labelled(text), rules)
        if not gold.is_variable:
            return False
    if gold.node.op in ("text", "word"):
        parts = [text, text.rpartition("=")[2]]
        if gold.node.op == "word" and any(differs_in_case(gold.text, part) for part in parts):
            return False
        said = {_ARTICLES.sub("", literal(part)) for part in parts}
        if _ARTICLES.sub("", gold.node.value) in said:
            return True
        if gold.node.op == "text":
            return False
    elif (digits := in_digits(normalise(text))) is not None:
        text = digits
    if gold.node.op == "ratio":
        text = _RATIO_WORD.sub(":", " ".join(text.split()))
    return equivalent(gold.node, read_labelled(text, unit_hint=gold.has_unit), rules)


def _is_option(gold: Gold, text: str) -> bool:
    """False where both sides give the option's text, and the texts are of different values."""
    said = choice_and_rest(text)
    if not gold.option or said is None or not said[1]:
        return True
    try:
        return equivalent(read(gold.option), read(said[1]), Rules())
    except (Unreadable, FalseEquation):
        return literal(gold.option) == literal(said[1])


def _is_words(text: str, gold: Gold) -> bool:
    """True where the answer is plain words and the gold answer is not: prose, in an unmarked candidate."""
    if gold.node.op in ("text", "word") or gold.is_choice:
        return len(text.split()) > 6
    try:
        return read(text).op in ("text", "word")
    except Unreadable:
        return True


def _is_restated(gold: Gold, text: str) -> bool:
    """True where the answer stands in the question letter by letter, and the gold answer is another way to say it."""
    if not gold.question or not _TRANSFORMS.search(gold.question):
        return False
    said, wanted, asked = (_squeezed(part) for part in (text, gold.text, gold.question))
    if said == wanted or len(said) < 3 or not re.search(r"[-+*/^!]|\\", said):
        return False
    return re.search(rf"(?<![\d.]){re.escape(said)}(?!\d|\.\d)", asked) is not None


def _squeezed(text: str) -> str:
    return "".join(normalise(text).split())


def _asks_percent(question: str) -> bool:
    return bool(question) and re.search(r"percent|per cent|%", question, re.I) is not None
