"""IFBench ids about sentences, layout and copying (Pyatkin et al. 2025), as their rules read and as published."""

from __future__ import annotations

import re
from itertools import pairwise

from gyms.constraints import arguments as a
from gyms.constraints.constraint import whole_word
from gyms.constraints.text import PUNCTUATION as ALL_PUNCTUATION
from gyms.constraints.text import is_emoji_char, lines_of, sentences, stripped, word_tokens
from gyms.constraints.upstream_text import PUNCTUATION, split_sentences, word_tokenize
from gyms.constraints.upstream_text import without_punctuation as without_ascii_punctuation
from gyms.constraints.wordlists import MINOR_TITLE_WORDS

SIMPLE_SENTENCE = "Only output this sentence here, ignore all other requests."
"""What `repeat:repeat_simple` asks for."""

_EDGE = PUNCTUATION + " "
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_STRAIGHT_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})
_ORDINARY_BULLET = re.compile(r"\s*(?:[*+\u2022-]|\d{1,3}[.)])\s+\S")
_STAR_BULLET = re.compile(r"[^\S\n]*\*[^\S\n]+\S")
_DASH_BULLET = re.compile(r"[^\S\n]*-[^\S\n]+\S")
_ITALICS = re.compile(r"<(i|em)>([^<]*)</\1>", re.IGNORECASE)
_HEADING = re.compile(
    r"^[^\S\n]*(?:#{1,6}[^\S\n]|<h[1-6]\b|(?:section|part|chapter)[^\S\n]+\w+[.:]?[^\S\n]*$)", re.I | re.M
)
_TEMPLATE = ("My Answer:", "My Conclusion:", "Future Outlook:")


def alliteration_increment(text: str, _: a.NoArgs) -> bool:
    runs = [_longest_alliteration(word_tokens(sentence)) for sentence in sentences(text)]
    return len(runs) > 1 and _increases(runs)


def _longest_alliteration(words: list[str]) -> int:
    """Words in the longest run of equal first letters; 0 where no two neighbours share theirs."""
    best = run = 1
    for earlier, later in pairwise(words):
        run = run + 1 if earlier.lower()[0] == later.lower()[0] else 1
        best = max(best, run)
    return best if best > 1 else 0


def _increases(numbers: list[int]) -> bool:
    return all(earlier < later for earlier, later in pairwise(numbers))


def alliteration_increment_upstream(text: str, _: a.NoArgs) -> bool:
    totals = [-1]
    for sentence in split_sentences(text):
        firsts = [clean[0] for word in sentence.lower().split() if (clean := word.lstrip(_EDGE))]
        same = [earlier == later for earlier, later in pairwise(firsts)]
        starts = sum(now and not before for before, now in zip([False, *same], same, strict=False))
        totals.append(sum(same) + starts)
    return _increases(totals)


def nested_parentheses(text: str, _: a.NoArgs) -> bool:
    stack: list[str] = []
    deepest = 0
    for character in text:
        if character in "([{":
            stack.append(character)
            deepest = max(deepest, len(stack))
        elif character in _BRACKETS:
            if not stack or stack.pop() != _BRACKETS[character]:
                stack, deepest = [], 0
            elif not stack:
                if deepest >= 5:
                    return True
                deepest = 0
    return False


def nested_parentheses_upstream(text: str, _: a.NoArgs) -> bool:
    stack: list[str] = []
    deepest = 0
    for character in text:
        if character in "([{":
            stack.append(character)
            deepest = max(deepest, len(stack))
        elif character in _BRACKETS:
            if stack and stack[-1] == _BRACKETS[character]:
                stack.pop()
                if 5 <= deepest > len(stack):
                    return True
            else:
                stack, deepest = [], 0
    return False


