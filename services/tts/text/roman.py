"""Roman numerals as ordinals that agree with their noun: "XX ст.", "II світова", "Єлизавета II"."""

import re
from typing import Final

from services.tts.text.numerals import ordinal

# Ukrainians type the Cyrillic look-alikes as often as the Latin letters.
_LOOKALIKES: Final = str.maketrans("ІХСМ", "IXCM")
_VALUES: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_VALID: Final = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")

_CAPITAL: Final = re.compile("[IVXLCDMІХСМ]")
_NUMERAL: Final = r"(?<![\w'.-])([IVXLCDMІХСМ]{1,9})"
_CENTURY: Final = re.compile(
    r"(?:(?<![\w'])([\w']+) )?"
    + _NUMERAL
    + r"(?:[-–—]([IVXLCDMІХСМ]{1,9}))? (ст\.|століттям?|столітті|століттю)"
    r"(?=(\s+[а-яіїєґ]|\s*[,;)])?)"
)
_ENDED: Final = re.compile(_NUMERAL + r"-(?=(?:го|му|й|ої|ій|та|ша|га|тя|те|ше|ту)(?!\w))")
_BEFORE_NOUN: Final = re.compile(_NUMERAL + r" (?=([а-яіїєґА-ЯІЇЄҐ][а-яіїєґ']{2,}))")
_AFTER_NAME: Final = re.compile(
    r"(?<![\w'])([А-ЯІЇЄҐ]?[а-яіїєґ']{3,}) " + r"([IVXІХ]{1,6})(?![\w'-])"
)

_GENITIVE: Final = frozenset(
    [
        "з",
        "із",
        "від",
        "до",
        "кінця",
        "початку",
        "середини",
        "половини",
        "протягом",
        "упродовж",
        "впродовж",
        "наприкінці",
        "напочатку",
        "після",
        "кінці",
        "початок",
        "кінець",
        "чверті",
        "третини",
        "років",
        "подій",
        "історії",
        "літератури",
    ]
)
_LOCATIVE: Final = frozenset(("у", "в"))

_NOUNS: Final = {
    **dict.fromkeys(
        [
            "квартал",
            "том",
            "розділ",
            "клас",
            "курс",
            "етап",
            "тур",
            "з'їзд",
            "ступінь",
            "рівень",
            "корпус",
        ],
        "nom_m",
    ),
    **dict.fromkeys(
        [
            "кварталу",
            "тому",
            "розділу",
            "класу",
            "курсу",
            "етапу",
            "туру",
            "з'їзду",
            "ступеня",
            "рівня",
        ],
        "gen",
    ),
    **dict.fromkeys(
        [
            "кварталі",
            "томі",
            "розділі",
            "класі",
            "курсі",
            "етапі",
            "турі",
            "з'їзді",
            "рівні",
            "місці",
        ],
        "loc",
    ),
    **dict.fromkeys(
        ["група", "категорія", "частина", "половина", "сесія", "серія", "ліга"], "nom_f"
    ),
    **dict.fromkeys(
        ["групи", "категорії", "частини", "половини", "сесії", "серії", "ліги"], "gen_f"
    ),
    **dict.fromkeys(["групі", "частині", "половині", "лізі"], "loc_f"),
    **dict.fromkeys(
        ["групу", "категорію", "частину", "половину", "сесію", "серію", "лігу"], "acc_f"
    ),
    "місце": "nom_n",
    "місця": "gen",
    "тисячоліття": "nom_n",
}
_ADJECTIVES: Final = (
    (r"(?:[внк]ий|ський|цький)$", "nom_m"),
    (r"ого$", "gen"),
    (r"ому$", "loc"),
    (r"(?:[вн]ої|ської|цької)$", "gen_f"),
    (r"(?:[вн]ій|ській|цькій)$", "loc_f"),
    (r"(?:ов|н|ськ|цьк)а$", "nom_f"),
    (r"(?:ов|н|ськ|цьк)у$", "acc_f"),
    (r"(?:ов|н|ськ|цьк)е$", "nom_n"),
)
_ADJECTIVE: Final = tuple((re.compile(ending), form) for ending, form in _ADJECTIVES)

