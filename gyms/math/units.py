r"""Units of measurement: names, sizes and dimensions, exact; and labels ("pens") that are names alone.

A unit is a factor to the base units and the powers of its dimensions, so 36 km/h and 10 m/s compare as numbers. The
table is what school problems use. A word that is not in it is a label: it has no size, and equals only itself.

Measures in several units ("2 hours and 15 minutes", `5 \text{ ft } 6 \text{ in}`, "3 dollars 20 cents") are one measure
where the units fall, and every later amount is less than one of the unit before: 70 minutes behind an hour are another
measure. With "and" between them only times and money are one: "2 m and 50 cm" may be two lengths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from gyms.math.alphabets import LETTER, changes_number
from gyms.math.tree import Node, num, words

__all__ = [
    "CURRENCIES",
    "Unit",
    "changes_value",
    "currency",
    "known",
    "label",
    "parse_unit",
    "read_compound",
    "scaled",
    "sizes_like",
]


class Unit(NamedTuple):
    """A unit: `factor` base units, with the powers of its dimensions; `label` for a word of unknown size."""

    factor: Fraction
    dimensions: tuple[tuple[str, int], ...]

    @property
    def is_label(self) -> bool:
        """True where the unit is a word of unknown size."""
        return any(name.startswith("label:") for name, _ in self.dimensions)

    def times(self, other: Unit, power: int = 1) -> Unit:
        """This unit times a power of another."""
        powers = dict(self.dimensions)
        for name, exponent in other.dimensions:
            powers[name] = powers.get(name, 0) + power * exponent
        return Unit(
            self.factor * other.factor**power, tuple(sorted((name, power) for name, power in powers.items() if power))
        )


def _table() -> Mapping[str, Unit]:
    table: dict[str, Unit] = {}

    def add(dimensions: Mapping[str, int], sizes: Mapping[str, str | int | Fraction]) -> None:
        for names, factor in sizes.items():
            for name in names.split():
                table[name] = Unit(Fraction(factor), tuple(sorted(dimensions.items())))

    add(
        {"length": 1},
        {
            "m meter meters metre metres": 1, "cm centimeter centimeters centimetre centimetres": "0.01",
            "mm millimeter millimeters millimetre millimetres": "0.001", "dm decimeter decimeters": "0.1",
            "km kms kilometer kilometers kilometre kilometres": 1000, "in inch inches": "0.0254",
            "ft foot feet": "0.3048", "yd yds yard yards": "0.9144", "mi mile miles": "1609.344",
            "nm nanometer nanometers": "1e-9", "um micrometer micrometers micron microns": "1e-6",
        },
    )  # fmt: skip
    add(
        {"mass": 1},
        {
            "kg kgs kilogram kilograms": 1, "g gram grams": "0.001", "mg milligram milligrams": "0.000001",
            "t tonne tonnes metricton": 1000, "ton tons": Fraction("0.45359237") * 2000,
            "longton": Fraction("0.45359237") * 2240, "lb lbs pound pounds": "0.45359237",
            "oz ounce ounces": Fraction("0.45359237") / 16,
        },
    )  # fmt: skip
    add(
        {"time": 1},
        {
            "s sec secs second seconds": 1, "ms millisecond milliseconds": "0.001", "min mins minute minutes": 60,
            "h hr hrs hour hours": 3600, "day days": 86400, "week weeks": 604800,
        },
    )  # fmt: skip
    add({"month": 1}, {"month months": 1, "yr yrs year years": 12, "decade decades": 120, "century centuries": 1200})
    add(
        {"length": 3},
        {
            "L l liter liters litre litres": "0.001", "mL ml milliliter milliliters millilitre millilitres": "0.000001",
            "cc": "0.000001", "gallon gallons gal": "0.003785411784", "quart quarts qt": "0.000946352946",
            "pint pints": "0.000473176473", "cup cups": "0.0002365882365",
        },
    )  # fmt: skip
    add({"length": 2}, {"acre acres": "4046.8564224", "hectare hectares ha": 10000})
    add({"length": 1, "time": -1}, {"mph": Fraction("0.44704"), "kph kmph": Fraction(1000, 3600)})
    add({"mass": 1, "length": 1, "time": -2}, {"N newton newtons": 1})
    add({"mass": 1, "length": 2, "time": -2}, {"J joule joules": 1, "kJ kilojoule kilojoules": 1000})
    add({"mass": 1, "length": 2, "time": -3}, {"W watt watts": 1, "kW kilowatt kilowatts": 1000})
    add({"mass": 1, "length": -1, "time": -2}, {"Pa pascal pascals": 1, "kPa": 1000})
    add({"time": -1}, {"Hz hertz": 1, "kHz": 1000, "MHz": 1000000})
    add({"data": 1}, {"byte bytes": 1, "kB KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12})
    add({"volt": 1}, {"V volt volts": 1})
    add({"ampere": 1}, {"A ampere amperes amp amps": 1})
    add({"ohm": 1}, {"ohm ohms": 1})
    add({"kelvin": 1}, {"K kelvin kelvins": 1})
    add({"celsius": 1}, {"degC celsius": 1})
    add({"fahrenheit": 1}, {"degF fahrenheit": 1})
    add({"mole": 1}, {"mol mole moles": 1})
    add({"angle": 1}, {"deg degs degree degrees": 1})
    add({"radian": 1}, {"rad rads radian radians": 1})
    add({"dollar": 1}, {"dollar dollars usd USD buck bucks": 1, "cent cents penny pennies": "0.01"})
    add({"euro": 1}, {"euro euros eur EUR": 1})
    add({"gbp": 1}, {"gbp GBP pence": 1})
    add({"yen": 1}, {"yen JPY": 1})
    add({"yuan": 1}, {"yuan RMB CNY": 1})
    add({"unit": 1}, {"unit units": 1})
    add({"am": 1}, {"am AM": 1})
    add({"pm": 1}, {"pm PM": 1})
    add({"rupee": 1}, {"rupee rupees INR": 1})
    for names in ("won KRW", "ruble rubles RUB", "lira liras TRY", "peso pesos MXN"):
        add({names.split()[0]: 1}, {names: 1})
    table["pence"] = Unit(Fraction(1, 100), (("gbp", 1),))
    return table


_TABLE = _table()
_SINGLE_LETTER = frozenset(name for name in _TABLE if len(name) == 1)
CURRENCIES = {"dollar": "dollar", "euro": "euro", "pound": "gbp", "yen": "yen", "rupee": "rupee"} | {
    name: name for name in ("won", "ruble", "lira", "peso")
}
_NOT_LABELS = words(
    "and or not to than from plus minus over double twice triple thrice quadruple half halves quarter quarters squared "
    "cubed root roots power powers exponent factorial negative positive percent dozen dozens gross lakh lakhs crore "
    "crores if when where for but nor either neither is are was were equals mod modulo choose below above about "
    "approximately around roughly nearly almost maybe perhaps possibly probably likely unlikely guess no nope never "
    "cannot except unless without most least between wrong incorrect false untrue"
)
_NUMBER_WORD = re.compile(
    r"(?:(?:one|two|three|four|five|six|seven|eight|nine|zero|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundred|thousand|\w*illion|(?:thir|four|fif|six|seven|eigh|nine)(?:teen|ty))(?:s|es|th|ths)?"
    r"|first|third|fif|eigh|nin|twelf)(?:s|th|ths)?|(?:twen|thir|for|fif|six|seven|eigh|nine)t(?:y|ies|ieth|ieths)"
)
"""Words that are numbers or shares: "18 tens" is 180 and "5 sixths" is 5/6; neither is a label's noun."""
_SCALES = words(
    "dozen dozens gross half halves quarter quarters lakh lakhs crore crores percent squared cubed factorial"
)
_OWN_SCALES = words("percent")
_NEXT_WORD = re.compile(rf"[ -]?(?:and an? )?([{LETTER}]+)")
_FILLERS = words("more extra additional other different whole full total separate distinct complete new fewer less")
"""Words before a unit that do not change what is counted."""
_TAIL_FILLERS = words("each left remaining altogether overall more fewer less extra ago later apart away total")
"""Words behind a unit that do not."""
_TAIL_PHRASES = re.compile(r"[ ]+(?:in[ ]total|in[ ]all|per[ ]person|left[ ]over|as[ ]much|as[ ]many)[ .]*$")
_TON = re.compile(r"\b(metric|US|U\.S\.|short|long)[ -]+tons?\b", re.I)
_TEMPERATURE = re.compile(r"\bdeg(?:ree)?s?[ ]+(?:(C)(?:elsius)?|(F)(?:ahrenheit)?)\b", re.I)
_ONE = Unit(Fraction(1), ())
_PIECE = re.compile(rf"([{LETTER}]+)|(\^)\s*\{{?\s*(-?\s*\d)\s*\}}?|([/*]|\\cdot|\\times)|(\s+|-|\.)")
_PREFIX_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_SUFFIX_POWERS = {"squared": 2, "cubed": 3}
MAX_LABEL_WORDS = 4


