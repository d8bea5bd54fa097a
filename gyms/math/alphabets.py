"""Words behind a number in other languages: which letters they may have, and which of them change the number.

`18个`, `18 яблок`, `18 사과` and `18 élèves` count things, as "18 apples" does. `18万`, `18 тысяч` and `18 Millionen`
are other numbers, and `18以上` ("or more") is none: such words stand here, beside the English ones of `units`. Those of
Chinese and Japanese are looked for within others, since nothing stands between them; the rest are words or stems.

Left out: alphabets without such a list (Greek, Arabic, Hebrew, Thai, those of India). A unit in them is not read, so
that no word for a million passes for one.
"""

from __future__ import annotations

import re

__all__ = ["LETTER", "changes_number"]

LETTER = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"  # Latin
    "\u0400-\u0481\u048a-\u052f"  # Cyrillic
    "\u3005\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"  # kana, Han, Hangul
)
"""Letters of words, as the inside of a class of a regular expression."""
_LATIN = (
    r"(?:m|b|tr|quadr)ill?ion(?!air)\w* mill?(?:iard|ier|ioan|ió|yo|ya|joe|jo|ja|h[ãõ]|on)\w* mille mil mln mld mrd "
    r"mio tys\w* tis[ií]c\w* tausend\w* tusen duizend hundert\w* cien(?:to)?s? cent(?:aines?)? dutzend\w* douzaines? "
    r"docenas? d[úu]zias? triệu nghìn ngàn t[ỷỉ] nửa rưỡi pro[zc]ent\w* oder ou nicht"
)
_CYRILLIC = (
    "тыс тис хил млн млрд трлн миллион миллиард мільй мільяр мили трилл биль сотен сотн сто$ десят дюжин пол$ полов "
    "полтор четверт трет (?:втор|пят|шест|седьм|восьм|девят)(?:ых|ая|ой)$ процент квадрат(?!н) куб(?!и) степен корен "
    "корн не$ нет$ или$ ни$ без$ около пример прибл больш меньш боле[ей] мене[ей] почти минус плюс ноль нул отриц чем$ "
    "[абхуик]{1,2}$"  # variables, "and", and thousands
)
_HAN_AND_KANA = (
    "[一二三四五六七八九十百万萬亿億兆零〇半几幾多余餘又以不非没沒或约約吗嗎呢] 千(?![克米瓦卡]) 分[之の] "
    "^[的の成折割打] (?:平方|立方)(?![厘分毫千公英米尺里寸码]) 左右 上下 前後 未満 未满 乗 ダース または ほど "
    "[くぐ]らい か$"
)
_HANGUL = (
    "^(?:만(?!두)|천|백|십|억|조(?!각)|반(?!지)) [백천]만 이상 이하 미만 초과 정도 쯤 또는 다스 "
    "제곱(?!미터|센티|킬로|밀리) 분의"
)
_CHANGES = re.compile(
    "|".join(
        [
            *(f"^{word}$" for word in _LATIN.split()),
            *(f"^{stem}" for stem in _CYRILLIC.split()),
            *_HAN_AND_KANA.split(),
            *_HANGUL.split(),
        ]
    )
)


def changes_number(word: str) -> bool:
    """True for a word in lower case that makes another number of the one before it, or doubts it.

    Example:
        changes_number("万元") and not changes_number("元")
    """
    return _CHANGES.search(word) is not None
