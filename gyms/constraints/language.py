"""In which language a response is written: a seeded detector, and what to do when it cannot tell.

langdetect draws random numbers; here each call gets a detector of its own with a fixed seed, so that a text has one
answer, in every thread. The detector is confused by capitals, so it is asked about the lower-cased text. It is often
wrong about a single sentence ("La mer est calme" is Catalan to it), so a short text may also prove itself by its small
words: articles, pronouns, forms of "to be" and greetings name a language in four words, and so do letters that its
neighbours lack. small_words.txt has both, a line for each language that its script alone does not prove. A text that
nothing can be said about (digits, emoji, one word) fails: an undecided check must not pay.

"Entire response" means entire: a long passage in another language fails, wherever it stands. At most `MAX_PASSAGES`
passages are looked at, evenly spaced, so that the time is bounded.
"""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from gyms.constraints.wordlists import STOP_WORDS, split_words, word_set

__all__ = ["LANGUAGES", "is_english", "is_language", "small_words"]

LANGUAGES = word_set("""
    af ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr ne nl no pa pl pt
    ro ru sk sl so sq sv sw ta te th tl tr uk ur vi zh zh-cn zh-tw
    """)
"""Codes that the detector knows, and `zh` for both ways of writing Chinese."""

MAX_CHARS = 20_000
"""Most characters that are given to the detector at once."""
MAX_PASSAGES = 24
MIN_LETTERS = 6
"""Fewer letters than this in a text decide nothing (Chinese and its like: a third of it)."""
PASSAGE_LETTERS = 80
"""Least letters of a passage that is judged by itself; a text of fewer may be told by its small words."""
MAX_PASSAGE_CHARS = 2_000
"""Most characters of a passage that are looked at."""

_SCRIPTS: dict[str, str] = {
    "ar": "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff",
    "bn": "\u0980-\u09ff",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "gu": "\u0a80-\u0aff",
    "he": "\u0590-\u05ff",
    "hi": "\u0900-\u097f",
    "ja": "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u3005\uff66-\uff9f",
    "kn": "\u0c80-\u0cff",
    "ko": "\uac00-\ud7af\u1100-\u11ff\u3130-\u318f",
    "ml": "\u0d00-\u0d7f",
    "pa": "\u0a00-\u0a7f",
    "ru": "\u0400-\u04ff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "th": "\u0e00-\u0e7f",
    "zh": "\u3400-\u4dbf\u4e00-\u9fff",
}
_SAME_SCRIPT = {"fa": "ar", "ur": "ar", "mr": "hi", "ne": "hi", "bg": "ru", "mk": "ru", "uk": "ru"}
_LATIN_RANGE = "A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff"
_UNIQUE_SCRIPTS = word_set("bn el gu he kn ko ml pa ta te th")
"""Languages that their script alone proves."""
_DENSE = word_set("bn gu hi ja kn ko ml mr ne pa ta te th zh")
"""Languages that write a word in two or three letters, vowel signs not counted."""
_KIN = [set(split_words(kin)) for kin in ("da no sv", "es ca pt", "hr sl sk cs", "bg mk ru uk", "hi mr ne", "ar fa ur")]
_KIN += [{"id", "tl"}, {"af", "nl"}]
"""Close languages, between which the detector often errs on single passages."""
_KANA = re.compile("[\u3040-\u30ff]")
"""What a Japanese sentence hardly does without."""
_LETTER = re.compile(r"[^\W\d_]")
_PASSAGE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f\u0964])\s+|\n+")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_MIN_SHARE_IN_SCRIPT = 0.8
_SURE = 0.6
"""Least probability of a detector's choice that counts by itself."""
_LIKELY = 0.2
"""Least probability that speaks for a language with a small word beside it."""
_MIN_STOP_SHARE = 0.2
_BREAK = re.compile("[\\s.,;:!?\u00a1\u00bf\u060c\u061f\u0964'\"\u2019\u2018\u201c\u201d\u00ab\u00bb()-]+")
"""What stands between words; not `\\W`, to which the vowel signs of Indian scripts belong."""

_start = threading.Lock()


@lru_cache(maxsize=1)
def _factory() -> Any:
    from langdetect import detector_factory  # 30 MB of profiles: loaded where a language is asked for

    factory = detector_factory.DetectorFactory()
    factory.load_profile(detector_factory.PROFILES_DIRECTORY)
    factory.set_seed(0)
    return factory


@lru_cache(maxsize=256)
def _probabilities(text: str) -> tuple[tuple[str, float], ...]:
    """Language and probability, best first; empty where the text holds nothing to go by."""
    from langdetect.lang_detect_exception import LangDetectException

    with _start:
        factory = _factory()
    detector = factory.create()
    detector.append(text[:MAX_CHARS])
    try:
        return tuple((found.lang, found.prob) for found in detector.get_probabilities())
    except LangDetectException:
        return ()