def known(name: str) -> bool:
    """True for the name of a unit of more than one letter."""
    return name in _TABLE and name not in _SINGLE_LETTER


def sizes_like(unit: Unit) -> frozenset[Fraction]:
    """The factors of the units of a unit's dimensions."""
    return frozenset(other.factor for other in _TABLE.values() if other.dimensions == unit.dimensions)


def currency(command: str) -> Unit:
    """The unit of a currency sign, by the name of its command without backslash."""
    return Unit(Fraction(1), ((CURRENCIES[command], 1),))


def label(words: list[str]) -> Unit | None:
    """A label of some plain words, singular and plural alike; None where a word would change the value."""
    names = [word.casefold() for word in words]
    nouns = [name for place, name in enumerate(names) if name != "and" or place in (0, len(names) - 1)]
    is_variable = any(len(name) < 2 and name.isascii() for name in nouns)
    if not 0 < len(names) <= MAX_LABEL_WORDS or is_variable or any(map(changes_value, nouns)):
        return None
    singular = " ".join(name[:-1] if name.endswith("s") and not name.endswith("ss") else name for name in names)
    return Unit(Fraction(1), ((f"label:{singular}", 1),))


def changes_value(word: str) -> bool:
    """True for a word in lower case that makes another value of the number before it, or doubts it: no unit's noun."""
    return word in _NOT_LABELS or _NUMBER_WORD.fullmatch(word) is not None or changes_number(word)


