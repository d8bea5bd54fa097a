"""Procedural prompts to train on: "Write about a river. Include the word stream. Do not use any commas."

Task i of a split is a pure function of (seed, split, i, difficulty). The gold response comes first: a few sentences on
the topic, laid out as the drawn instructions want (bullets, title, capitals, ...); the arguments of the instructions
are then read off it, so that every task is known to be satisfiable. The task is only asked when the gold passes all of
its checks without a flag; otherwise the next attempt is drawn.

*Split*: by topic. Every fifth topic is held out, so no held-out prompt is ever trained on. None of the prompts occurs
in IFEval: they all start with phrases of this file about topics of gyms/constraints/topics.py.

Left out: ids whose gold needs invention (syllables, alliteration, African countries); published rows have those.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gyms.api import Split, Task, message
from gyms.constraints.hacks import hack_flags
from gyms.constraints.item import read_item
from gyms.constraints.text import prepared, word_tokens
from gyms.constraints.topics import TOPICS, Topic
from gyms.constraints.wordlists import STOP_WORDS
from gyms.lazy import LazyTasks

__all__ = ["PromptTasks", "make_prompt"]

MAX_ATTEMPTS = 50
HELDOUT_EVERY = 5
"""Every fifth topic is held out."""

_ASKS = (
    "Write about {topic}.",
    "Tell me about {topic}.",
    "Write a short text about {topic}.",
    "Describe {topic} in your own words.",
    "Say something about {topic}.",
)
_FILLERS = ("apple", "window", "purple", "engine", "castle", "lemon", "pencil", "rocket", "carpet", "whistle")
_ENDINGS = ("That is all I know.", "Thank you for reading.", "Is there more to say?", "See you next time.")


@dataclass(slots=True)
class _Draft:
    """A gold response in the making: sentences first, then what is laid over them."""

    rng: random.Random
    topic: Topic
    sentences: list[str]
    separator: str = " "
    wrap: list[Callable[[str], str]] = field(default_factory=list)
    """Applied to the joined text, in order: title, ending, quotes, case."""

    def text(self) -> str:
        """The response as it stands."""
        text = self.separator.join(self.sentences)
        for step in self.wrap:
            text = step(text)
        return text

    def words(self) -> list[str]:
        """Lower-case content words of the sentences, each once, in order."""
        found = [word.lower() for sentence in self.sentences for word in word_tokens(sentence)]
        return [word for word in dict.fromkeys(found) if len(word) > 3 and word not in STOP_WORDS and word.isalpha()]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of instruction that can be drawn."""

    id: str
    level: int
    """Lowest difficulty that draws it."""
    group: str
    """Kinds of one group are never drawn together: they lay out the same thing."""
    apply: Callable[[_Draft], tuple[dict[str, Any], str] | None]
    """Changes the draft and returns arguments and wording, or None where it does not fit."""


def _existence(draft: _Draft) -> tuple[dict[str, Any], str]:
    word = draft.rng.choice(draft.words())
    return {"keywords": [word]}, f'Include the word "{word}".'


def _frequency(draft: _Draft) -> tuple[dict[str, Any], str]:
    word = draft.rng.choice(draft.words())
    return {
        "keyword": word,
        "frequency": 1,
        "relation": "at least",
    }, f'The word "{word}" should appear at least 1 times.'


def _forbidden(draft: _Draft) -> tuple[dict[str, Any], str]:
    used = set(draft.words())
    words = draft.rng.sample([word for word in (*_FILLERS, *draft.topic.words) if word not in used], 2)
    return {"forbidden_words": words}, f'Do not use the words "{words[0]}" and "{words[1]}".'


def _num_words_below(draft: _Draft) -> tuple[dict[str, Any], str]:
    limit = len(draft.text().split()) + draft.rng.choice((5, 10, 20))
    return {"num_words": limit, "relation": "less than"}, f"Use less than {limit} words."


