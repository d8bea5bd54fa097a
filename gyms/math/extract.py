r"""Where the final answer stands in a response, in linear time.

*Segment.* What `gyms.response.final_text` leaves: thoughts are cut, and thoughts without an end are no answer.
*Finals*, in the order of the text: top-level `<answer>...</answer>` blocks (if there is one, only what it holds
counts), `\boxed{...}`, `#### ...`, "the answer is ..." behind the last of those or with the word "final". The last
final is the answer; which others must agree with it is for `verify` to say, by the setting `finals`. Boxes with nothing
between them but commas, "and" or "or" are one final: a list. A mention of the command ("in \boxed as asked", an empty
`\boxed{}` before the answer) is none.
*No fallback.* If the last box is empty or never closed there is no answer, whatever stands before it.
*Unmarked.* Without any final there are candidates: `unmarked`.

Every pattern is linear: marks are found from the end, at most MAX_MARKS of a kind, and what they hold is bounded.
"""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import NamedTuple

from gyms.math.beside import continued, is_denied, signed
from gyms.math.guesses import Guess, guess_behind, is_taken_back
from gyms.math.remarks import adverbs_end
from gyms.math.tree import MAX_NESTING
from gyms.math.unmarked import CLAIM, MATH, MAX_UNMARKED_CHARS, is_number_word, unmarked
from gyms.response import final_text, without_fences

__all__ = ["MAX_DISTINCT_FINALS", "TOO_LONG", "Extracted", "boxed", "extract"]

MAX_DISTINCT_FINALS = 8
"""More different finals than this are a conflict without a look at them."""
MAX_MARKS = 64
"""Most marks of a kind that are looked at, from the end."""
MAX_NEEDLE_OFFSET = 10
"""Characters of a mark before the needle that it is found by."""
MAX_CHECK_CHARS = 20
"""Longest "verifying our" before an answer that is only looked at again."""
MAX_BOX_CHARS = 4_000
"""A box is looked at so far."""
TOO_LONG = f"the final box has over {MAX_BOX_CHARS} characters"