def _is_number_word(word: str) -> bool:
    """True for a word in lower case that is a number, a share or a scale: seven, sixths, hundred, dozen, half."""
    return _NUMBER_WORD.fullmatch(word) is not None or word in _SCALES or changes_number(word)


def scaled(text: str, place: int) -> bool:
    """True where the words at a place of a text make another number of the one that ends there: tens, and a half."""
    word = _NEXT_WORD.match(text, place)
    return word is not None and _is_number_word(word[1].casefold()) and word[1].casefold() not in _OWN_SCALES


def parse_unit(text: str) -> Unit | None:
    """The unit that a text such as `km/h`, `cm^{2}`, `square feet`, `meters per second` or `pens` names, or None.

    Dividing words change the dimension: `m/s/s`, `per`. "5 dollars left" and "5 more dollars" are dollars. Digits other
    than exponents are not units.
    """
    text = _TAIL_PHRASES.sub("", _TEMPERATURE.sub(_temperature, _TON.sub(_ton, f" {text.strip()}")))
    pieces = _without_fillers(_pieces(text))
    if not pieces:
        return None
    unit = _from_table(pieces)
    if unit is not None:
        return unit
    if "/" in pieces[1:-1]:
        place = pieces.index("/")
        above, below = (_from_table(part) or _label_of(part) for part in (pieces[:place], pieces[place + 1 :]))
        if above is None or below is None:
            return None
        unit = above.times(below, -1)
        return unit if unit.dimensions else _label_of(["per" if piece == "/" else piece for piece in pieces])
    return _label_of(pieces)


def _label_of(pieces: list[str]) -> Unit | None:
    """The label that the pieces name; one of another language may be squared or cubed, for it may be a unit's."""
    if pieces[1:] in (["^2"], ["^3"]) and not pieces[0].isascii() and label(pieces[:1]) is not None:
        return label(["".join(pieces)])
    return label(pieces) if all(piece.isalpha() for piece in pieces) else None


def _without_fillers(pieces: list[str]) -> list[str]:
    """The pieces without words that leave the unit what it is, as long as one is left."""
    while len(pieces) > 1 and pieces[-1].lower() in _TAIL_FILLERS:
        pieces = pieces[:-1]
    while len(pieces) > 1 and pieces[0].lower() in _FILLERS:
        pieces = pieces[1:]
    return pieces


def _ton(match: re.Match[str]) -> str:
    return {"metric": "metricton", "long": "longton"}.get(match[1].lower(), "ton")


