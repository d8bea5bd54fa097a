"""Small closed lists of English words and names that checkers need: facts of grammar and geography, not data files."""

from __future__ import annotations

__all__ = [
    "AFRICAN_COUNTRIES",
    "CONJUNCTIONS",
    "EUROPEAN_CAPITALS",
    "MINOR_TITLE_WORDS",
    "PERSON_NAMES",
    "PRONOUNS",
    "STOP_WORDS",
    "split_words",
    "word_set",
]


def split_words(text: str) -> list[str]:
    """Words of a list that is written as running text."""
    return text.split()


def word_set(text: str) -> frozenset[str]:
    """The words of such a list."""
    return frozenset(split_words(text))


STOP_WORDS = word_set("""
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
    it its itself they them their theirs themselves what which who whom this that these those am is are was were be
    been being have has had having do does did doing a an the and but if or because as until while of at by for with
    about against between into through during before after above below to from up down in out on off over under
    again further then once here there when where why how all any both each few more most other some such no nor not
    only own same so than too very s t can will just don should now d ll m o re ve y ain aren couldn didn doesn hadn
    hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn
    """)
"""The closed-class words that text retrieval leaves out, split at apostrophes."""

PRONOUNS = word_set("""
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves
    """)
CONJUNCTIONS = word_set("for and nor but or yet so")
"""The seven coordinating conjunctions."""

MINOR_TITLE_WORDS = word_set("""
    a an the and but or nor for so yet as at by in of off on per to up via with from into onto over than if is vs
    about upon
    """)
"""Articles, conjunctions and short prepositions: they may stay lower-case in a title."""

PERSON_NAMES = word_set("""
    Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia Benjamin
    Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett Nathan Victoria
    Elijah Layla Nicholas Audrey David Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella
    Jonathan
    """)
"""The names that the instruction of `count:person_names` offers."""

EUROPEAN_CAPITALS = tuple(
    split_words("""
    Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin Berlin Amsterdam Warsaw
    London Brussels Kyiv Prague Luxembourg Paris Vienna Bratislava Budapest Vaduz Chisinau Bern Ljubljana Zagreb
    """)
)
"""Capitals above 45 degrees north, from north to south."""

_COUNTRIES = """
    algeria, angola, benin, botswana, burkina faso, burundi, cabo verde, cape verde, cameroon, central african
    republic, chad, comoros, congo, republic of the congo, democratic republic of the congo, congo democratic
    republic of the, congo republic of the, democratic republic of congo, republic of congo, cote divoire, ivory
    coast, djibouti, egypt, equatorial guinea, eritrea, eswatini, swaziland, ethiopia, gabon, gambia, the gambia,
    ghana, guinea, guinea bissau, guineabissau, kenya, lesotho, liberia, libya, madagascar, malawi, mali,
    mauritania, mauritius, morocco, mozambique, namibia, niger, nigeria, rwanda, sao tome and principe, senegal,
    seychelles, sierra leone, somalia, south africa, south sudan, sudan, tanzania, togo, tunisia, uganda, zambia,
    zimbabwe, western sahara, congo brazzaville, congo kinshasa, dr congo
    """
AFRICAN_COUNTRIES = frozenset(" ".join(split_words(name)) for name in _COUNTRIES.split(","))
"""Names and usual variants, lower-case, without accents and punctuation."""