_SOLUTION_MARKS = re.compile(r"<\|(?:begin|end)_of_solution\|>")
_ANSWER_TAG = re.compile(r"<(/?)answer>", re.I)
_ANSWER_BLOCK = re.compile(r"<answer>(.*?)</answer>", re.I | re.S)
_FENCE_LINE = re.compile(r"^[ \t]*(?:```+|~~~+)[^\n`]{0,30}$\n?", re.M)
_GAP = "\n" * 4
"""In the place of fenced code: no phrase reaches across it."""
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s{0,3}|(?<![A-Za-z\\])(?:boxed|fbox)(?=\{)")
_BRACE = re.compile(r"\\.|[{}]", re.S)
_BARE = re.compile(r"[^\s{}$\\]{1,40}")
_HASHES = re.compile(r"(?<!#)####(?!#)(?:[ \t]*\n)?[ \t]*([^\n]*)")
_PHRASE = re.compile(
    r"\b(final[ ]+|(?:correct|right)[ ]+(?=answer|option|choice)|the[ ]+(?=option|choice))?"
    r"(?:answers?|(?<=t )option|(?<=t )choice)(?:[*_]{0,2}[ ]*\([^()\n]{0,30}\))?[*_]{0,2}[ ]*"
    r"(?:(?:to|for|of)\b[^.:\n=]{1,60}?)?(?:\b(?:is|are|would[ ]be|must[ ]be|equals)\b[ ]*:?|:|=)"
    r"[*_]{0,2}[ ]*:?\s{0,3}",
    re.I,
)
_CONNECTORS = re.compile(
    r"(?:[\s,;&~$]|\\[()\[\],;:! ]|\\q?quad|\\text\{|\\mbox\{|[{}]"
    r"|\b(?:and|or|maybe|perhaps|possibly|for|part)\b|\([a-d1-4]\))*"
)
_AFTER_BOX = re.compile(
    r"(?:[ ~]|\\[ ,]){0,9}\$?[ ]{0,9}(?:(?P<percent>\\?%|percent\b|per cent\b|pct\b|\\text\{[ ]{0,9}percent[ ]{0,9}\})"
    r"|(?P<degree>\^\{?\\circ\}?|\u00b0)"
    r"|(?P<power>\\(?:times|cdot)[ ]?10[ ]?\^[ ]?(?:\{[ ]?-?\d{1,5}[ ]?\}|\d))"
    r"|(?:\\text\{[ ]?)?(?P<scale>(?:hundred|thousand|[a-z]{1,9}illion|dozen|lakh|crore)s?\b(?!-)"
    r"|and an? (?:half|third|quarter)\b"
    r"|[万萬亿億만억]|千(?![克米瓦])|тыс|млн|млрд|милли(?:он|ард)))"
)
"""What stands right behind a box and makes another number of what it holds."""
_CHECK = re.compile(r"\b(?:check|verify|test|checking|verifying)[ ]+(?:our|the|this|my|your)[ ]+$", re.I)
_SENTENCE_END = re.compile(r"[.!?](?=[\s*\"']|$)(?<!\b[A-J]\.)(?<!\bsq\.)(?<!\bcu\.)(?<!\bi\.e\.)|\n|(?:<\|)|$")
_BECAUSE = re.compile(
    r"[ ,](?:because|since|as|which|so|where|when|making|meaning|for)\b|,[ ](?:and[ ])?not[ ](?=[-$\\\d]\S*$)"
    r"|;(?= (?!and\b)[A-Za-z']{2,} )(?!.*(?:\b(?:or|not|no|but|if|actually|rather|instead|wait|otherwise|alternatively"
    r"|maybe|perhaps|possibly|could|may|might)\b|n't\b))"
)
"""What gives a reason, or denies another value; a semicolon ends the claim too, but for words that doubt or mend it."""


class Extracted(NamedTuple):
    """What was found: `finals`, last one last; without any, unmarked `candidates`, best first."""

    finals: tuple[str, ...] = ()
    phrases: frozenset[str] = frozenset()
    """Finals that are only told by "the answer is": prose behind it claims nothing."""
    candidates: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    """The boxes among the finals in the order of the text, each as often as it is said anew, for changes of mind."""
    problem: str = ""
    """Why there is no answer, where there is none."""
    flags: frozenset[str] = frozenset()
    guess: Guess | None = None
    """What is guessed, or put right, behind the last final."""
    taken_back: tuple[str, ...] = ()
    """Finals before a correction, in the order of the text."""


def extract(response: str) -> Extracted:
    """The final answers of a response; see the head of this file."""
    segment = final_text(response)
    if segment is None:
        return Extracted(problem="thinking is never closed")
    segment = _SOLUTION_MARKS.sub(" ", segment)
    blocks = _answer_blocks(segment)
    if blocks is None:
        return Extracted(problem="the answer tags are not well formed")
    if blocks:
        outside = _ANSWER_BLOCK.sub(" ", without_fences(segment))
        *_, last = _ANSWER_TAG.finditer(segment)
        return _from_blocks(blocks, _boxes(outside)[0], guess_behind(segment, last.end()))
    found = _marked(segment)
    if found.problem or found.finals:
        return found
    return Extracted(candidates=unmarked(segment), flags=frozenset({"unmarked"}))


def _from_blocks(blocks: list[str], boxes: list[_Final], guess: Guess | None) -> Extracted:
    """What the answer tags hold; boxes outside, and a guess behind them, must agree with it."""
    finals = [box.text for box in boxes]
    flags: frozenset[str] = frozenset()
    found = Extracted()
    for block in blocks:
        found = _marked(block)
        if found.problem:
            return found
        flags |= found.flags
        finals.append(found.finals[-1] if found.finals else block.strip())
        if len(set(found.finals)) > 1:
            finals[-1:] = found.finals
    if not finals[-1]:
        return Extracted(problem="the final answer is empty")
    distinct = list(dict.fromkeys(reversed(finals)))[: MAX_DISTINCT_FINALS + 1]
    return Extracted(tuple(reversed(distinct)), flags=flags, guess=guess or found.guess)


def _answer_blocks(segment: str) -> list[str] | None:
    """Contents of the top-level answer tags outside code; empty where there are none, None where they are malformed."""
    if _ANSWER_TAG.search(segment) is None:
        return []
    outside = without_fences(segment)
    blocks: list[str] = []
    start = -1
    for match in _ANSWER_TAG.finditer(outside):
        if not match[1]:
            if start >= 0:
                return None
            start = match.end()
        else:
            if start < 0:
                return None
            blocks.append(outside[start : match.start()])
            start = -1
    if start >= 0 or not blocks:
        return None
    whole = _tagged(segment)
    if len(whole) == len(blocks):  # a fence around the answer itself is its dress
        blocks = [
            block if block.strip() else _FENCE_LINE.sub("", fenced) for block, fenced in zip(blocks, whole, strict=True)
        ]
    return blocks


def _tagged(text: str) -> list[str]:
    """What stands between answer tags, each from the first that opens to the next that closes."""
    found: list[str] = []
    start = -1
    for match in _ANSWER_TAG.finditer(text):
        if not match[1] and start < 0:
            start = match.end()
        elif match[1] and start >= 0:
            found.append(text[start : match.start()])
            start = -1
    return found


def _marked(segment: str) -> Extracted:
    """Finals with a mark. Those in code count only where there are none outside."""
    found = _marked_in(segment)
    if ("```" in segment or "~~~" in segment) and (found.finals or found.problem):
        outside = _marked_in(without_fences(segment, gap=_GAP))
        if outside.finals or outside.problem:
            return outside
    return found


class _Final(NamedTuple):
    start: int
    end: int
    text: str
    is_mark: bool
    is_loose: bool = False
    is_box: bool = False
    guess: Guess | None = None


def _marked_in(segment: str) -> Extracted:
    boxes, problem = _boxes(segment)
    finals = sorted([*_joined(segment, boxes), *_hashes(segment, has_box=bool(boxes))])
    finals = sorted([*finals, *_phrases(segment, last_mark=finals[-1].end if finals else 0, has_mark=bool(finals))])
    if problem and (not finals or problem[0] > finals[-1].start):
        return Extracted(problem=problem[1])
    if not finals:
        return Extracted()
    last = finals[-1]
    guess = guess_behind(segment, last.end) if last.is_mark else last.guess
    if not finals[-1].text.strip(" \t\n$.{}"):
        return Extracted(problem="the final answer is empty, or denied")
    flags = frozenset({"loose_box"}) if any(final.is_loose for final in finals) else frozenset[str]()
    distinct = list(dict.fromkeys(final.text for final in reversed(finals)))[: MAX_DISTINCT_FINALS + 1]
    marked = {final.text for final in finals if final.is_mark}
    said = [final.text for final in finals if final.is_box]
    boxes = tuple(text for text, before in zip(said, [None, *said], strict=False) if text != before)
    phrases = frozenset(distinct) - marked
    boxes = boxes[-MAX_DISTINCT_FINALS - 1 :]
    pairs = ((one, by) for one, by in pairwise(finals) if not by.is_mark)
    taken = tuple(one.text for one, by in pairs if is_taken_back(segment, one.end, by.start))
    return Extracted(tuple(reversed(distinct)), phrases, boxes=boxes, flags=flags, guess=guess, taken_back=taken)


def _hashes(segment: str, *, has_box: bool) -> list[_Final]:
    """Lines behind `####`; headings count only where nothing else is marked, and denied ones claim nothing."""
    marks = [match for match in _last(_HASHES, "####", segment) if not _BOX.search(match[1])]
    lines = [_Final(match.start(), match.end(), match[1].strip(), True) for match in marks]
    meant = [line for line in lines if not is_denied(segment, line.start)]
    answers = [line for line in meant if CLAIM.search(line.text) and not _is_heading(line.text)]
    if answers and not meant[-1].text:
        answers.append(meant[-1])  # an empty final answer: there is no way back to an earlier one
    return answers if answers or has_box else (meant or [line._replace(text="") for line in lines])[-1:]


def _phrases(segment: str, *, last_mark: int, has_mark: bool) -> list[_Final]:
    """What "the answer is" says behind the last mark, and what "the final answer is" says anywhere."""
    found: list[_Final] = []
    for match in _last(_PHRASE, "nswer", segment):
        if _CHECK.search(segment, max(0, match.start() - MAX_CHECK_CHARS), match.start()):
            continue
        if match[1] or match.start() >= last_mark:
            text, guess = _phrase_content(segment, match.end())
            is_free = not _BOX.search(text) and "####" not in text and not _PHRASE.search(text)
            if text and is_free and (not has_mark or CLAIM.search(text) or is_number_word(text)):
                found.append(_Final(match.start(), match.end(), text, False, guess=guess))
    return found


def _last(pattern: re.Pattern[str], needle: str, text: str) -> list[re.Match[str]]:
    """The last MAX_MARKS matches of a pattern; `needle` stands in every match, and is quick to find."""
    place = len(text)
    for _ in range(MAX_MARKS):
        before = text.rfind(needle, 0, place)
        if before < 0:
            break
        place = before
    if place == len(text):
        return []
    return list(islice(pattern.finditer(text, max(0, place - MAX_NEEDLE_OFFSET)), MAX_MARKS))


def _is_heading(text: str) -> bool:
    return re.match(r"(?:Step|Part|Case|Solution|Section|Final|\d+[.)]\s+[A-Za-z])", text) is not None


def boxed(segment: str) -> tuple[list[_Final], tuple[int, str] | None]:
    """What the boxes of a text say with the signs and words that touch them, empty ones too, and `_boxes`' problem."""
    boxes, problem = _all_boxes(segment)
    return _joined(segment, boxes), problem


def _boxes(segment: str) -> tuple[list[_Final], tuple[int, str] | None]:
    """Outermost boxes, and where the last box stands if it is empty or never closed. A denied box claims nothing."""
    boxes, problem = _all_boxes(segment)
    last = max((place for place, box in enumerate(boxes) if box.text), default=0)
    return [box for place, box in enumerate(boxes) if box.text or place > last], problem


def _all_boxes(segment: str) -> tuple[list[_Final], tuple[int, str] | None]:
    boxes: list[_Final] = []
    problem: tuple[int, str] | None = None
    starts = sorted((*_last(_BOX, "boxed", segment), *_last(_BOX, "fbox", segment)), key=lambda match: match.start())
    for match in starts:
        if boxes and match.start() < boxes[-1].end:
            continue  # inside the box before: nested
        place = match.end()
        is_loose = not match.group().startswith("\\boxed")
        if is_denied(segment, match.start()):
            problem = problem or (-1, "the final box is denied")
        elif segment[place : place + 1] == "{":
            end = _closing_brace(segment, place)
            if end is None:
                is_long = len(segment) > place + MAX_BOX_CHARS
                problem = (match.start(), TOO_LONG if is_long else "the final box is never closed")
            else:
                text = signed(_unwrapped(segment[place + 1 : end]), segment, match.start())
                boxes.append(_Final(match.start(), end + 1, text, True, is_loose))
        else:
            bare = _BARE.match(segment, place)
            if bare is not None and _is_claim(bare.group(), segment[bare.end() : bare.end() + 1]):
                text = signed(bare.group().rstrip(".,;:!?)"), segment, match.start())
                boxes.append(_Final(match.start(), bare.end(), text, True, True))
    return boxes, problem


def _is_claim(bare: str, after: str) -> bool:
    """Whether what stands behind `\\boxed` without braces is an answer: a number or a letter, not the next word."""
    return any(map(str.isdigit, bare)) or (len(bare) == 1 and bare.isalpha() and after == "$")


def _closing_brace(text: str, start: int) -> int | None:
    """Where the brace at `start` is closed, within MAX_BOX_CHARS."""
    depth = 0
    for match in _BRACE.finditer(text, start, start + MAX_BOX_CHARS):
        if match.group() == "{":
            depth += 1
        elif match.group() == "}":
            depth -= 1
            if not depth:
                return match.start()
    return None


def _unwrapped(text: str) -> str:
    """The content of a box within a box."""
    text = text.strip()
    for _ in range(MAX_NESTING):
        inner = _BOX.match(text)
        if inner is None or text[inner.end() : inner.end() + 1] != "{" or not text.endswith("}"):
            break
        text = text[inner.end() + 1 : -1].strip()
    return text


def _joined(segment: str, boxes: list[_Final]) -> list[_Final]:
    """Boxes with only connecting words between them as one list; what stands behind it is read with it: %, million."""
    groups: list[list[_Final]] = []
    for box in boxes:
        between = segment[groups[-1][-1].end : box.start] if groups else ""
        if groups and len(between) <= 60 and _CONNECTORS.fullmatch(between):
            groups[-1].append(box)
        else:
            groups.append([box])
    finals: list[_Final] = []
    for group in groups:
        texts = list(dict.fromkeys(box.text.strip() for box in group))
        text = texts[0] if len(texts) == 1 else ", ".join(texts)
        if any(not item for item in texts):
            text = ""
        text, end = continued(text, segment, group[-1].end)
        after = _AFTER_BOX.match(segment, end)
        if after is not None and text and "%" not in text:
            kind = str(after.lastgroup)
            text += {"percent": r"\%", "degree": r"^\circ"}.get(kind, f" {after[kind]}")
            end = after.end()
        finals.append(_Final(group[0].start, end, text, True, any(box.is_loose for box in group), True))
    return finals


def _phrase_content(segment: str, start: int) -> tuple[str, Guess | None]:
    """What "the answer is" says, up to the end of the sentence, and the guess behind it."""
    window = segment[start : start + MAX_UNMARKED_CHARS].replace('\\"', '"')
    window = window[adverbs_end(window) :]
    bare = window.lstrip()
    fence = _FENCE_LINE.match(bare)
    window = bare[fence.end() :].lstrip() if fence is not None else window
    if window.startswith("}"):
        window = window[1:].lstrip()  # the brace of a \text{...} around the phrase
    formula = MATH.match(window)
    end = _SENTENCE_END.search(window, formula.end() if formula is not None else 0)
    text = _claimed(window, formula, end)
    return text, guess_behind(window, end.start()) if end is not None and text else None


def _claimed(window: str, formula: re.Match[str] | None, end: re.Match[str] | None) -> str:
    """The value in a sentence that begins with it, or with a formula."""
    if formula is not None:
        rest = window[formula.end() : end.start()] if end else ""
        if not rest.strip(" ,*\"'") or len(rest) > 40:
            return formula.group().strip()
        if "$" not in rest and not re.match(r"\s*(?:or|and|,)\b", rest) and len(rest.split()) > 3:
            return formula.group().strip()
        return (formula.group() + rest).strip(" \"'*,")
    text = window[: end.start()] if end else window
    text = text.strip().strip("\"'*").strip()
    because = _BECAUSE.search(text)
    text = text[: because.start()].strip(" ,") if because else text
    if text.endswith("}") and text.count("}") > text.count("{"):
        text = text[:-1].rstrip()
    if len(text.split()) > 3:
        text = re.split(r"\b(?:(?<![,(]that )(?<![,(] that )is|are|equals)\b[ ]*", text)[-1].strip()
    return text
