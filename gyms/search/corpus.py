"""What is searched: documents with an id, a title and a text; read from a file, or generated as a function of a seed.

*The generated world* has people, towns, companies and rivers, each with one document that states its facts in plain
sentences: a fact stands in one document and nowhere else, so what a question needs is known. Documents also mention
other entities in passing, so a search for a name finds more than the one that tells of it. Ids say nothing: they are a
hash.

*Names* are made of syllables and lie on one side of the split by their hash, so the corpus of the held-out questions
shares no name with the one that is trained on: what was learned by heart is of no use there.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from gyms.api import Split
from gyms.heldout import is_heldout
from gyms.rows import make_all, read_file

__all__ = ["KINDS", "Document", "Entity", "World", "read_corpus", "world"]

MAX_ID_CHARS = 100
KINDS = ("person", "town", "company", "river")
_SHARES: Mapping[str, float] = {"person": 0.5, "town": 0.2, "company": 0.25, "river": 0.05}
_ONSETS = (
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "z",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
_CODAS = ("", "", "n", "r", "l", "s", "m", "nd", "rt", "x")
_TOWN_ENDS = ("ford", "bury", "haven", "mouth", "stead", "wick")
_COMPANY_ENDS = ("Works", "Mills", "Foundry", "Instruments", "Shipping", "Press")
_TRADES = (
    "baker",
    "surveyor",
    "composer",
    "botanist",
    "printer",
    "painter",
    "astronomer",
    "judge",
    "weaver",
)
_GOODS = ("clocks", "ropes", "lenses", "paper", "pianos", "bicycles", "kettles", "maps", "umbrellas", "scales")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """Somebody or something of the generated world, told of by one document."""

    kind: str
    name: str
    document: str
    """Its document's id."""
    links: dict[str, int] = field(default_factory=dict)
    """Relation -> place of another entity."""
    facts: dict[str, str] = field(default_factory=dict)
    """Attribute -> value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A generated corpus, and what it says."""

    entities: tuple[Entity, ...]
    documents: tuple[Document, ...]


@lru_cache(maxsize=4)
def world(seed: int, split: Split, num_documents: int) -> World:
    """The generated corpus of a split: a pure function of its arguments.

    Args:
        num_documents: at least 40, so that every kind of entity occurs.
    """
    draw = random.Random(f"corpus {seed} {split} {num_documents}")
    kinds = [kind for kind in KINDS for _ in range(max(2, round(_SHARES[kind] * num_documents)))]
    kinds = [*kinds, *["person"] * num_documents][:num_documents]
    names = _names(draw, kinds, split)
    entities = tuple(
        Entity(kind=kind, name=name, document=document)
        for kind, name, document in zip(kinds, names, _document_ids(seed, split, names), strict=True)
    )
    places = {kind: [place for place, found in enumerate(kinds) if found == kind] for kind in KINDS}
    for place, entity in enumerate(entities):
        _settle(draw, entity, place, places)
    documents = tuple(_document(draw, entity, entities) for entity in entities)
    order = list(range(num_documents))
    draw.shuffle(order)  # a place in the corpus tells nothing of the kind
    return World(entities=entities, documents=tuple(documents[place] for place in order))


def read_corpus(path: Path) -> tuple[Document, ...]:
    """Documents of a file: rows of `id`, `title` (optional) and `text`.

    Raises:
        ValueError: in one line, where a row is no document, or an id comes twice.
    """
    made, _ = make_all(read_file(path), _document_of, skip_malformed=None)
    seen: set[str] = set()
    for document in made:
        if document.id in seen:
            raise ValueError(f"{path}: the id {document.id!r} comes twice; give every document one of its own")
        seen.add(document.id)
    if not made:
        raise ValueError(f"{path} holds no documents; give a row of `id`, `title` and `text` for each")
    return tuple(made)


def _document_of(row: Mapping[str, Any], where: str) -> Document:
    given = row.get("id")
    name = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""
    text, title = row.get("text"), row.get("title") or ""
    is_fine = 0 < len(name) <= MAX_ID_CHARS and isinstance(text, str) and text.strip() and isinstance(title, str)
    if not is_fine:
        raise ValueError(
            f"{where}: a document needs `id` (at most {MAX_ID_CHARS} characters) and `text`, and may have `title`; got "
            f"the keys {sorted(map(str, row))}"
        )
    return Document(id=name, title=title, text=str(text))