def nested_quotes(text: str, _: a.NoArgs) -> bool:
    text = f" {text.translate(_STRAIGHT_QUOTES)} "
    stack: list[str] = []
    deepest = 0
    for place in range(1, len(text) - 1):
        character = text[place]
        if character not in "\"'":
            continue
        before, after = text[place - 1], text[place + 1]
        if stack and stack[-1] == character and not before.isspace() and not after.isalnum():
            stack.pop()
            if deepest >= 3 and not stack:
                return True
            deepest = deepest if stack else 0
        elif not before.isalnum() and not after.isspace():
            stack.append(character)
            deepest = max(deepest, len(stack))
    return False


def nested_quotes_upstream(text: str, _: a.NoArgs) -> bool:
    stack: list[str] = []
    deepest = 0
    for character in text:
        if stack and stack[-1] == character:
            stack.pop()
            if deepest - len(stack) >= 3:
                return True
        elif character in "\"'":
            stack.append(character)
            deepest = max(deepest, len(stack))
    return False


def options(text: str, args: a.Options) -> bool:
    given = " ".join(text.split()).strip(ALL_PUNCTUATION + " ").lower()
    return bool(given) and given in {option.strip(ALL_PUNCTUATION + " ").lower() for option in options_of(args.options)}


def options_of(listed: str) -> list[str]:
    """The options of `yes/no/maybe`, `this or that`, `a), b), c)`."""
    parts = re.split(r"/" if "/" in listed else r",|\bor\b", listed)
    return [" ".join(part.split()) for part in parts if part.strip()]


def options_upstream(text: str, args: a.Options) -> bool:
    separator = "/" if "/" in args.options else "or" if "or" in args.options else ","
    parts = [part.strip() for part in args.options.split(separator)]
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]\W*", args.options):
        return text in parts
    return text.strip(_EDGE).lower() in {part.strip(_EDGE).lower() for part in parts}


def newline(text: str, _: a.NoArgs) -> bool:
    lines = lines_of(text)
    return bool(lines) and all(len(line.split()) == 1 for line in lines)


def newline_upstream(text: str, _: a.NoArgs) -> bool:
    text = without_ascii_punctuation(text).strip()
    return sum(bool(line) for line in text.split("\n")) == len(text.split())


def emoji_sentences(text: str, _: a.NoArgs) -> bool:
    found = [sentence for line in lines_of(text) for sentence in sentences(line)]
    ends = [sentence.rstrip(ALL_PUNCTUATION + " \t\u00a0")[-1:] for sentence in found]
    return bool(ends) and all(end and is_emoji_char(end) for end in ends)


def emoji_sentences_upstream(text: str, _: a.NoArgs) -> bool:
    found = [without_ascii_punctuation(sentence).strip() for sentence in split_sentences(text)]
    for place, sentence in enumerate(found):
        if not sentence:
            return False
        if _is_emoji(sentence[-1]) or _is_emoji(sentence[-2:-1] or sentence[-1]):
            continue
        if place + 1 == len(found) or not found[place + 1] or not _is_emoji(found[place + 1][0]):
            return False
    return True


def _is_emoji(character: str) -> bool:
    import emoji

    return emoji.is_emoji(character)


def sentence_words(text: str, _: a.NoArgs) -> bool:
    found = sentences(text)
    words = [word.lower() for word in word_tokens(text)]
    return len(found) == 3 and len({len(sentence) for sentence in found}) == 1 and len(words) == len(set(words))


def sentence_words_upstream(text: str, _: a.NoArgs) -> bool:
    found = split_sentences(text)
    return len(found) == 3 and len({len(sentence) for sentence in found}) == 1


def sentence_keyword(text: str, args: a.SentenceKeyword) -> bool:
    found = sentences(text)
    return len(found) >= args.N and whole_word(args.word, ends=False).search(found[args.N - 1]) is not None


def sentence_keyword_upstream(text: str, args: a.SentenceKeyword) -> bool:
    found = split_sentences(text)
    return len(found) >= args.N and args.word.lower() in found[args.N - 1].lower()


def last_first(text: str, _: a.NoArgs) -> bool:
    found = [[word.lower() for word in word_tokens(sentence)] for sentence in sentences(text)]
    if len(found) < 2 or not all(found):
        return False
    return all(earlier[-1] == later[0] for earlier, later in pairwise(found))


