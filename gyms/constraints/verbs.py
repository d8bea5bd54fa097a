"""Is this word a verb: a small lexicon of base forms with their regular and irregular inflections.

Stands in for a part-of-speech tagger, whose model is not available here, for one question only: does a response start
with a verb. A word that is a noun as often as a verb ("Water is wet") counts as a verb unless a finite verb follows it.
"""

from __future__ import annotations

from gyms.constraints.wordlists import FINITE_VERBS, IRREGULAR_VERB_FORMS, VERBS

__all__ = ["starts_with_verb"]


def starts_with_verb(words: list[str]) -> bool:
    """True where the first of these words (punctuation removed) is read as a verb."""
    if not words:
        return False
    word = words[0].lower().replace("\u2019", "'")
    if word.removesuffix("n't") in ("do", "does", "did", "is", "are", "was", "were", "have", "has", "had"):
        return True
    if word in IRREGULAR_VERB_FORMS or _is_gerund(word):
        return True
    following = words[1].lower() if len(words) > 1 else ""
    return _is_form(word) and following not in FINITE_VERBS


def _is_form(word: str) -> bool:
    return any(stem in VERBS for stem in _stems(word))


def _is_gerund(word: str) -> bool:
    return word.endswith("ing") and len(word) > 4 and any(stem in VERBS for stem in _unsuffixed(word, "ing"))


def _stems(word: str) -> list[str]:
    stems = [word]
    if word.endswith("ies") or word.endswith("ied"):
        stems.append(word[:-3] + "y")
    if word.endswith("es"):
        stems.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss"):
        stems.append(word[:-1])
    if word.endswith("ed"):
        stems.extend(_unsuffixed(word, "ed"))
    return stems


def _unsuffixed(word: str, suffix: str) -> list[str]:
    """`making` may be of make, `running` of run, `walking` of walk."""
    stem = word[: -len(suffix)]
    found = [stem, stem + "e"]
    if len(stem) > 2 and stem[-1] == stem[-2]:
        found.append(stem[:-1])
    if suffix == "ing" and stem.endswith("y"):
        found.append(stem[:-1] + "ie")
    return found