_QUEENS: Final = re.compile(
    r"^(?:Єлизавет|Катерин|Марі|Маргарит|Вікторі|Анн|Ізабелл|Христин)(\w{1,2})$"
)
_KINGS: Final = re.compile(
    r"^(?:Петр|Павл|Микол|Олександр|Іван|Василь?|Людовик|Карл|Генріх|Вільгельм|Фрідріх|Франциск|"
    r"Наполеон|Філіпп|Георг|Едуард|Річард|Яків|Яков|Владислав|Сигізмунд|Казимир|Рамзес|Данил|"
    r"Ярослав|Франц|Йосиф|Бенедикт|Пій|Пі|Климент|Чарльз|Якоб)(\w{0,2})$"
)
_QUEEN_ENDINGS: Final = {
    **dict.fromkeys(("а", "я"), "nom_f"),
    **dict.fromkeys(("и", "ї"), "gen_f"),
    **dict.fromkeys(("у", "ю"), "acc_f"),
    **dict.fromkeys(("і", "йі"), "loc_f"),
    **dict.fromkeys(("ою", "єю"), "ins_f"),
}
_KING_ENDINGS: Final = {
    **dict.fromkeys(("а", "я"), "gen"),
    **dict.fromkeys(("у", "ю", "ві"), "dat"),
    **dict.fromkeys(("ом", "ем"), "ins"),
}
_NOMINATIVE_KINGS: Final = frozenset(("Микола",))


def with_roman_ordinals(text: str) -> str:
    """Returns the text with the Roman numerals in words whose noun says how; others are left."""
    if not _CAPITAL.search(text):
        return text
    text = _CENTURY.sub(_century, text)
    text = _ENDED.sub(_digits, text)
    text = _BEFORE_NOUN.sub(_before_noun, text)
    return _AFTER_NAME.sub(_after_name, text)


def _value(numeral: str) -> int:
    """Returns what a numeral is worth, 0 if it is none ("IIII", "VX")."""
    latin = numeral.translate(_LOOKALIKES)
    if not _VALID.fullmatch(latin):
        return 0
    values = [_VALUES[letter] for letter in latin]
    following = [*values[1:], 0]
    return sum(-a if a < b else a for a, b in zip(values, following, strict=True))


def _century(found: re.Match[str]) -> str:
    before, numeral, until, noun, goes_on = found.groups()
    first, last = _value(numeral), _value(until or "I")
    if not first or not last:
        return found[0]
    form, said = "nom_n", noun
    word = (before or "").lower()
    if noun == "ст.":
        if word in _LOCATIVE:
            form, said = "loc", "столітті"
        else:
            form, said = ("gen" if word in _GENITIVE else "nom_n"), "століття"
        if (goes_on is None and found.string[found.end() :].strip()) or goes_on is None:
            said += "."
    elif noun == "столітті":
        form = "loc"
    elif noun == "століттям":
        form = "ins"
    elif noun == "століттю":
        form = "dat"
    elif word in _GENITIVE:
        form = "gen"
    span = ordinal(first, form) + (f"-{ordinal(last, form)}" if until else "")
    return f"{before + ' ' if before else ''}{span} {said}"


def _digits(found: re.Match[str]) -> str:
    value = _value(found[1])
    return f"{value}-" if value else found[0]


def _before_noun(found: re.Match[str]) -> str:
    numeral, noun = found[1], found[2]
    form = _NOUNS.get(noun.lower()) or next(
        (form for ending, form in _ADJECTIVE if ending.search(noun)), None
    )
    value = _value(numeral)
    # A lone "І" or "С" is a word; it is a numeral only in Latin letters.
    ambiguous = len(numeral) == 1 and (
        numeral in "ІСМХ" or (noun.lower() not in _NOUNS and numeral not in "IVX")
    )
    if form is None or not value or ambiguous:
        return found[0]
    return f"{ordinal(value, form)} "


def _after_name(found: re.Match[str]) -> str:
    name, numeral = found[1], found[2]
    value = _value(numeral)
    form: str | None = None
    if queen := _QUEENS.match(name):
        form = _QUEEN_ENDINGS.get(queen[1])
    elif king := _KINGS.match(name):
        form = "nom_m" if name in _NOMINATIVE_KINGS else _KING_ENDINGS.get(king[1], "nom_m")
    elif name.lower() in _NOUNS:
        form = _NOUNS[name.lower()]
    if form is None or not value or (numeral in "ІХ" and name.lower() in _NOUNS):
        return found[0]
    return f"{name} {ordinal(value, form)}"