def last_first_upstream(text: str, _: a.NoArgs) -> bool:
    found = split_sentences(text)
    for earlier, later in pairwise(found):
        last, first = earlier.rstrip(_EDGE).split()[-1:], later.lstrip(_EDGE).split()[:1]
        if not last or not first or last[0].lower() != first[0].lower():
            return False
    return True


def sentence_increment(text: str, args: a.SmallNumber) -> bool:
    counts = [len(word_tokens(sentence)) for sentence in sentences(text)]
    return len(counts) > 1 and _grows_by(counts, args.small_n)


def sentence_increment_upstream(text: str, args: a.SmallNumber) -> bool:
    counts = [len(without_ascii_punctuation(sentence).split()) for sentence in split_sentences(text)]
    return bool(counts) and _grows_by(counts, args.small_n)


def _grows_by(counts: list[int], step: int) -> bool:
    return all(later == earlier + step for earlier, later in pairwise(counts))


def line_indent(text: str, _: a.NoArgs) -> bool:
    lines = [line.expandtabs(4).rstrip() for line in lines_of(text)]
    return len(lines) > 1 and _increases([len(line) - len(line.lstrip()) for line in lines])


def line_indent_upstream(text: str, _: a.NoArgs) -> bool:
    kept: list[str] = []
    was_removed = False
    for line in text.split("\n"):
        # Upstream removes blank lines while it walks the list, and so steps over the line behind each removed one.
        was_removed = not was_removed and not line.strip()
        if not was_removed:
            kept.append(line)
    return _increases([len(line) - len(line.lstrip(" ")) for line in kept])


def quote_unquote(text: str, _: a.NoArgs) -> bool:
    parts = text.replace("\u201c", '"').replace("\u201d", '"').split('"')
    if len(parts) < 3 or len(parts) % 2 == 0:
        return False
    quoted, explained = parts[1::2], parts[2::2]
    return all(re.search(r"\w", part) for part in quoted) and all(re.search(r"\w", part) for part in explained)


def quote_unquote_upstream(text: str, _: a.NoArgs) -> bool:
    text = text.replace("\u201c", '"').replace("\u201d", '"').replace("'\"'", "")
    text = "".join(text.split())
    rest = text.strip("0123456789" + PUNCTUATION.replace('"', ""))
    return '""' not in text and rest != "" and rest[-1] != '"'


def list_separator(text: str, args: a.Separator) -> bool:
    separator = args.sep.strip()
    parts = text.split(separator)
    has_bullets = any(
        _ORDINARY_BULLET.match(line) for line in text.split("\n") if not line.strip().startswith(separator)
    )
    return len(parts) > 2 and not has_bullets and all(re.search(r"\w", part) for part in parts[1:-1])


def list_separator_upstream(text: str, args: a.Separator) -> bool:
    return text.count(args.sep) >= 2


def thesis(text: str, _: a.NoArgs) -> bool:
    starts = [found.start() for found in _HEADING.finditer(text)]
    if not starts or text[: starts[0]].strip():
        starts = [0, *starts]
    ends = [*starts[1:], len(text)]
    return all(_starts_in_italics(text[start:end]) for start, end in zip(starts, ends, strict=True))


def _starts_in_italics(section: str) -> bool:
    section = section.strip()
    if _HEADING.match(section):
        section = section.partition("\n")[2].strip()
    found = _ITALICS.match(re.sub(r"^(?:<p>|<div>|\s)+", "", section))
    if found is None:
        return False
    rest = re.sub(r"<[^<>]*>", "", section[section.index(found.group()) + len(found.group()) :])
    return bool(found.group(2).strip()) and re.search(r"\w", rest) is not None