def is_language(text: str, language: str) -> bool:
    """True where the whole text is in this language: the right script, the detector's choice, no foreign passage."""
    wanted = language.lower()
    text = re.sub(r"https?://\S+", " ", text[: 50 * MAX_CHARS])
    letters = _LETTER.findall(text)
    script = _in_script(letters, wanted)
    num_needed = 2 if wanted.partition("-")[0] in _DENSE else MIN_LETTERS
    if len(letters) < num_needed or script < _MIN_SHARE_IN_SCRIPT * len(letters):
        return False
    if wanted == "en" and _reads_as_english(text):
        return not _has_foreign_passage(text, wanted)
    if wanted not in _UNIQUE_SCRIPTS and not _is_detected(text.lower(), wanted):
        return False
    return not _has_foreign_passage(text, wanted)


def is_english(text: str) -> bool:
    """True where the whole text is English, in whatever case."""
    return is_language(text, "en")


def _in_script(letters: list[str], language: str) -> int:
    base = language.partition("-")[0]
    ranges = _SCRIPTS.get(_SAME_SCRIPT.get(base, base), _LATIN_RANGE)
    inside = re.compile(f"[{ranges}]")
    return len(inside.findall("".join(letters)))


def _is_detected(text: str, language: str) -> bool:
    found = _probabilities(text[:MAX_CHARS])
    if found and _matches(found[0][0], language) and found[0][1] >= _SURE:
        return True
    if sum(map(str.isalpha, text[:MAX_CHARS])) >= PASSAGE_LETTERS:
        return False
    if language.startswith("zh"):
        return _KANA.search(text) is None
    return _is_told(text, language, dict(found))


def _is_told(text: str, language: str, guesses: dict[str, float]) -> bool:
    """Whether the small words of a short text speak for this language, and for no other one more.

    Two of them do by themselves; one where the detector thinks the language or a close one likely, or where no other
    language has any. Between languages for which as many speak, the detector decides; close ones pass for each other.
    """
    counts = small_words(text)
    count = counts.get(language, 0)
    if not count or count < max(counts.values()):
        return False
    kin = _kin(language)
    likely = sum(guesses.get(near, 0.0) for near in kin)
    rivals = [other for other, number in counts.items() if number == count and other not in kin]
    if any(guesses.get(other, 0.0) > likely for other in rivals):
        return False
    return likely >= _LIKELY or count >= 2 or len(counts) == 1


def _kin(language: str) -> set[str]:
    """The language and those close to it."""
    return {language}.union(*(group for group in _KIN if language in group))


@lru_cache(maxsize=1)
def _small_words() -> dict[str, tuple[frozenset[str], str]]:
    """Language -> (small words, letters)."""
    found = {}
    for line in Path(__file__).with_name("small_words.txt").read_text(encoding="utf-8").splitlines():
        language, _, rest = line.partition(": ")
        words, _, letters = rest.partition(" | ")
        found[language] = (word_set(words), letters)
    return found


def small_words(text: str) -> dict[str, int]:
    """Language -> how many of its small words (each once), and whether any of its letters, stand in a text.

    Languages that nothing speaks for are left out.
    """
    low = text.lower()
    given = set(_BREAK.split(low))
    counts = {
        language: len(given & words) + any(letter in low for letter in letters)
        for language, (words, letters) in _small_words().items()
    }
    return {language: count for language, count in counts.items() if count}


def _matches(found: str, language: str) -> bool:
    return found == language or (language == "zh" and found.startswith("zh"))


def _reads_as_english(text: str) -> bool:
    """Function words of English make up a fifth of the words: enough for one short sentence."""
    words = _WORD.findall(text[:MAX_CHARS].lower())
    hits = [word for word in words if (word in STOP_WORDS and len(word) > 1) or word in ("a", "i")]
    return len(words) >= 3 and len(set(hits)) >= 2 and len(hits) >= _MIN_STOP_SHARE * len(words)


def _has_foreign_passage(text: str, language: str) -> bool:
    passages = _passages(text)
    for passage in passages:
        letters = _LETTER.findall(passage)
        if _in_script(letters, language) < 0.5 * len(letters):
            return True
        if language in _UNIQUE_SCRIPTS or (language == "en" and _reads_as_english(passage)):
            continue
        found = _probabilities(passage.lower()[:MAX_CHARS])
        if found and found[0][1] >= 0.95 and not any(_matches(found[0][0], near) for near in _kin(language)):
            return True
    return False


def _passages(text: str) -> list[str]:
    """Runs of sentences or lines with enough letters to be judged; evenly chosen where there are many.

    Each part is counted once, and one without a letter is left out: a column of numbers must neither cost time nor push
    the words behind it out of the characters that are looked at.
    """
    found: list[str] = []
    run: list[str] = []
    num_letters = 0
    for part in _PASSAGE_END.split(text):
        in_part = sum(map(str.isalpha, part))
        if in_part == 0:
            continue
        run.append(part)
        num_letters += in_part
        if num_letters >= PASSAGE_LETTERS:
            found.append(" ".join(run)[:MAX_PASSAGE_CHARS])
            run, num_letters = [], 0
    if len(found) <= MAX_PASSAGES:
        return found
    return [found[i * len(found) // MAX_PASSAGES] for i in range(MAX_PASSAGES)]