def _document_ids(seed: int, split: str, names: Sequence[str]) -> list[str]:
    """A hash for each name; in a large corpus two may be alike, and the later one is hashed again."""
    ids: dict[str, None] = {}
    for name in names:
        hashed = f"{seed} {split} {name}"
        while (found := hashlib.blake2b(hashed.encode(), digest_size=4).hexdigest()) in ids:
            hashed += " "
        ids[found] = None
    return list(ids)


def _names(draw: random.Random, kinds: Sequence[str], split: Split) -> list[str]:
    names: list[str] = []
    seen: set[str] = set()
    families = [_word(draw) for _ in range(max(8, len(kinds) // 8))]
    while len(names) < len(kinds):
        kind = kinds[len(names)]
        name = {
            "person": lambda: f"{_word(draw)} {draw.choice(families)}",
            "town": lambda: _word(draw) + draw.choice(_TOWN_ENDS),
            "company": lambda: f"{_word(draw)} {draw.choice(_COMPANY_ENDS)}",
            "river": lambda: f"River {_word(draw)}",
        }[kind]()
        if name in seen or is_heldout(name, fraction=0.5) != (split == "heldout"):
            continue
        seen.add(name)
        names.append(name)
    return names


def _word(draw: random.Random) -> str:
    syllables = "".join(draw.choice(_ONSETS) + draw.choice(_VOWELS) for _ in range(draw.randint(2, 3)))
    return (syllables + draw.choice(_CODAS)).capitalize()


def _settle(draw: random.Random, entity: Entity, place: int, places: Mapping[str, list[int]]) -> None:
    """Draw what is true of an entity."""

    def other(kind: str) -> int:
        if entity.kind != kind:
            return draw.choice(places[kind])
        found = draw.choice(range(len(places[kind]) - 1))  # without itself, and without a list of all but itself
        return places[kind][found + (found >= bisect_left(places[kind], place))]

    if entity.kind == "person":
        entity.links.update(birthplace=other("town"), employer=other("company"), teacher=other("person"))
        entity.facts.update(born=str(draw.randint(1700, 1950)), trade=draw.choice(_TRADES))
    elif entity.kind == "town":
        entity.links.update(river=other("river"), twin=other("town"), mayor=other("person"))
        entity.facts.update(founded=str(draw.randint(900, 1690)))
    elif entity.kind == "company":
        entity.links.update(seat=other("town"), founder=other("person"))
        entity.facts.update(founded=str(draw.randint(1750, 1990)), goods=draw.choice(_GOODS))
    else:
        entity.links.update(source=other("town"))
        entity.facts.update(length=f"{draw.randint(30, 900)}")


def _document(draw: random.Random, entity: Entity, entities: Sequence[Entity]) -> Document:
    def called(relation: str) -> str:
        return entities[entity.links[relation]].name

    facts, name = entity.facts, entity.name
    told = {
        "person": lambda: [
            f"{name} was born in {called('birthplace')} in the year {facts['born']}.",
            f"By trade a {facts['trade']}, {name} has worked for {called('employer')}.",
            f"The teacher of {name} was {called('teacher')}.",
        ],
        "town": lambda: [
            f"{name} was founded in the year {facts['founded']} and lies on the {called('river')}.",
            f"Its twin town is {called('twin')}.",
            f"The mayor of {name} is {called('mayor')}.",
        ],
        "company": lambda: [
            f"{name} was founded by {called('founder')} in the year {facts['founded']}.",
            f"It makes {facts['goods']} and has its seat in {called('seat')}.",
        ],
        "river": lambda: [f"The {name} is {facts['length']} km long.", f"It rises near {called('source')}."],
    }[entity.kind]()
    passing = [found for found in draw.sample(entities, 3) if found is not entity]
    told += [
        f"A travel guide mentions {name} beside {passing[0].name}.",
        f"An exhibition about {passing[1].name} was held here once." if entity.kind == "town" else "",
    ]
    draw.shuffle(told)
    return Document(id=entity.document, title=name, text=" ".join(sentence for sentence in told if sentence))