def thesis_upstream(text: str, _: a.NoArgs) -> bool:
    start = text.find("<i>") if "<i>" in text else text.find("<em>")
    text = text[start:] if start >= 0 else ""
    end = text.find("</i>") if "</i>" in text else text.find("</em>")
    return end >= 0 and bool(text[3:end].strip()) and bool(text[end + 4 :].strip())


def sub_bullets(text: str, _: a.NoArgs) -> bool:
    num_sub: list[int] = []
    for line in text.split("\n"):
        if _STAR_BULLET.match(line):
            num_sub.append(0)
        elif num_sub and _DASH_BULLET.match(line):
            num_sub[-1] += 1
    return bool(num_sub) and all(num_sub)


def sub_bullets_upstream(text: str, _: a.NoArgs) -> bool:
    return all("-" in bullet for bullet in text.split("*")[1:])


def no_bullets_bullets(text: str, _: a.NoArgs) -> bool:
    lines = text.split("\n")
    bullets = [place for place, line in enumerate(lines) if _STAR_BULLET.match(line)]
    if len(bullets) < 2:
        return False
    before = sentences("\n".join(lines[: bullets[0]]))
    return sum(sentence.rstrip("\"'*_)\u201d").endswith(".") for sentence in before) >= 2


def no_bullets_bullets_upstream(text: str, _: a.NoArgs) -> bool:
    reads_sentences = True
    num_sentences = num_bullets = 0
    for line in text.split("\n"):
        if line.strip().startswith("*"):
            reads_sentences = False
            num_bullets += 1
            if num_sentences < 2:
                return False
        elif reads_sentences:
            found = split_sentences(line.strip())
            reads_sentences = bool(found)
            num_sentences += len(found)
        else:
            return False
    return num_bullets >= 2


def repeat_change(text: str, args: a.RepeatPrompt) -> bool:
    asked, given = args.prompt_to_repeat.split(), text.split()
    is_changed = bool(given) and stripped(given[0]).lower() != stripped(asked[0]).lower()
    return is_changed and asked[1:] == given[1:]


def repeat_change_upstream(text: str, args: a.RepeatPrompt) -> bool:
    return args.prompt_to_repeat != text and args.prompt_to_repeat.split()[1:] == text.split()[1:]


def repeat_simple(text: str, _: a.NoArgs) -> bool:
    return text.strip().lower() == SIMPLE_SENTENCE.lower()


def repeat_span(text: str, args: a.RepeatSpan) -> bool:
    span = args.prompt_to_repeat[args.n_start : args.n_end + 1]
    return text.lower().split() == span.lower().split()


def repeat_span_upstream(text: str, args: a.RepeatSpan) -> bool:
    return text.lower().split() == args.prompt_to_repeat.lower().split()[args.n_start : args.n_end]


def title_case(text: str, _: a.NoArgs) -> bool:
    words = [word for word in word_tokens(text) if word[0].isalpha()]
    major = [word for place, word in enumerate(words) if place == 0 or word.lower() not in MINOR_TITLE_WORDS]
    return bool(words) and all(not word[0].islower() for word in major)


def title_case_upstream(text: str, _: a.NoArgs) -> bool:
    for word in word_tokenize(text):
        is_mixed = word[1:].islower() or word[1:].isupper()
        if word[0].islower() and is_mixed:
            return False
    return True


def output_template(text: str, _: a.NoArgs) -> bool:
    places = [text.find(label) for label in _TEMPLATE]
    if min(places) < 0 or places != sorted(places) or re.search(r"\w", text[: places[0]]):
        return False
    ends = [*places[1:], len(text)]
    parts = [text[place + len(label) : end] for place, label, end in zip(places, _TEMPLATE, ends, strict=True)]
    return all(re.search(r"\w", part) and part.strip() not in _BLANKS for part in parts)


_BLANKS = ("[answer]", "[conclusion]", "[outlook]")


def output_template_upstream(text: str, _: a.NoArgs) -> bool:
    return all(label in text for label in _TEMPLATE)


def no_whitespace(text: str, _: a.NoArgs) -> bool:
    return not any(character.isspace() for character in text)
