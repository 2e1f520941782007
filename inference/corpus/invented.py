"""Names that nobody has had yet.

A model that only ever reads some hundred names knows them by heart, and gives a hero whose name it
has not met one of those. With names made of syllables, of which there are hundreds of thousands,
it has to look where the name stood before.
"""

from __future__ import annotations

import re

from inference.corpus.draws import Draws

# How many of the people have an invented name, of those who could have one of the tables'.
SHARE = 0.4


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_BEGIN = _parts(
    "B Br C Cl D Dr F Fl G Gr H J K L M N P Pr R S Sh Sk St T Th Tr V W Y Z A E I O U Be Da Ma No"
)
_VOWELS = _parts("a a a e e e i i i o o o u ai ee ia oo")
_INSIDE = _parts("b d f g k l l ll m mm n n nn p r r s ss t tt v z lb ld nd rl rn st mb")
_END = {
    "f": _parts("a a a ia ie e elle ette in ine y ola ina etta"),
    "m": _parts("o o us er in en an ek im or as el ian ard"),
    "n": _parts("o a y le ie ick et um in er ow ix up ot"),
}
# What begins like a word that is not for children, and words that are no names.
_REFUSED = re.compile(
    r"An[au]s|Ass|Bo[mn]|Co[ck]|Cum|Da[mi]m|De[mv]|Di[ck]|Fa[gt]|Fuk?|Hit|Kil|Mor[on]|Mur|Na[sz]|"
    r"Nig|Pen|Pis|Puss|Rap|Sat|Se[ksx]|Shi|Slu|Tit|Tur|"
    r"(?:Butter|Corner|Dinner|Hello|Letter|Lover|Never|Other|Over|Sister|Summer|Supper|Under|Water|"
    r"Winner|Winter)$"
)

_ZH = {
    "f": "雨晴悠然若彤语嫣知夏念安清欢晚星沐瑶初蓝芷萱听荷书意云舒采薇映雪如歌月华南乔思远青禾",
    "m": "子轩宇航一鸣远山明川景澄长风云起星野向阳立言怀瑾承泽若谷行舟知远北辰思齐修竹望舒临江",
    "n": "团滚闪乐咪呼噜嘟叮咚球泡糯米豆沙芋圆栗子椒盐麦芽棉花蒲公英松果橡苔露珠星星云朵毛线纽扣",
}
_ZH_BEFORE = "小阿"


def name(draws: Draws, language: str, gender: str) -> str:
    """gender: m, f or n."""
    return _chinese(draws, gender) if language == "zh" else _english(draws, gender)


def _english(draws: Draws, gender: str) -> str:
    while True:
        made = draws.pick(_BEGIN)
        if made[-1] not in "AEIOUaeo":
            made += draws.pick(_VOWELS)
        made += draws.pick(_INSIDE)
        if draws.chance(0.15):
            made += draws.pick("aeio") + draws.pick("bdklmnrt")
        made += draws.pick(_END[gender])
        if len(made) <= 8 and not _REFUSED.match(made):
            return made


def _chinese(draws: Draws, gender: str) -> str:
    letters = _ZH[gender]
    first, second = draws.pick(letters), draws.pick(letters)
    if draws.chance(0.3):
        return draws.pick(_ZH_BEFORE) + first
    return first + second