def _temperature(match: re.Match[str]) -> str:
    return "degC" if match[1] else "degF"


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    place = 0
    text = text.strip()
    while place < len(text):
        match = _PIECE.match(text, place)
        if match is None:
            return []
        word, caret, power, operator, _ = match.groups()
        if word:
            is_rate = word == "per" or (
                word in ("a", "an") and pieces and pieces[-1].isalpha() and place + 2 < len(text)
            )
            pieces.append("/" if is_rate else word)
        elif caret:
            pieces.append("^" + "".join(power.split()))
        elif operator:
            pieces.append("/" if operator == "/" else "*")
        place = match.end()
    return pieces


def _from_table(pieces: list[str]) -> Unit | None:
    unit, sign, prefix = _ONE, 1, 1
    last: Unit | None = None
    for piece in pieces:
        if piece in ("/", "*"):
            if last is None and unit != _ONE:
                return None
            sign, last = (-1 if piece == "/" else 1), None
        elif piece.startswith("^") or piece.lower() in _SUFFIX_POWERS:
            if last is None:
                return None
            power = int(piece[1:]) if piece.startswith("^") else _SUFFIX_POWERS[piece.lower()]
            unit, last = unit.times(last, sign * (power - 1)), None
        elif piece.lower() in _PREFIX_POWERS:
            prefix = _PREFIX_POWERS[piece.lower()]
        else:
            found = _TABLE.get(piece) or _TABLE.get(piece.lower())
            if found is None:
                return None
            last = found.times(found, prefix - 1)
            unit, prefix = unit.times(last, sign), 1
    return unit if unit.dimensions else None


# --- measures in several units

_PART = r"(\d{1,12}(?:\.\d{1,6})?)[ ]*(?:\\text[ ]*\{[ ]*)?([A-Za-z]{2,12}|[hs])[ ]*\}?"
_AND = r"[ ]*(and[ ]+|\\text[ ]*\{[ ]*and[ ]*\}[ ]*)?"
_COMPOUND = re.compile(rf"{_PART}{_AND}{_PART}(?:{_AND}{_PART})?")
_ANGLE = re.compile(
    r"(\d{1,6})[ ]*\\deg[ ]*(\d{1,2}(?:\.\d{1,6})?)[ ]*(?:'|\^[ ]*\{?[ ]*\\prime[ ]*\}?)"
    r"(?:[ ]*(\d{1,2}(?:\.\d{1,6})?)[ ]*(?:''|\"|\^[ ]*\{?[ ]*\\prime[ ]*\\prime[ ]*\}?))?"
)
"""Degrees, minutes and seconds."""
_MONEY = frozenset(["dollar", "euro", "gbp"])
_JOINED = _MONEY | {"time"}


def read_compound(plain: str) -> Node | None:
    """The quantity in the smallest of its units, money in the largest, or None where the text is no such measure.

    The unit tells where the other side has none: 90 for an hour and a half in minutes, but 2.5 for $2 and 50 cents.
    """
    angle = _ANGLE.fullmatch(plain) if "\\deg" in plain else None
    if angle is not None:
        parts = [Fraction(part or 0) for part in angle.groups()]
        is_part = parts[1] < 60 and parts[2] < 60
        total = parts[0] + parts[1] / 60 + parts[2] / 3600
        return Node("quantity", (num(total),), parse_unit("degrees")) if is_part else None
    match = _COMPOUND.fullmatch(plain)
    if match is None:
        return None
    amounts = [Fraction(text) for text in (match[1], match[4], match[7]) if text]
    names = [name for name in (match[2], match[5], match[8]) if name]
    found = [parse_unit(name) for name in names if known(name) or name in ("h", "s")]
    units = [unit for unit in found if unit is not None]
    if len(units) < len(names) or len({unit.dimensions for unit in units}) != 1:
        return None
    if (match[3] or match[6]) and units[0].dimensions[0][0] not in _JOINED:
        return None
    parts = list(zip(amounts, units, strict=True))
    if any(amount * unit.factor >= before.factor for (_, before), (amount, unit) in pairwise(parts)):
        return None
    told = units[0] if units[0].dimensions[0][0] in _MONEY else units[-1]
    total = sum((amount * unit.factor for amount, unit in parts), Fraction(0)) / told.factor
    return Node("quantity", (num(total),), told)
