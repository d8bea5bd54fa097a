"""The names that the parser knows: functions, Greek letters, and the English words that are no products of letters."""

from __future__ import annotations

__all__ = ["ENGLISH", "FUNCTIONS", "GREEK", "NUMBER_SETS", "words"]


def words(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


FUNCTIONS = words(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth asin acos atan ln log "
    "lg exp sqrt cbrt abs max min gcd lcm det dim deg arg Re Im floor ceil sgn arctg arcctg cosec arsinh arcosh artanh "
    "arcsinh arccosh arctanh asinh acosh atanh"
)
GREEK = words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar partial "
    "nabla checkmark star bigstar square triangledown spadesuit heartsuit diamondsuit clubsuit"
)
NUMBER_SETS = frozenset("NZQC")
"""Sets of numbers that are names: only the real line has values here."""
ENGLISH = words(
    "is we the so it then that thus has get gets are was if of on there here this have with not yes any all some one "
    "two three four five six seven eight nine ten zero "
    "how many value which what than says said does did can will would may must let you our"
)
"""Short words of prose; as products of letters they would give a sentence a value."""
