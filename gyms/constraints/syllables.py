"""How many syllables a word has: syllapy's dictionary, and groups of vowels where it knows nothing."""

from __future__ import annotations

import re
from functools import lru_cache

from gyms.constraints.text import without_accents

__all__ = ["num_syllables", "num_syllables_upstream"]

MAX_WORD = 60
_VOWEL_GROUP = re.compile(r"[aeiouy]+")


@lru_cache(maxsize=8192)
def num_syllables_upstream(word: str) -> int:
    """syllapy's count; 0 for what holds a digit."""
    import syllapy  # its dictionary is loaded at import

    return int(syllapy.count(word[:MAX_WORD])) if word else 0


def num_syllables(word: str) -> int:
    """Syllables of a lower-case word, at least 1 for what has letters; 0 for what has none."""
    plain = without_accents(word.lower())
    if not re.search(r"[a-z]", plain):
        return 0
    known = num_syllables_upstream(plain)
    return known or max(1, len(_VOWEL_GROUP.findall(plain.removesuffix("e"))))
