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
from gyms.constraints.text import word_tokens
from gyms.constraints.topics import TOPICS, Topic
from gyms.constraints.wordlists import STOP_WORDS, split_words
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

    def some_word(self) -> str:
        return self.rng.choice(self.words())

    def num_words(self) -> int:
        return len(self.text().split())

    def wrapped(self, step: Callable[[str], str], **args: Any) -> dict[str, Any]:
        """Lay a step over the text; the arguments of the instruction that asks for it."""
        self.wrap.append(step)
        return args


Args = dict[str, Any]
_Apply = Callable[[_Draft], Args | None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of instruction that can be drawn."""

    id: str
    level: int
    """Lowest difficulty that draws it."""
    group: str
    """Kinds of one group are never drawn together: they lay out the same thing."""
    wording: str
    """How the prompt asks for it; `{name}` stands for an argument."""
    apply: _Apply
    """Changes the draft and returns the arguments, or None where it does not fit."""


_KINDS: list[_Kind] = []


def _kind(name: str, level: int, group: str) -> Callable[[_Apply], None]:
    """The decorated function draws the arguments; its docstring is the wording."""
    return lambda apply: _KINDS.append(_Kind(name, level, group, str(apply.__doc__), apply))


@_kind("keywords:existence", 1, "keyword")
def _existence(draft: _Draft) -> Args:
    """Include the word "{keywords[0]}"."""
    return {"keywords": [draft.some_word()]}


@_kind("keywords:forbidden_words", 1, "forbidden")
def _forbidden(draft: _Draft) -> Args:
    """Do not use the words "{forbidden_words[0]}" and "{forbidden_words[1]}"."""
    used = set(draft.words())
    return {"forbidden_words": draft.rng.sample([w for w in (*_FILLERS, *draft.topic.words) if w not in used], 2)}


@_kind("length_constraints:number_words", 1, "words")
def _words_below(draft: _Draft) -> Args:
    """Use less than {num_words} words."""
    return {"num_words": draft.num_words() + draft.rng.choice((5, 10, 20)), "relation": "less than"}


@_kind("length_constraints:number_sentences", 1, "sentences")
def _sentences_below(draft: _Draft) -> Args:
    """Use less than {num_sentences} sentences."""
    return {"num_sentences": len(draft.sentences) + draft.rng.choice((1, 2, 3)), "relation": "less than"}


@_kind("punctuation:no_comma", 1, "comma")
def _no_comma(draft: _Draft) -> Args:
    """Do not use any commas."""
    return {}


@_kind("punctuation:punctuation_exclamation", 1, "exclamation")
def _no_exclamation(draft: _Draft) -> Args:
    """Do not use any exclamation marks."""
    return {}


@_kind("first_word:first_word_answer", 1, "first")
def _first_word(draft: _Draft) -> Args:
    """The first word of your response should be "{first_word}"."""
    return {"first_word": draft.sentences[0].removeprefix("* ").split()[0].lower()}


@_kind("startend:quotation", 1, "quotes")
def _quotation(draft: _Draft) -> Args:
    """Wrap your entire response with double quotation marks."""
    return draft.wrapped('"{}"'.format)


@_kind("keywords:frequency", 2, "keyword")
def _frequency(draft: _Draft) -> Args:
    """The word "{keyword}" should appear at least 1 times."""
    return {"keyword": draft.some_word(), "frequency": 1, "relation": "at least"}


@_kind("length_constraints:number_words", 2, "words")
def _words_above(draft: _Draft) -> Args:
    """Use at least {num_words} words."""
    return {"num_words": max(5, draft.num_words() // 5 * 5), "relation": "at least"}


@_kind("length_constraints:number_sentences", 2, "sentences")
def _sentences_above(draft: _Draft) -> Args:
    """Use at least {num_sentences} sentences."""
    return {"num_sentences": len(draft.sentences), "relation": "at least"}


@_kind("keywords:letter_frequency", 2, "letter")
def _letter(draft: _Draft) -> Args:
    """The letter "{letter}" should appear at least {let_frequency} times."""
    text = draft.text().lower()
    letter = draft.rng.choice([c for c in "abcdefghiklmnoprstuw" if c in text])
    return {"letter": letter, "let_frequency": max(1, text.count(letter) // 2), "let_relation": "at least"}


@_kind("startend:end_checker", 2, "end")
def _ending(draft: _Draft) -> Args:
    '''End with this exact phrase: "{end_phrase}"'''
    phrase = draft.rng.choice(_ENDINGS)
    return draft.wrapped(lambda text: f"{text} {phrase}", end_phrase=phrase)


@_kind("detectable_format:title", 2, "first")
def _title(draft: _Draft) -> Args:
    """Add a title in double angular brackets, such as <<title>>."""
    title = " ".join(draft.rng.sample(draft.words(), 2))
    return draft.wrapped(lambda text: f"<<{title}>>\n{text}")


@_kind("detectable_format:number_bullet_lists", 2, "layout")
def _bullets(draft: _Draft) -> Args:
    """Give exactly {num_bullets} bullet points. Start each with an asterisk, such as: * A point."""
    draft.sentences = [f"* {sentence}" for sentence in draft.sentences]
    draft.separator = "\n"
    return {"num_bullets": len(draft.sentences)}


@_kind("change_case:english_lowercase", 2, "case")
def _lowercase(draft: _Draft) -> Args:
    """Use only lowercase letters in English. No capital letters are allowed."""
    return draft.wrapped(str.lower)


@_kind("change_case:english_capital", 3, "case")
def _capital(draft: _Draft) -> Args:
    """Write everything in English and in capital letters."""
    return draft.wrapped(str.upper)


@_kind("detectable_format:number_highlighted_sections", 3, "highlight")
def _highlight(draft: _Draft) -> Args:
    """Highlight at least {num_highlights} part with markdown, such as *this part*."""
    bullet = "* " if draft.sentences[0].startswith("* ") else ""
    first, second, rest = draft.sentences[0].removeprefix("* ").split(" ", 2)
    draft.sentences[0] = f"{bullet}{first} *{second}* {rest}"
    return {"num_highlights": 1}


@_kind("length_constraints:number_paragraphs", 3, "layout")
def _paragraphs(draft: _Draft) -> Args | None:
    """Write {num_paragraphs} paragraphs. Separate them with the markdown divider: ***"""
    draft.separator = "\n***\n"
    return {"num_paragraphs": len(draft.sentences)} if len(draft.sentences) > 1 else None


@_kind("paragraphs:paragraphs2", 3, "layout")
def _two_paragraphs(draft: _Draft) -> Args | None:
    """Write 2 paragraphs, separated by two line breaks."""
    if len(draft.sentences) < 2:
        return None
    draft.sentences = [draft.sentences[0], " ".join(draft.sentences[1:])]
    draft.separator = "\n\n"
    return {}


@_kind("detectable_content:postscript", 3, "end")
def _postscript(draft: _Draft) -> Args | None:
    """At the end add a postscript starting with {postscript_marker}"""
    if len(draft.sentences) < 2:
        return None
    last = draft.sentences.pop()
    return draft.wrapped(lambda text: f"{text}\n\nP.S. {last}", postscript_marker="P.S.")


_ORDER = split_words("layout highlight keyword forbidden first end quotes case letter words sentences")
"""What lays out comes before what wraps, and what is read off the finished text comes last."""
_MOST = {1: 1, 2: 2, 3: 3, 4: 5}


def make_prompt(seed: int, split: Split, index: int, difficulty: int) -> Task:
    """The task at an index of a split: a pure function of its arguments."""
    held_out = TOPICS[HELDOUT_EVERY - 1 :: HELDOUT_EVERY]
    topics = held_out if split == "heldout" else [topic for topic in TOPICS if topic not in held_out]
    for attempt in range(MAX_ATTEMPTS):
        rng = random.Random(f"constraints/{seed}/{split}/{index}/{difficulty}/{attempt}")
        task = _drawn(rng, rng.choice(topics), difficulty, f"{split}/{difficulty}/{seed}/{index}")
        if task is not None:
            return task
    raise AssertionError(f"no prompt in {MAX_ATTEMPTS} attempts for {(seed, split, index, difficulty)}")


def _drawn(rng: random.Random, topic: Topic, difficulty: int, task_id: str) -> Task | None:
    draft = _Draft(rng, topic, rng.sample(topic.sentences, rng.randint(1, 2 + difficulty // 2)))
    number = rng.randint(max(1, difficulty - 1), _MOST[difficulty])
    parts: list[tuple[_Kind, Args]] = []
    for kind in sorted(_chosen_kinds(rng, difficulty, number), key=lambda kind: _place(kind.group)):
        args = kind.apply(draft)
        if args is None:
            return None
        parts.append((kind, args))
    rng.shuffle(parts)
    asked = rng.choice(_ASKS).format(topic=topic.name)
    prompt = " ".join([asked, *(kind.wording.format(**args) for kind, args in parts)])
    data: dict[str, Any] = {
        "prompt": prompt,
        "instruction_id_list": [kind.id for kind, _args in parts],
        "kwargs": [args for _kind, args in parts],
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
    passed = [instruction.accepts(gold) for instruction in item.instructions]
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
