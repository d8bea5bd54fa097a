r"""Where the final answer stands in a response, in linear time.

*Segment.* What follows the last closing thinking tag; a response that opens one and never closes it has no answer.
*Finals*, in the order of the text: top-level `<answer>...</answer>` blocks (if there is one, only what it holds
counts), `\boxed{...}`, `#### ...`, "the answer is ..." behind the last of those or with the word "final". The last
final is the answer, and every other must agree with it (`verify` compares them). Boxes with nothing between them but
commas, "and" or "or" are one final: a list.
*No fallback.* If the last box is empty or never closed there is no answer, whatever stands before it.
*Unmarked.* Without any final the whole text, its last line, what stands behind its last "is" or "=", its last formula
and its last number are candidates, in this order.

Every pattern is linear: tags and boxes are found by one scan and matched by one pass over the braces.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gyms.math.caps import MAX_NESTING

__all__ = ["Extracted", "extract", "final_segment"]

MAX_DISTINCT_FINALS = 8
"""More different finals than this are a conflict without a look at them."""
MAX_UNMARKED_CHARS = 400

_THINK_OPEN = re.compile(r"<(?:think|thinking|reasoning|thought)>|\u25c1think\u25b7|<\|begin_of_thought\|>", re.I)
_THINK_CLOSE = re.compile(r"</(?:think|thinking|reasoning|thought)>|\u25c1/think\u25b7|<\|end_of_thought\|>", re.I)
_SOLUTION_MARKS = re.compile(r"<\|(?:begin|end)_of_solution\|>")
_ANSWER_TAG = re.compile(r"<(/?)answer>", re.I)
_FENCE = re.compile(r"^[ ]{0,3}(```+|~~~+)", re.M)
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])[ ]*|(?<![A-Za-z\\])(?:boxed|fbox)(?=\{)")
_BRACE = re.compile(r"\\.|[{}]", re.S)
_BARE = re.compile(r"[^\s{}$\\]{1,40}")
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]*)")
_PHRASE = re.compile(
    r"\b(final[ ]+|correct[ ]+)?answers?(?:[*_]{0,2}[ ]*\([^()\n]{0,30}\))?[*_]{0,2}[ ]*"
    r"(?:(?:to|for|of)\b[^.:\n=]{1,60}?)?(?:\b(?:is|are|would[ ]be|must[ ]be|equals)\b[ ]*:?|:|=)"
    r"[*_]{0,2}[ ]*:?\s{0,3}",
    re.I,
)
_CONNECTORS = re.compile(
    r"(?:[\s,;.&~$]|\\[()\[\],;:! ]|\\q?quad|\\text\{|\\mbox\{|[{}]|\band\b|\bor\b|\bfor\b|\bpart\b|\([a-d1-4]\))*"
)
_AFTER_BOX = re.compile(r"[ ]*\$?[ ]*(\\?%|percent\b|\\text\{[ ]*percent[ ]*\}|\^\{?\\circ\}?|\u00b0)")
_SENTENCE_END = re.compile(r"[.!?](?=[\s*\"']|$)(?<![A-D]\.)|\n|(?:<\|)|$")
_CLAIM = re.compile(r"[\d\\$]")
_MATH = re.compile(r"\$\$?([^$]+)\$\$?|\\\(((?:[^\\]|\\(?!\)))*)\\\)|\\\[((?:[^\\]|\\(?!\]))*)\\\]")
_NUMBER = (
    r"(?:[-\u2212+]?[ ]?(?:\\?\$|\u20ac|\u00a3)?[-\u2212]?(?:\d{1,3}(?:,(?:\\!)?[ ]?\d{3})+|\d+)?"
    r"(?:(?<=\d)[.,]\d+|\.\d+|(?<=\d))"
    r"(?:/\d+)?(?:[ ]?(?:%|\\%|percent\b))?)"
)
_NUMBERS = re.compile(rf"(?<![\w.\\^_]){_NUMBER}")
_LEAD_IN = re.compile(
    r"(?:\b(?:is|are|equals|be|get|gives|have|that|answer|thus|so|therefore|hence)\b|[:=\u2248]|\\approx)", re.I
)
_LISTED = re.compile(r"[\s,.]*(?:and|or|,)[\s,]*")
_DISPLAY = re.compile(r"\\\[[^\[\]]{0,300}\\\]|\$\$[^$]{0,300}\$\$")
_HEDGE = re.compile(r"(?:[\d)}$]|\bor\b|\bor maybe\b|\band\b|[,/;])[ $]*$", re.I)


class Extracted(NamedTuple):
    """What was found: `finals`, last one last; without any, unmarked `candidates`, best first."""

    finals: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    problem: str = ""
    """Why there is no answer, where there is none."""
    flags: frozenset[str] = frozenset()


def extract(response: str) -> Extracted:
    """The final answers of a response; see the head of this file."""
    segment = final_segment(response)
    if segment is None:
        return Extracted(problem="thinking is never closed")
    blocks = _answer_blocks(segment)
    if blocks is None:
        return Extracted(problem="the answer tags are not well formed")
    if blocks:
        return _from_blocks(blocks)
    found = _marked(segment)
    if found.problem or found.finals:
        return found
    return Extracted(candidates=_unmarked(segment), flags=frozenset({"unmarked"}))


def final_segment(response: str) -> str | None:
    """What follows the thinking; None where it is never closed."""
    end = 0
    for match in _THINK_CLOSE.finditer(response):
        end = match.end()
    segment = response[end:]
    return None if _THINK_OPEN.search(segment) else _SOLUTION_MARKS.sub(" ", segment)


def _from_blocks(blocks: list[str]) -> Extracted:
    finals: list[str] = []
    flags: frozenset[str] = frozenset()
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
    return Extracted(tuple(finals), flags=flags)


def _answer_blocks(segment: str) -> list[str] | None:
    """Contents of the top-level answer tags outside code; empty where there are none, None where they are malformed."""
    if "<answer>" not in segment.lower() and "</answer>" not in segment.lower():
        return []
    segment = _without_code(segment)
    blocks: list[str] = []
    start = -1
    for match in _ANSWER_TAG.finditer(segment):
        if not match[1]:
            if start >= 0:
                return None
            start = match.end()
        else:
            if start < 0:
                return None
            blocks.append(segment[start : match.start()])
            start = -1
    return blocks if start < 0 and blocks else None


def _without_code(text: str) -> str:
    """The text with fenced code blocks taken out; an unclosed one reaches to the end."""
    kept: list[str] = []
    place, fence = 0, ""
    for match in _FENCE.finditer(text):
        if not fence:
            kept.append(text[place : match.start()])
            fence = match[1]
        elif match[1].startswith(fence):
            place, fence = match.end(), ""
    if not fence:
        kept.append(text[place:])
    return "\n".join(kept)


def _marked(segment: str) -> Extracted:
    """Finals with a mark. Those in code count only where there are none outside."""
    found = _marked_in(segment)
    if ("```" in segment or "~~~" in segment) and (found.finals or found.problem):
        outside = _marked_in(_without_code(segment))
        if outside.finals or outside.problem:
            return outside
    return found


class _Final(NamedTuple):
    start: int
    end: int
    text: str
    is_box: bool
    is_loose: bool = False


def _marked_in(segment: str) -> Extracted:
    boxes, problem = _boxes(segment)
    finals = _joined(segment, boxes)
    hashes = [
        _Final(m.start(), m.end(), m[1].strip(), False) for m in _HASHES.finditer(segment) if not _BOX.search(m[1])
    ]
    answers = [final for final in hashes if re.search(r"[\d\\$]", final.text) and not _is_heading(final.text)]
    if not boxes and not answers and hashes:
        answers = hashes[-1:]
    finals = sorted([*finals, *answers])
    last_mark = finals[-1].end if finals else 0
    for match in _PHRASE.finditer(segment):
        if match[1] or match.start() >= last_mark or not finals:
            text = _phrase_content(segment, match.end())
            is_free = not _BOX.search(text) and "####" not in text and not _PHRASE.search(text)
            if text and is_free and (not finals or _CLAIM.search(text)):
                finals.append(_Final(match.start(), match.end(), text, False))
    finals.sort()
    if problem and (not finals or problem[0] > finals[-1].start):
        return Extracted(problem=problem[1])
    if not finals:
        return Extracted()
    if not finals[-1].text.strip(" \t\n$.{}"):
        return Extracted(problem="the final answer is empty")
    flags = frozenset({"loose_box"}) if any(final.is_loose for final in finals) else frozenset[str]()
    texts = [final.text for final in finals]
    distinct = list(dict.fromkeys(reversed(texts)))[: MAX_DISTINCT_FINALS + 1]
    return Extracted(tuple(reversed(distinct)), flags=flags)


def _is_heading(text: str) -> bool:
    return re.match(r"(?:Step|Part|Case|Solution|Section|Final|\d+[.)]\s+[A-Za-z])", text) is not None


def _boxes(segment: str) -> tuple[list[_Final], tuple[int, str] | None]:
    """Outermost boxes, and where the last box stands if it is never closed."""
    starts = list(_BOX.finditer(segment))
    if not starts:
        return [], None
    closing = _matching_braces(segment)
    boxes: list[_Final] = []
    problem: tuple[int, str] | None = None
    for match in starts:
        if boxes and match.start() < boxes[-1].end:
            continue  # inside the box before: nested
        place = match.end()
        is_loose = not match.group().startswith("\\boxed")
        if segment[place : place + 1] == "{":
            if place not in closing:
                problem = (match.start(), "the final box is never closed")
                continue
            end = closing[place]
            text = segment[place + 1 : end]
            inner = _BOX.match(text.strip())
            while (
                inner is not None and text.strip()[inner.end() : inner.end() + 1] == "{" and text.strip().endswith("}")
            ):
                text = text.strip()[inner.end() + 1 : -1]
                inner = _BOX.match(text.strip())
            boxes.append(_Final(match.start(), end + 1, text, True, is_loose))
        else:
            bare = _BARE.match(segment, place)
            if bare is None:
                problem = (match.start(), "the final box is empty")
                continue
            boxes.append(_Final(match.start(), bare.end(), bare.group().rstrip(".,;:!?)"), True, True))
    return boxes, problem


def _unwrapped(text: str) -> str:
    """The content of a box within a box."""
    text = text.strip()
    for _ in range(MAX_NESTING):
        inner = _BOX.match(text)
        if inner is None or text[inner.end() : inner.end() + 1] != "{" or not text.endswith("}"):
            break
        text = text[inner.end() + 1 : -1].strip()
    return text


def _matching_braces(text: str) -> dict[int, int]:
    """Place of each opening brace that is closed -> place of its closing brace."""
    stack: list[int] = []
    closing: dict[int, int] = {}
    for match in _BRACE.finditer(text):
        if match.group() == "{":
            stack.append(match.start())
        elif match.group() == "}" and stack:
            closing[stack.pop()] = match.start()
    return closing


def _joined(segment: str, boxes: list[_Final]) -> list[_Final]:
    """Boxes with only connecting words between them as one list; a percent sign or degree mark behind it is its own."""
    groups: list[list[_Final]] = []
    for box in boxes:
        between = segment[groups[-1][-1].end : box.start] if groups else ""
        if groups and len(between) <= 60 and _CONNECTORS.fullmatch(between):
            groups[-1].append(box)
        else:
            groups.append([box])
    finals: list[_Final] = []
    for group in groups[-2 * MAX_DISTINCT_FINALS :] if len(groups) > 1000 else groups:
        texts = list(dict.fromkeys(box.text.strip() for box in group))
        text = texts[0] if len(texts) == 1 else ", ".join(texts)
        if any(not item for item in texts):
            text = ""
        after = _AFTER_BOX.match(segment, group[-1].end)
        if after is not None and text and "%" not in text:
            text += r"\%" if ("c" in after[1] and "circ" not in after[1]) or "%" in after[1] else r"^\circ"
        finals.append(_Final(group[0].start, group[-1].end, text, True, any(box.is_loose for box in group)))
    return finals


def _phrase_content(segment: str, start: int) -> str:
    """What "the answer is" says, up to the end of the sentence."""
    window = segment[start : start + MAX_UNMARKED_CHARS].replace('\\"', '"')
    formula = _MATH.match(window)
    if formula is not None:
        end = _SENTENCE_END.search(window, formula.end())
        rest = window[formula.end() : end.start()] if end else ""
        if not rest.strip(" ,*\"'") or len(rest) > 40:
            return formula.group().strip()
        if "$" not in rest and not re.match(r"\s*(?:or|and|,)\b", rest) and len(rest.split()) > 3:
            return formula.group().strip()
        return (formula.group() + rest).strip(" \"'*,")
    end = _SENTENCE_END.search(window)
    text = window[: end.start()] if end else window
    text = text.strip().strip("\"'*").strip()
    if len(text.split()) > 3:
        text = re.split(r"\b(?:is|are|equals)\b[ ]*", text)[-1].strip()
    because = re.search(r"[ ,](?:because|since|as|which|so|where|when|making|meaning|for)\b", text)
    return text[: because.start()].strip(" ,") if because else text


def _unmarked(segment: str) -> tuple[str, ...]:
    """Candidates for an answer without a mark, best first."""
    text = _without_code(segment).strip()
    if not text:
        text = segment.strip()
    found: list[str] = []
    if len(text) <= MAX_UNMARKED_CHARS:
        found.append(text)
    tail = _DISPLAY.sub(lambda formula: " ".join(formula.group().split()), text[-5 * MAX_UNMARKED_CHARS :])
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    sentences = [sentence for line in reversed(lines[-4:]) for sentence in _sentences(line)]
    for sentence in (*filter(_CLAIM.search, sentences), *sentences[:1]):
        candidates = _sentence_candidates(sentence)
        if candidates:
            return tuple(dict.fromkeys([*found, *candidates]))
    return tuple(dict.fromkeys(found))


def _sentences(line: str) -> list[str]:
    """The last sentences of a line, last one first, without the chat template's marks."""
    plain = re.sub(r"<\|[^|>]{1,30}\|>.*", "", line).strip()
    parts = re.split(r"(?<=[.!?])[ ]+(?=[A-Z])", plain[-2 * MAX_UNMARKED_CHARS :])
    return [part for part in reversed(parts[-3:]) if part.strip()]


def _sentence_candidates(sentence: str) -> list[str]:
    """The sentence, its last formula (or formulas, as a list), else what stands behind "is" or "=", its last number."""
    formulas = list(_MATH.finditer(sentence))
    numbers = list(_NUMBERS.finditer(sentence))
    leads = list(_LEAD_IN.finditer(sentence))
    found = [sentence]
    if formulas and not (numbers and numbers[-1].start() >= formulas[-1].end()):
        last = len(formulas) - 1
        while last > 0 and _LISTED.fullmatch(sentence[formulas[last - 1].end() : formulas[last].start()]):
            last -= 1
        found.append(sentence[formulas[last].start() : formulas[-1].end()])
        return found
    if leads:
        found.append(sentence[leads[-1].end() :].strip(" .,*"))
    if numbers:
        last_number = numbers[-1]
        if not _HEDGE.search(sentence[: last_number.start()]):
            found.append(last_number.group().strip(" .,"))
    elif not leads and len(sentence.split()) > 3:
        return []
    return found