def _num_words_above(draft: _Draft) -> tuple[dict[str, Any], str]:
    limit = max(5, len(draft.text().split()) // 5 * 5)
    return {"num_words": limit, "relation": "at least"}, f"Use at least {limit} words."


def _num_sentences_below(draft: _Draft) -> tuple[dict[str, Any], str]:
    limit = len(draft.sentences) + draft.rng.choice((1, 2, 3))
    return {"num_sentences": limit, "relation": "less than"}, f"Use less than {limit} sentences."


def _num_sentences_above(draft: _Draft) -> tuple[dict[str, Any], str]:
    limit = len(draft.sentences)
    return {"num_sentences": limit, "relation": "at least"}, f"Use at least {limit} sentences."


def _no_comma(draft: _Draft) -> tuple[dict[str, Any], str]:
    return {}, "Do not use any commas."


def _no_exclamation(draft: _Draft) -> tuple[dict[str, Any], str]:
    return {}, "Do not use any exclamation marks."


def _lowercase(draft: _Draft) -> tuple[dict[str, Any], str]:
    draft.wrap.append(str.lower)
    return {}, "Use only lowercase letters in English. No capital letters are allowed."


def _capital(draft: _Draft) -> tuple[dict[str, Any], str]:
    draft.wrap.append(str.upper)
    return {}, "Write everything in English and in capital letters."


def _quotation(draft: _Draft) -> tuple[dict[str, Any], str]:
    draft.wrap.append(lambda text: f'"{text}"')
    return {}, "Wrap your entire response with double quotation marks."


def _title(draft: _Draft) -> tuple[dict[str, Any], str]:
    title = " ".join(draft.rng.sample(draft.words(), 2))
    draft.wrap.append(lambda text: f"<<{title}>>\n{text}")
    return {}, "Add a title in double angular brackets, such as <<title>>."


def _ending(draft: _Draft) -> tuple[dict[str, Any], str]:
    phrase = draft.rng.choice(_ENDINGS)
    draft.wrap.append(lambda text: f"{text} {phrase}")
    return {"end_phrase": phrase}, f'End with this exact phrase: "{phrase}"'


def _postscript(draft: _Draft) -> tuple[dict[str, Any], str] | None:
    if len(draft.sentences) < 2:
        return None
    last = draft.sentences.pop()
    draft.wrap.append(lambda text: f"{text}\n\nP.S. {last}")
    return {"postscript_marker": "P.S."}, "At the end add a postscript starting with P.S."


def _bullets(draft: _Draft) -> tuple[dict[str, Any], str]:
    draft.sentences = [f"* {sentence}" for sentence in draft.sentences]
    draft.separator = "\n"
    number = len(draft.sentences)
    return {
        "num_bullets": number
    }, f"Give exactly {number} bullet points. Start each with an asterisk, such as: * A point."


def _paragraphs(draft: _Draft) -> tuple[dict[str, Any], str] | None:
    if len(draft.sentences) < 2:
        return None
    draft.separator = "\n***\n"
    number = len(draft.sentences)
    return {"num_paragraphs": number}, f"Write {number} paragraphs. Separate them with the markdown divider: ***"


def _two_paragraphs(draft: _Draft) -> tuple[dict[str, Any], str] | None:
    if len(draft.sentences) < 2:
        return None
    draft.sentences = [draft.sentences[0], " ".join(draft.sentences[1:])]
    draft.separator = "\n\n"
    return {}, "Write 2 paragraphs, separated by two line breaks."


def _first_word(draft: _Draft) -> tuple[dict[str, Any], str]:
    word = draft.sentences[0].removeprefix("* ").split()[0].lower()
    return {"first_word": word}, f'The first word of your response should be "{word}".'


def _highlight(draft: _Draft) -> tuple[dict[str, Any], str]:
    first, rest = draft.sentences[0].removeprefix("* ").split(" ", 1)
    bullet = "* " if draft.sentences[0].startswith("* ") else ""
    second, rest = rest.split(" ", 1)
    draft.sentences[0] = f"{bullet}{first} *{second}* {rest}"
    return {"num_highlights": 1}, "Highlight at least 1 part with markdown, such as *this part*."


def _letter(draft: _Draft) -> tuple[dict[str, Any], str]:
    text = draft.text().lower()
    letter = draft.rng.choice([c for c in "abcdefghiklmnoprstuw" if c in text])
    wanted = max(1, text.count(letter) // 2)
    args = {"letter": letter, "let_frequency": wanted, "let_relation": "at least"}
    return args, f'The letter "{letter}" should appear at least {wanted} times.'


_KINDS: tuple[_Kind, ...] = (
    _Kind("keywords:existence", 1, "keyword", _existence),
    _Kind("keywords:forbidden_words", 1, "forbidden", _forbidden),
    _Kind("length_constraints:number_words", 1, "words", _num_words_below),
    _Kind("length_constraints:number_sentences", 1, "sentences", _num_sentences_below),
    _Kind("punctuation:no_comma", 1, "comma", _no_comma),
    _Kind("punctuation:punctuation_exclamation", 1, "exclamation", _no_exclamation),
    _Kind("first_word:first_word_answer", 1, "first", _first_word),
    _Kind("startend:quotation", 1, "quotes", _quotation),
    _Kind("keywords:frequency", 2, "keyword", _frequency),
    _Kind("length_constraints:number_words", 2, "words", _num_words_above),
    _Kind("length_constraints:number_sentences", 2, "sentences", _num_sentences_above),
    _Kind("keywords:letter_frequency", 2, "letter", _letter),
    _Kind("startend:end_checker", 2, "end", _ending),
    _Kind("detectable_format:title", 2, "first", _title),
    _Kind("detectable_format:number_bullet_lists", 2, "layout", _bullets),
    _Kind("change_case:english_lowercase", 2, "case", _lowercase),
    _Kind("change_case:english_capital", 3, "case", _capital),
    _Kind("detectable_format:number_highlighted_sections", 3, "highlight", _highlight),
    _Kind("length_constraints:number_paragraphs", 3, "layout", _paragraphs),
    _Kind("paragraphs:paragraphs2", 3, "layout", _two_paragraphs),
    _Kind("detectable_content:postscript", 3, "end", _postscript),
)
_ORDER = (
    "layout",
    "highlight",
    "keyword",
    "forbidden",
    "first",
    "end",
    "quotes",
    "case",
    "letter",
    "words",
    "sentences",
)
"""What lays out comes before what wraps, and what is read off the finished text comes last."""
_MOST = {1: 1, 2: 2, 3: 3, 4: 5}


def make_prompt(seed: int, split: Split, index: int, difficulty: int) -> Task:
    """The task at an index of a split: a pure function of its arguments."""
    topics = [
        t for place, t in enumerate(TOPICS) if (place % HELDOUT_EVERY == HELDOUT_EVERY - 1) == (split == "heldout")
    ]
    for attempt in range(MAX_ATTEMPTS):
        rng = random.Random(f"constraints/{seed}/{split}/{index}/{difficulty}/{attempt}")
        task = _drawn(rng, rng.choice(topics), difficulty, f"{split}/{difficulty}/{seed}/{index}")
        if task is not None:
            return task
    raise AssertionError(f"no prompt in {MAX_ATTEMPTS} attempts for {(seed, split, index, difficulty)}")


def _drawn(rng: random.Random, topic: Topic, difficulty: int, task_id: str) -> Task | None:
    draft = _Draft(rng, topic, rng.sample(topic.sentences, rng.randint(1, 2 + difficulty // 2)))
    number = rng.randint(max(1, difficulty - 1), _MOST[difficulty])
    chosen: dict[str, tuple[_Kind, dict[str, Any], str]] = {}
    for kind in sorted(_chosen_kinds(rng, difficulty, number), key=lambda kind: _place(kind.group)):
        applied = kind.apply(draft)
        if applied is None:
            return None
        chosen[kind.group] = (kind, *applied)
    parts = list(chosen.values())
    rng.shuffle(parts)
    prompt = " ".join([rng.choice(_ASKS).format(topic=topic.name), *(words for _kind, _args, words in parts)])
    data: dict[str, Any] = {
        "prompt": prompt,
        "instruction_id_list": [kind.id for kind, _args, _words in parts],
        "kwargs": [args for _kind, args, _words in parts],
        "topic_words": list(topic.words),
        "penalise_hacks": True,
        "gold": draft.text(),
    }
    return Task(id=task_id, prompt=(message("user", prompt),), data=data) if _is_sound(data) else None


def _chosen_kinds(rng: random.Random, difficulty: int, number: int) -> list[_Kind]:
    kinds: dict[str, _Kind] = {}
    for kind in rng.sample([kind for kind in _KINDS if kind.level <= difficulty], k=min(3 * number, 8)):
        kinds.setdefault(kind.group, kind)
    return list(kinds.values())[:number]


def _place(group: str) -> int:
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


def _is_sound(data: dict[str, Any]) -> bool:
    """The gold passes every instruction, without a flag."""
    try:
        item = read_item(data)
    except ValueError:
        return False
    gold = data["gold"]
    passed = [instruction.holds(prepared(gold)) for instruction in item.instructions]
    return all(passed) and not hack_flags(item, gold, passed, data["topic_words"])


class PromptTasks(LazyTasks):
    """The tasks of a split, made when they are asked for."""

    def __init__(self, seed: int, split: Split, num_tasks: int, difficulty: int) -> None:
        self._key = (seed, split, difficulty)
        self._num_tasks = num_tasks

    def __len__(self) -> int:
        return self._num_tasks

    def make(self, place: int) -> Task:
        seed, split, difficulty = self._key
        return make_prompt(seed, split, place, difficulty)
