"""The `search` environment: questions over a corpus, answered with a search engine and with evidence.

The model searches (`search`), reads (`open`) and ends with `answer`: the answer in a few words, and the ids of the
documents that it rests on. It is paid where the answer is right *and* every document that the question needs is
among the evidence: a lucky guess, and what was known by heart, is worth nothing. Evidence is capped (`max_evidence`),
and only what this episode was shown counts, so naming everything does not help.

*An answer is right* where it equals one of the known ones after case, punctuation, articles and white space are taken
out, but for signs that make it another one (C++, O-, 1/2). Nothing more is forgiven: "1820 or 1821" is wrong.

*Tasks.* Without files they are generated (gyms/search/corpus.py, questions.py): a pure function of (seed, split,
index), and train and held-out questions have corpora of their own, without a common name. With `corpus` and `questions`
they are read from files, and a hash of the question holds some out; the corpus is then the same for both.

Left out: search by meaning (embeddings), the web, answers in sentences, which would need a judge.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from gyms.api import (
    Call,
    Environment,
    Episode,
    Needs,
    Score,
    Services,
    Split,
    Status,
    Task,
    Tool,
    Turn,
    message,
)
from gyms.combining import MARKS
from gyms.episodes.calling import Calling
from gyms.episodes.episode import Unplayable
from gyms.heldout import is_heldout
from gyms.invisible import visible
from gyms.lazy import DrawnSettings, DrawnTasks
from gyms.search.corpus import MAX_ID_CHARS, Document, read_corpus, world
from gyms.search.index import Index, missing_engine
from gyms.search.questions import MAX_ANSWER_CHARS, Question, drawn_question, read_questions

__all__ = ["Search", "SearchSettings"]

MAX_RESULTS = 20
_MAX_DRAWS = 10_000
_ASKED = (
    "{}\n\nFind out with the tools. Then call `answer` with the answer, in as few words as possible, and with the ids "
    "of all documents that are needed to know it."
)
_EVIDENCE = {"type": "array", "items": {"type": "string", "maxLength": MAX_ID_CHARS}, "maxItems": 64}
_ARTICLES = frozenset({"a", "an", "the"})
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070\u2074-\u207b]+")
_SIGNS = str.maketrans("\u2212\u2044\u266f", "-/#")
_WORD = re.compile(rf"(?:\^?-?\d+(?:[.,/]\d+)*|[^\W_](?:[^\W_]|[{MARKS}])*)(?:[+#]+|-(?!\w))?")


def _tool(name: str, description: str, required: Sequence[str], **properties: object) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return Tool(name=name, description=description, parameters=schema)


TOOLS = (
    _tool(
        "search",
        "Searches all documents for words and returns the ids, titles and best parts of those that fit best.",
        ["query"],
        query={"type": "string", "maxLength": 1000},
        k={"type": "integer", "minimum": 1, "maximum": MAX_RESULTS, "description": "Most results; 5 if left out."},
    ),
    _tool(
        "open",
        "Returns a document. Long ones have several pages.",
        ["id"],
        id={"type": "string", "maxLength": MAX_ID_CHARS},
        page={"type": "integer", "minimum": 1, "maximum": 10_000, "description": "1 if left out."},
    ),
    _tool(
        "answer",
        "Gives the answer and the ids of the documents that it rests on. Ends the task.",
        ["answer", "evidence"],
        answer={"type": "string"},
        evidence=_EVIDENCE,
    ),
)


class SearchSettings(DrawnSettings):
    """What is searched and asked."""

    corpus: Path | None = None
    """File of documents (rows of `id`, `title`, `text`); none: a generated corpus."""
    questions: Path | None = None
    """File of questions (rows of `question`, `answer` or `answers`, `evidence`); needs `corpus`."""
    num_documents: int = Field(default=1000, ge=40, le=100_000)
    """Documents of a generated corpus."""
    min_hops: int = Field(default=2, ge=1, le=6)
    """Fewest documents that a generated question needs."""
    max_hops: int = Field(default=3, ge=1, le=6)
    """Most documents that a generated question needs."""
    max_evidence: int = Field(default=8, ge=1, le=64)
    """Most ids of an answer that count; with more, none do."""
    page_chars: int = Field(default=4000, ge=200, le=100_000)
    """Most characters of one page of a document."""

    @model_validator(mode="after")
    def _check_together(self) -> SearchSettings:
        if self.min_hops > self.max_hops:
            raise ValueError(f"min_hops = {self.min_hops} is above max_hops = {self.max_hops}")
        if self.max_hops > self.max_evidence:
            raise ValueError(f"max_evidence = {self.max_evidence} is less than max_hops = {self.max_hops} may need")
        if (self.corpus is None) != (self.questions is None):
            raise ValueError("corpus and questions belong together; give both files or none")
        return self


class Search(Environment):
    """Asks questions over a corpus; see the head of this file."""

    Settings = SearchSettings
    components: ClassVar[Mapping[str, str]] = {
        "correct": "1 where the answer is right, whatever its evidence",
        "evidence": "fraction of the needed documents that were given as evidence",
        "num_calls": "well-formed calls",
    }
    needs = Needs(wall_seconds=300.0)  # a worker's first episode reads the corpus and builds the index
    max_turns = 60
    settings: SearchSettings

    def __init__(self, settings: SearchSettings, services: Services) -> None:
        super().__init__(settings, services)
        if problem := missing_engine():
            raise ValueError(problem)
        self._indices: dict[str, Index] = {}
        self._read: tuple[Document, ...] | None = None

    def tasks(self, split: Split) -> Sequence[Task]:
        """Lazy where they are generated: a task is drawn when it is indexed."""
        if self.settings.questions is None:
            return _Drawn(self.settings, split)
        known = frozenset(document.id for document in self._documents("file"))
        questions = read_questions(self.settings.questions, known, max_evidence=self.settings.max_evidence)
        held = [
            is_heldout(one.text, fraction=self.settings.heldout_fraction, seed=self.settings.split_seed)
            for one in questions
        ]
        chosen = [one for one, is_held in zip(questions, held, strict=True) if is_held == (split == "heldout")]
        return [_task(f"{split}/{number}", question, "file") for number, question in enumerate(chosen)]

    def tools(self, task: Task) -> Sequence[Tool]:
        return TOOLS

    def start(self, task: Task, seed: int) -> Episode:
        if problem := self._what_is_wrong(task.data):
            return Unplayable(f"task {task.id!r}: {problem}")
        return _Hunt(task, self._index(task.data["corpus"]), self.settings)

    def gold_turns(self, task: Task) -> Sequence[Turn]:
        """For each document that is needed: search, where it is known for what, and open it; then answer."""
        steps: list[tuple[str, dict[str, object]]] = []
        for place, document in enumerate(task.data["evidence"]):
            steps += [("search", {"query": query}) for query in task.data["searches"][place : place + 1]]
            steps.append(("open", {"id": document}))
        answer = {"answer": task.data["answers"][0], "evidence": list(task.data["evidence"])}
        return [
            Turn(text="", calls=(Call(id=f"call_{number}", tool=name, arguments=arguments),))
            for number, (name, arguments) in enumerate([*steps, ("answer", answer)])
        ]

    def fingerprint(self, task: Task) -> str:
        return task.prompt[-1]["content"].removesuffix(_ASKED.format(""))  # a question may have paragraphs

    def _index(self, corpus: str) -> Index:
        if corpus not in self._indices:
            self._indices[corpus] = Index(self._documents(corpus))
        return self._indices[corpus]

    def _documents(self, corpus: str) -> Sequence[Document]:
        settings = self.settings
        if settings.corpus is None:
            return world(settings.seed, "heldout" if corpus == "heldout" else "train", settings.num_documents).documents
        if self._read is None:
            self._read = read_corpus(settings.corpus)
        return self._read

    def _what_is_wrong(self, data: Mapping[str, object]) -> str:
        """Why a stored task cannot be played with these settings; empty where it can."""
        wanted = ("train", "heldout") if self.settings.corpus is None else ("file",)
        if data.get("corpus") not in wanted:
            return f"data['corpus'] must be one of {wanted}, got {data.get('corpus')!r:.40}"
        answers, evidence = data.get("answers"), data.get("evidence")
        if not isinstance(answers, list | tuple) or not answers or not isinstance(evidence, list | tuple):
            return "data['answers'] and data['evidence'] must be lists of texts"
        missing = [found for found in evidence if self._index(str(data["corpus"])).get(str(found)) is None]
        return (
            f"data['evidence'] names {missing[0]!r:.100}, which the corpus of these settings lacks" if missing else ""
        )


class _Hunt(Calling):
    """One attempt: what was shown, and what was answered."""

    cut_off = "Your turn was cut off. Go on: call a tool."

    def __init__(self, task: Task, index: Index, settings: SearchSettings) -> None:
        super().__init__(TOOLS)
        self._data = task.data
        self._index = index
        self._settings = settings
        self._shown: set[str] = set()
        self._answer: tuple[str, tuple[str, ...]] | None = None

    def score(self) -> Score:
        if self._answer is None:
            return Score(status=Status.NO_ANSWER, detail="the tool `answer` was not called")
        text, given = self._answer
        needed = set(self._data["evidence"])
        counted = set(given) & self._shown if len(set(given)) <= self._settings.max_evidence else set()
        is_right = _is_known(text, map(str, self._data["answers"]))
        evidence = len(needed & counted) / len(needed) if needed else 1.0
        return Score(
            status=Status.OK,
            value=float(is_right and needed <= counted),
            answer=text,
            components={"correct": float(is_right), "evidence": evidence, "num_calls": float(self.num_calls)},
        )

    def run(self, call: Call) -> str:
        assert call.arguments is not None
        if call.tool == "search":
            return self._search(call.arguments["query"], int(call.arguments.get("k", 5)))
        if call.tool == "open":
            return self._open(call.arguments["id"], int(call.arguments.get("page", 1)))
        text, given = call.arguments["answer"], call.arguments["evidence"]
        if len(text) > MAX_ANSWER_CHARS:
            return f"Error: the answer has over {MAX_ANSWER_CHARS} characters; give a few words."
        self._answer, self.is_over = (text, tuple(given)), True
        return "Taken."

    def _search(self, query: str, max_results: int) -> str:
        found = self._index.search(query, max_results=max_results)
        self._shown |= {one.id for one in found}
        return "\n".join(f"[{one.id}] {one.title}: {one.snippet}" for one in found) or "Nothing was found."

    def _open(self, document_id: str, page: int) -> str:
        document = self._index.get(document_id)
        if document is None:
            return f"Error: there is no document {document_id!r}; `search` gives the ids."
        size = self._settings.page_chars
        num_pages = max(1, -(-len(document.text) // size))
        if page > num_pages:
            return f"Error: this document has {num_pages} page{'' if num_pages == 1 else 's'}."
        self._shown.add(document_id)
        more = f"\n(page {page} of {num_pages})" if num_pages > 1 else ""
        return f"{document.title}\n{document.text[(page - 1) * size : page * size]}{more}"


class _Drawn(DrawnTasks):
    """The generated tasks of a split, drawn one by one."""

    def make(self, place: int) -> Task:
        settings = self._settings
        known = world(settings.seed, self._split, settings.num_documents)
        draw = random.Random(f"question {settings.seed} {self._split} {place}")
        num_hops = draw.randint(settings.min_hops, settings.max_hops)
        for _ in range(_MAX_DRAWS):
            question = drawn_question(draw, known, num_hops=num_hops)
            if question is not None:
                return _task(f"{self._split}/{place}", question, self._split)
        raise ValueError(f"no question of {num_hops} hops was found in {_MAX_DRAWS} draws; lower max_hops")


def _task(task_id: str, question: Question, corpus: str) -> Task:
    data = {
        "corpus": corpus,
        "answers": list(question.answers),
        "evidence": list(question.evidence),
        "searches": list(question.searches),
    }
    return Task(id=task_id, prompt=(message("user", _ASKED.format(question.text)),), data=data)


def _is_known(text: str, answers: Iterable[str]) -> bool:
    """Does an answer equal one of the known ones; one that says nothing equals none."""
    plain = _plain(text)
    return plain != "" and plain in map(_plain, answers)


def _plain(text: str) -> str:
    """Case, punctuation, articles, white space and what nobody sees taken out.

    Left in are signs that say what is meant: those of a number (-5, 1/2, 2.5, x\u00b2), a `+`, `#` or `-` that ends a
    word (C++, C#, O-), the marks of a letter. An `a` with nothing behind it is a letter (Vitamin A). Where nothing else
    is left, articles stay (The The), and so do signs.
    """
    folded = unicodedata.normalize("NFKC", _RAISED.sub(r"^\g<0>", visible(text))).translate(_SIGNS).casefold().strip()
    words = _WORD.findall(folded)
    kept = [word for word in words if word not in _ARTICLES] + [word for word in words[-1:] if word == "a"]
    return " ".join(kept or words) or folded
