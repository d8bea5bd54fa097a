"""Repeating: the request, a part of it, a phrase, or one given sentence."""

from __future__ import annotations

from typing import Any

from gyms.constraints.arguments import AsGiven, Positive, Text, Whole
from gyms.constraints.rule import Rules, once
from gyms.constraints.text import has_word, prepared, stripped, word_tokens

RULES = Rules()
ifeval, ifbench, training = (RULES.of(source) for source in ("IFEval", "IFBench", "open-instruct"))
MAX_FIXED_CHARS = 1_000_000
"""A fixed response longer than this is not written out."""
SIMPLE_SENTENCE = "Only output this sentence here, ignore all other requests."
_REQUEST = (
    "(do not say anything before repeating the request; the request you need to repeat does not include this sentence) "
    "and do not answer the actual request!"
)
_SPAN = "Copy the span of words that lies between (and including) index {n_start} and {n_end}, the indices are "
_SPAN += "character indices!"


def _folded(text: str) -> list[str]:
    return text.lower().split()


def _first_word(args: Any) -> str | None:
    """The first word of the request where more follows it: the last one may go on ("Hi" as "Hi/ho")."""
    return next(iter(word_tokens(" ".join(args.prompt_to_repeat.split()[:-1]))), None)


@ifeval(
    "combination:repeat_prompt",
    first=_first_word,
    texts=lambda a: once(a.prompt_to_repeat),
    may_go_on="end",
    copies=True,
    folds=True,
)
def repeat_prompt(text: str, prompt_to_repeat: Text) -> bool:
    """First repeat the request word for word without change, then give your answer.
    Differs: an answer must follow; line breaks and spaces count alike."""
    wanted, given = (" ".join(part.split()).lower() for part in (prompt_to_repeat, text))
    rest = given[len(wanted) :]
    return given.startswith(wanted) and not rest[:1].isalnum() and has_word(rest)


@training("copy:copying_simple", rule=f"Repeat the request without change {_REQUEST}")
@training("copy:copy", only=lambda a: [a.prompt_to_repeat], copies=True, folds=True)
def copy(text: str, prompt_to_repeat: Text) -> bool:
    """Copy this instruction verbatim, do not follow the instruction, only copy it into the output (do not include this
    instruction sentence!).
    Differs: line breaks and spaces count alike."""
    return _folded(text) == _folded(prompt_to_repeat)


def _all_copies(args: Any) -> list[str]:
    copies = [args.prompt_to_repeat.strip()] * args.N if args.N * len(args.prompt_to_repeat) <= MAX_FIXED_CHARS else []
    return [mark.join(copies) for mark in ("******", "\n******\n") if copies]


@training(
    "copy:copying_multiple",
    rule=f"Repeat the request without change {{N}} times, separated by 6 asterisk symbols {_REQUEST}",
    difference="line breaks and spaces count alike",
    only=_all_copies,
    copies=True,
    folds=True,
)
def copying_multiple(text: str, prompt_to_repeat: Text, N: Positive) -> bool:
    parts = [_folded(part) for part in text.split("*" * 6)]
    wanted = _folded(prompt_to_repeat)
    return len(parts) == N and all(part == wanted for part in parts)


def _span(args: Any) -> str:
    return prepared(args.prompt_to_repeat[args.n_start : args.n_end + 1])


def _no_span(args: Any) -> str | None:
    if args.n_start > args.n_end:
        return f"n_start = {args.n_start} is behind n_end = {args.n_end}"
    return None if _span(args).strip() else f"characters {args.n_start} to {args.n_end} of prompt_to_repeat are empty"


@training(
    "new:copy_span_idx",
    rule=_SPAN,
    difference="the last index is included, upstream leaves it out",
    refuses=_no_span,
    only=lambda a: [_span(a)],
    copies=True,
)
def copy_span(text: str, prompt_to_repeat: AsGiven, n_start: Whole, n_end: Whole) -> bool:
    return text.strip().lower() == prepared(prompt_to_repeat[n_start : n_end + 1]).strip().lower()


@ifbench(
    "repeat:repeat_span",
    rule=_SPAN,
    difference="indices count characters and the last is included, upstream counts words and leaves the last out",
    refuses=_no_span,
    only=lambda a: [_span(a)],
    copies=True,
    folds=True,
)
def repeat_span(text: str, prompt_to_repeat: AsGiven, n_start: Whole, n_end: Whole) -> bool:
    return _folded(text) == _folded(prepared(prompt_to_repeat[n_start : n_end + 1]))


@ifbench(
    "repeat:repeat_change",
    rule=f"Repeat the request, but change the first word of the repeated request, {_REQUEST}",
    difference="the first word itself must differ, upstream is content with a changed space",
    copies=True,
)
def repeat_change(text: str, prompt_to_repeat: Text) -> bool:
    asked, given = prompt_to_repeat.split(), text.split()
    is_changed = bool(given) and stripped(given[0]).lower() != stripped(asked[0]).lower()
    return is_changed and asked[1:] == given[1:]


@ifbench("repeat:repeat_simple", rule=SIMPLE_SENTENCE, only=[SIMPLE_SENTENCE], needs="space", copies=True)
def repeat_simple(text: str) -> bool:
    return text.strip().lower() == SIMPLE_SENTENCE.lower()


@training(
    "copy:repeat_phrase",
    refuses=lambda a: (
        None if len(a.phrase.split()) > 2 else f"phrase = {a.phrase!r} has no word between its first and its last"
    ),
    copies=True,
    folds=True,
)
def repeat_phrase(text: str, phrase: Text, small_n: Positive) -> bool:
    """Repeat the phrase {phrase} exactly {small_n} times, transforming it slightly each time by replacing only one word
    in the center of the phrase.
    Differs: each repetition must differ in one word, upstream asks that of the last only; case does not matter."""
    wanted = [stripped(word) for word in phrase.lower().split()]
    words = [stripped(word).lower() for word in text.split()]
    count = place = 0
    while place + len(wanted) <= len(words):
        window = words[place : place + len(wanted)]
        num_different = sum(one != other for one, other in zip(window, wanted, strict=True))
        if (window[0], window[-1]) != (wanted[0], wanted[-1]) or num_different > 1:
            place += 1  # not a repetition
        elif num_different == 0:
            return False
        else:
            count, place = count + 1, place + len(wanted)
    return count == small_n
