"""IFBench ids about sentences and copying (Pyatkin et al. 2025).

Each id is the function that checks its rule as it reads; `..._upstream` before it is what the published checker does.
"""

from __future__ import annotations

from itertools import pairwise

from gyms.constraints import arguments as a
from gyms.constraints.constraint import Family, increases, whole_word
from gyms.constraints.text import sentences, stripped, word_tokens
from gyms.constraints.upstream_text import PUNCTUATION, split_sentences
from gyms.constraints.upstream_text import without_punctuation as without_ascii_punctuation

__all__ = ["IFBENCH_SENTENCES"]

IFBENCH_SENTENCES = Family("IFBench")
SIMPLE_SENTENCE = "Only output this sentence here, ignore all other requests."
"""What `repeat:repeat_simple` asks for."""
_EDGE = PUNCTUATION + " "
_OWN_SENTENCES = "sentences are split by this project's splitter"


def alliteration_increment_upstream(text: str, _: a.NoArgs) -> bool:
    totals = [-1]
    for sentence in split_sentences(text):
        firsts = [clean[0] for word in sentence.lower().split() if (clean := word.lstrip(_EDGE))]
        same = [earlier == later for earlier, later in pairwise(firsts)]
        starts = sum(now and not before for before, now in zip([False, *same], same, strict=False))
        totals.append(sum(same) + starts)
    return increases(totals)


@IFBENCH_SENTENCES.id(
    "sentence:alliteration_increment",
    "Each sentence must have a longer sequence of consecutive alliterative words than the previous one.",
    published=alliteration_increment_upstream,
    differs="the longest run of a sentence counts, upstream adds all runs; there must be two sentences",
)
def alliteration_increment(text: str, _: a.NoArgs) -> bool:
    runs = [_longest_alliteration(word_tokens(sentence)) for sentence in sentences(text)]
    return len(runs) > 1 and increases(runs)


def _longest_alliteration(words: list[str]) -> int:
    """Words in the longest run of equal first letters; 0 where no two neighbours share theirs."""
    best = run = 1
    for earlier, later in pairwise(words):
        run = run + 1 if earlier.lower()[0] == later.lower()[0] else 1
        best = max(best, run)
    return best if best > 1 else 0


def sentence_words_upstream(text: str, _: a.NoArgs) -> bool:
    found = split_sentences(text)
    return len(found) == 3 and len({len(sentence) for sentence in found}) == 1


@IFBENCH_SENTENCES.id(
    "ratio:sentence_words",
    "Respond with three sentences, all containing the same number of characters but using all different words.",
    published=sentence_words_upstream,
    differs="the words are compared, upstream forgets to",
)
def sentence_words(text: str, _: a.NoArgs) -> bool:
    found = sentences(text)
    words = [word.lower() for word in word_tokens(text)]
    return len(found) == 3 and len({len(sentence) for sentence in found}) == 1 and len(words) == len(set(words))


def sentence_keyword_upstream(text: str, args: a.SentenceKeyword) -> bool:
    found = split_sentences(text)
    return len(found) >= args.N and args.word.lower() in found[args.N - 1].lower()


@IFBENCH_SENTENCES.id(
    "sentence:keyword",
    "The response must include keyword {word} in the {N}-th sentence.",
    a.SentenceKeyword,
    published=sentence_keyword_upstream,
    differs="the keyword starts a word (cats has cat, concatenate has not), upstream finds it anywhere",
)
def sentence_keyword(text: str, args: a.SentenceKeyword) -> bool:
    found = sentences(text)
    return len(found) >= args.N and whole_word(args.word, ends=False).search(found[args.N - 1]) is not None


def last_first_upstream(text: str, _: a.NoArgs) -> bool:
    found = split_sentences(text)
    for earlier, later in pairwise(found):
        last, first = earlier.rstrip(_EDGE).split()[-1:], later.lstrip(_EDGE).split()[:1]
        if not last or not first or last[0].lower() != first[0].lower():
            return False
    return True


@IFBENCH_SENTENCES.id(
    "words:last_first",
    "The last word of each sentence must become the first word of the next sentence.",
    published=last_first_upstream,
    differs="there must be two sentences; " + _OWN_SENTENCES,
)
def last_first(text: str, _: a.NoArgs) -> bool:
    found = [[word.lower() for word in word_tokens(sentence)] for sentence in sentences(text)]
    if len(found) < 2 or not all(found):
        return False
    return all(earlier[-1] == later[0] for earlier, later in pairwise(found))


def sentence_increment_upstream(text: str, args: a.SmallNumber) -> bool:
    counts = [len(without_ascii_punctuation(sentence).split()) for sentence in split_sentences(text)]
    return bool(counts) and _grows_by(counts, args.small_n)


@IFBENCH_SENTENCES.id(
    "sentence:increment",
    "Each sentence must contain exactly {small_n} more words than the previous one.",
    a.SmallNumber,
    published=sentence_increment_upstream,
    differs="there must be two sentences; " + _OWN_SENTENCES,
)
def sentence_increment(text: str, args: a.SmallNumber) -> bool:
    counts = [len(word_tokens(sentence)) for sentence in sentences(text)]
    return len(counts) > 1 and _grows_by(counts, args.small_n)


def _grows_by(counts: list[int], step: int) -> bool:
    return all(later == earlier + step for earlier, later in pairwise(counts))


def repeat_change_upstream(text: str, args: a.RepeatPrompt) -> bool:
    return args.prompt_to_repeat != text and args.prompt_to_repeat.split()[1:] == text.split()[1:]


@IFBENCH_SENTENCES.id(
    "repeat:repeat_change",
    "Repeat the request, but change the first word of the repeated request, (do not say anything before repeating "
    "the request; the request you need to repeat does not include this sentence) and do not answer the actual "
    "request!",
    a.RepeatPrompt,
    published=repeat_change_upstream,
    differs="the first word itself must differ, upstream is content with a changed space",
)
def repeat_change(text: str, args: a.RepeatPrompt) -> bool:
    asked, given = args.prompt_to_repeat.split(), text.split()
    is_changed = bool(given) and stripped(given[0]).lower() != stripped(asked[0]).lower()
    return is_changed and asked[1:] == given[1:]


@IFBENCH_SENTENCES.id(
    "repeat:repeat_simple",
    SIMPLE_SENTENCE,
)
def repeat_simple(text: str, _: a.NoArgs) -> bool:
    return text.strip().lower() == SIMPLE_SENTENCE.lower()


def repeat_span_upstream(text: str, args: a.RepeatSpan) -> bool:
    return text.lower().split() == args.prompt_to_repeat.lower().split()[args.n_start : args.n_end]


@IFBENCH_SENTENCES.id(
    "repeat:repeat_span",
    "Copy the span of words that lies between (and including) index {n_start} and {n_end}, the indices are "
    "character indices!",
    a.RepeatSpan,
    published=repeat_span_upstream,
    differs="indices count characters and the last is included, upstream counts words and leaves the last out",
)
def repeat_span(text: str, args: a.RepeatSpan) -> bool:
    span = args.prompt_to_repeat[args.n_start : args.n_end + 1]
    return text.lower().split() == span.lower().split()
