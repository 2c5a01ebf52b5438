"""What people write short and say in full: abbreviations, acronyms, names in Latin letters.

Holds only what `ukrainian-tn` does not know or says in the wrong case; everything here is checked
by the rows of `text_cases.tsv`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

LATIN: Final[Mapping[str, str]] = {
    "apple": "епл",
    "backend": "бекенд",
    "bitcoin": "біткоїн",
    "bluetooth": "блютуз",
    "bye": "бай",
    "chatgpt": "чат джі пі ті",
    "chrome": "хром",
    "claude": "клод",
    "cloud": "клауд",
    "code": "код",
    "commit": "коміт",
    "covid": "ковід",
    "css": "сі ес ес",
    "dnipro": "дніпро",
    "email": "імейл",
    "etc": "і так далі",
    "ethereum": "етеріум",
    "europe": "європа",
    "excel": "ексель",
    "fifa": "фіфа",
    "file": "файл",
    "frontend": "фронтенд",
    "gemini": "джеміні",
    "git": "гіт",
    "google": "гугл",
    "hello": "гелоу",
    "home": "хоум",
    "house": "хаус",
    "image": "імедж",
    "issue": "іш'ю",
    "json": "джейсон",
    "kharkiv": "харків",
    "kyiv": "київ",
    "kubernetes": "кубернетес",
    "learning": "лернінг",
    "lviv": "львів",
    "machine": "машин",
    "my": "май",
    "name": "нейм",
    "main": "мейн",
    "morning": "морнінг",
    "mysql": "май ес кю ел",
    "nasa": "наса",
    "nato": "нато",
    "new": "нью",
    "node": "ноуд",
    "js": "джей ес",
    "npm": "ен пі ем",
    "odesa": "одеса",
    "openai": "оупен ей ай",
    "photoshop": "фотошоп",
    "please": "пліз",
    "postgresql": "постгрес кю ел",
    "powerpoint": "павер поінт",
    "pull": "пул",
    "pytorch": "пайторч",
    "ram": "рам",
    "react": "реакт",
    "request": "реквест",
    "rust": "раст",
    "shevchenko": "шевченко",
    "skype": "скайп",
    "slack": "слек",
    "sorry": "сорі",
    "sql": "ес кю ел",
    "team": "тім",
    "test": "тест",
    "text": "текст",
    "thank": "сенк",
    "thanks": "сенкс",
    "the": "зе",
    "typescript": "тайпскрипт",
    "uefa": "уєфа",
    "ukraine": "юкрейн",
    "unesco": "юнеско",
    "unicef": "юнісеф",
    "user": "юзер",
    "visa": "віза",
    "vs": "проти",
    "welcome": "велкам",
    "wifi": "вай-фай",
    "windows": "віндовс",
    "world": "ворлд",
    "yaml": "ямл",
    "york": "йорк",
    "you": "ю",
    "x": "ікс",
    "y": "ігрек",
    "z": "зет",
}
"""Readings that `ukrainian-tn` takes before its own; the keys are lower-case single ASCII words."""

_LETTER_NAMES: Final = dict(
    zip(
        "АБВГҐДЕЄЖЗИІЇЙКЛМНОПРСТУФХЦЧШЩЬЮЯ",
        [
            "а",
            "бе",
            "ве",
            "ге",
            "ґе",
            "де",
            "е",
            "є",
            "же",
            "зе",
            "и",
            "і",
            "ї",
            "йот",
            "ка",
            "ел",
            "ем",
            "ен",
            "о",
            "пе",
            "ер",
            "ес",
            "те",
            "у",
            "еф",
            "ха",
            "це",
            "че",
            "ша",
            "ща",
            "ь",
            "ю",
            "я",
        ],
        strict=True,
    )
)

# Acronyms with a vowel that are nevertheless spelled. Those with none always are, and the others
# (НАТО, ОБСЄ, ЖЕК, США) are said as a word. None is expanded: "у СБУ" would become "у служба".
_SPELLED: Final = frozenset(
    [
        "ЗСУ",
        "СБУ",
        "НБУ",
        "МВС",
        "ЄС",
        "АЗС",
        "АТС",
        "АЕС",
        "ОДА",
        "ОВА",
        "НАБУ",
        "САП",
        "ВАКС",
        "ДСНС",
        "УПЦ",
        "ПЦУ",
        "УНР",
        "КНУ",
        "ЛНУ",
        "НАН",
        "ТСК",
        "ВЛК",
        "АК",
        "СІЗО",
        "ФРГ",
        "ОАЕ",
        "УЗ",
        "ІПН",
        "ЄСВ",
        "ЄДРПОУ",
        "ЦНАП",
        "ДСА",
        "ОТГ",
        "УЄФА",
        "ФІФА",
    ]
) - frozenset(["ОДА", "ОВА", "НАБУ", "САП", "ВАКС", "СІЗО", "НАН", "ЦНАП", "УЄФА", "ФІФА"])
_ACRONYM_READINGS: Final = {"ІТ": "ай ті", "ООН": "о о ен", "ЄДРПОУ": "єдерпоу", "США": "сша"}
_ACRONYM: Final = re.compile(r"(?<![\w'+.-])(?<!\d )[А-ЯІЇЄҐ]{2,6}(?![\w'+])")
_VOWEL: Final = re.compile("[АЕЄИІЇОУЮЯ]")
_SMALL: Final = re.compile("[а-яіїєґ]")

_CAPITAL: Final = "(?-i:[А-ЯІЇЄҐ])"

_TO_GENITIVE: Final = (
    "від|до|з|із|зі|біля|коло|близько|після|для|без|поблизу|навпроти|щодо|згідно з"
)
_TO_LOCATIVE: Final = "у|в|на|по|при"

# abbreviation, nominative, genitive, locative, what must follow
_PLACED: Final = (
    ("м", "місто", "міста", "місті", _CAPITAL),
    ("с", "село", "села", "селі", _CAPITAL),
    ("смт", "селище", "селища", "селищі", _CAPITAL),
    ("р", "річка", "річки", "річці", _CAPITAL),
    ("оз", "озеро", "озера", "озері", _CAPITAL),
    ("вул", "вулиця", "вулиці", "вулиці", r"[\w\"«]"),
    ("пл", "площа", "площі", "площі", _CAPITAL),
    ("просп", "проспект", "проспекту", "проспекті", _CAPITAL),
    ("пр-т", "проспект", "проспекту", "проспекті", _CAPITAL),
    ("бул", "бульвар", "бульвару", "бульварі", _CAPITAL),
    ("б-р", "бульвар", "бульвару", "бульварі", _CAPITAL),
    ("пров", "провулок", "провулку", "провулку", _CAPITAL),
    ("буд", "будинок", "будинку", "будинку", r"\d"),
    ("корп", "корпус", "корпусу", "корпусі", r"\d"),
    ("кв", "квартира", "квартири", "квартирі", r"\d"),
    ("оф", "офіс", "офісу", "офісі", r"\d"),
    ("кімн", "кімната", "кімнати", "кімнаті", r"\d"),
    ("каб", "кабінет", "кабінету", "кабінеті", r"\d"),
    ("с", "сторінка", "сторінки", "сторінці", r"\d"),
    ("стор", "сторінка", "сторінки", "сторінці", r"\d"),
    ("ст", "стаття", "статті", "статті", r"\d"),
    ("п", "пункт", "пункту", "пункті", r"\d"),
    ("ч", "частина", "частини", "частині", r"\d"),
    ("т", "том", "тому", "томі", r"\d"),
    ("рис", "рисунок", "рисунка", "рисунку", r"\d"),
    ("мал", "малюнок", "малюнка", "малюнку", r"\d"),
    ("табл", "таблиця", "таблиці", "таблиці", r"\d"),
    ("розд", "розділ", "розділу", "розділі", r"\d"),
    ("гл", "глава", "глави", "главі", r"\d"),
)
_FORMS: Final = {
    (short, follower[:3] == r"\d"): (nominative, genitive, locative)
    for short, nominative, genitive, locative, follower in _PLACED
}
_SHORTS: Final = "|".join(sorted({re.escape(row[0]) for row in _PLACED}, key=len, reverse=True))
_PLACE: Final = re.compile(
    rf"(?<![\w'.-])(?<!\d )(?:((?:{_TO_GENITIVE})|(?:{_TO_LOCATIVE})) )?(див\. )?"
    rf"({_SHORTS})(?:\. ?|(?<=смт) |(?<=-т) |(?<=-р) )(?=({_CAPITAL}|[\d«\"]))",
    re.IGNORECASE,
)
_LOCATIVE_SET: Final = frozenset(_TO_LOCATIVE.split("|"))

_LANGUAGES: Final = {
    "укр": "українськ",
    "англ": "англійськ",
    "рос": "російськ",
    "нім": "німецьк",
    "фр": "французьк",
    "пол": "польськ",
    "ісп": "іспанськ",
    "іт": "італійськ",
    "лат": "латинськ",
    "грец": "грецьк",
}

# An abbreviation's dot ends the sentence only if what follows begins like a sentence.
_GOES_ON: Final = r"(?=\s*(?:[,;:)\]]|[–—-]|\s(?-i:[а-яіїєґ\d])))"


def _word(pattern: str, *, ignore_case: bool = True) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'.-]){pattern}", re.IGNORECASE if ignore_case else 0)


def _closing(pattern: str, reading: str) -> tuple[_Rule, _Rule]:
    """Rules for an abbreviation that often stands last: its dot goes if the sentence goes on."""
    return (
        (_word(rf"{pattern}\.{_GOES_ON}"), reading),
        (_word(rf"{pattern}\."), f"{reading}."),
    )


_UNIT_WORDS: Final = "грн|коп|хв|год|сек|тис|млн|млрд|трлн|шт|ос|дол|крб"

_ABBREVIATIONS: Final[tuple[_Rule, ...]] = (
    *_closing(r"(і|й|та|и) т\. ?д", r"\1 так далі"),
    *_closing(r"(і|й|та) т\. ?п", r"\1 тому подібне"),
    *_closing(r"(і|й|та) ін", r"\1 інше"),
    *_closing(r"до н\. ?е", "до нашої ери"),
    *_closing(r"н\. ?е", "нашої ери"),
    *_closing(r"р\. ?н", "року народження"),
    *_closing(r"н\. ?р", "навчального року"),
    *_closing(r"с\. ?р|ц\. ?р", "цього року"),
    (_word(r"т\. ?зв\. ?"), "так званий "),
    (_word(r"(у|в) т\. ?ч\. ?"), r"\1 тому числі "),
    (_word(r"т\. ?ч\. ?"), "таким чином "),
    (_word(r"див\. "), "дивись "),
    (_word(r"пор\. "), "порівняй "),
    (_word(r"напр\.,? ?"), "наприклад, "),
    (_word(r"а саме: ?"), "а саме: "),
    (_word(rf"ім\. (?={_CAPITAL})"), "імені "),
    (_word(rf"св\. (?={_CAPITAL})"), "святий "),
    (_word(rf"о\. (?={_CAPITAL})", ignore_case=False), "отець "),
    (_word(r"акад\. "), "академік "),
    (_word(r"доц\. "), "доцент "),
    (_word(r"проф\. "), "професор "),
    (_word(rf"гр\. (?={_CAPITAL})"), "громадянин "),
    (_word(rf"тов\. (?={_CAPITAL})"), "товариш "),
    (_word(r"заст\. "), "заступник "),
    (_word(r"зав\. "), "завідувач "),
    (_word(r"дир\. "), "директор "),
    (_word(r"ред\. "), "редактор "),
    (_word(r"к\. ?т\. ?н\.?(?!\w)"), "кандидат технічних наук"),
    (_word(r"д\. ?т\. ?н\.?(?!\w)"), "доктор технічних наук"),
    (re.compile(r"(?<=[А-ЯІЇЄҐа-яіїєґ]) обл\.(?=\s*[,;)]|\s+[а-яіїєґ])"), " область"),
    (re.compile(r"(?<=[А-ЯІЇЄҐа-яіїєґ]) обл\."), " область."),
    (_word(r"р-н(?!\w)"), "район"),
    (_word(r"р-ну(?!\w)"), "району"),
    (_word(r"р-ні(?!\w)"), "районі"),
    (re.compile(r"(?<=\d) ?шт\b"), " штук"),
    (re.compile(r"(?<=\d) ?ос\b\.?"), " осіб"),
    (re.compile(r"(?<=\d) ?дол\b"), " USD"),
    (re.compile(r"(?<=\d) ?крб\b"), " карбованців"),
    (re.compile(r"(?<=\d) ?сек\b"), " с"),
    (re.compile(r"(?<=\d) ?ст\. ?л\."), " столових ложок"),
    (re.compile(r"(?<=\d) ?ч\. ?л\."), " чайних ложок"),
    (re.compile(r"(?<!\d )(?<!\d)\bтис\.? (?=[а-яіїєґ])"), "тисяч "),
    (re.compile(r"(?<!\d )(?<!\d)\bмлн\.? (?=[а-яіїєґ])"), "мільйонів "),
    (re.compile(r"(?<!\d )(?<!\d)\bмлрд\.? (?=[а-яіїєґ])"), "мільярдів "),
    (re.compile(r"\bкв\. ?(к?м|см|мм|дм)\b\.?"), r"\1²"),
    (re.compile(r"\bкуб\. ?(к?м|см|мм|дм)\b\.?"), r"\1³"),
    (re.compile(r"\bмм рт\. ?ст\."), "мм ртутного стовпа"),
    (re.compile(rf"(?<=[\d ])({_UNIT_WORDS})\.{_GOES_ON}"), r"\1"),
)

_PER: Final = {
    "міс": "на місяць",
    "місяць": "на місяць",
    "рік": "на рік",
    "день": "на день",
    "добу": "на добу",
    "год": "на годину",
    "тиж": "на тиждень",
    "тиждень": "на тиждень",
    "кг": "за кілограм",
    "г": "за грам",
    "л": "за літр",
    "м": "за метр",
    "м²": "за квадратний метр",
    "шт": "за штуку",
    "ос": "з особи",
    "особу": "за особу",
    "кВт·год": "за кіловат-годину",
}
_RATE: Final = re.compile(
    r"(грн|₴|\$|€|£|USD|EUR|UAH|дол\.?|доларів|євро|гривень|гривні|гривня) ?/ ?("
    + "|".join(sorted(map(re.escape, _PER), key=len, reverse=True))
    + r")\.?(?![\w²])"
)

_LATIN_NAMES: Final[tuple[_Rule, ...]] = (
    (re.compile(r"\bwi[-‑ ]fi\b", re.IGNORECASE), "вай-фай"),
    (re.compile(r"\be-mail\b", re.IGNORECASE), "імейл"),
    (re.compile(r"\bcovid[-‑–]?(?=\d)", re.IGNORECASE), "ковід "),
    (re.compile(r"(?<!\w)C\+\+"), "сі плюс плюс"),
    (re.compile(r"(?<!\w)C#"), "сі шарп"),
    (re.compile(r"(?<!\w)F#"), "еф шарп"),
    (re.compile(r"(?<!\w)\.NET\b"), "дот нет"),
    (re.compile(r"\bNode\.js\b", re.IGNORECASE), "ноуд джей ес"),
    (re.compile(r"(?<=\d)[KК](?!\w)"), " ка"),
    (re.compile(r"(?<![\d.,/])24/7(?![\d.,]*\d)"), "24 на 7"),
    (re.compile(r"(?<![\d.,/])50/50(?![\d.,]*\d)"), "50 на 50"),
)

# Without a dot, digit, capital pair, Latin letter or "р-н" there is nothing for these rules.
_SHORT_FORM: Final = re.compile(
    r"\.(?=.)|[0-9A-Za-z]|[А-ЯІЇЄҐ]{2}|р-н|[а-яіїєґ]\.|[А-ЯІЇЄҐ]-|смт|б-р|пр-т"
)

_LANGUAGE: Final = re.compile(
    rf"(?<![\w'.-])({'|'.join(_LANGUAGES)})\.( мов(?=[аиуоі]))?(?=\s|$)", re.IGNORECASE
)
_LANGUAGE_ENDINGS: Final = {"а": "а", "и": "ої", "у": "у", "о": "ою", "і": "ій"}
_INITIALS: Final = re.compile(
    r"(?<![\w'.-])([А-ЯІЇЄҐ])\.\s?(?:([А-ЯІЇЄҐ])\.\s?)?(?=[А-ЯІЇЄҐ][а-яіїєґ']{2})"
)
_TRAILING_INITIALS: Final = re.compile(
    r"(?<=[а-яіїєґ]) ([А-ЯІЇЄҐ])\. ?([А-ЯІЇЄҐ])\.(?=(\s*$|\s+[А-ЯІЇЄҐ])?)"
)
_MODEL: Final = re.compile(r"(?<![\w'-])([А-ЯІЇЄҐ][а-яіїєґА-ЯІЇЄҐ]{0,3})[-‑](\d+)(?![\w-])")
_CLASS: Final = re.compile(r"(?<![\w-])(\d+)[-‑]([А-ЯІЇЄҐ])(?![\w'-])")


def expanded(text: str) -> str:
    """Returns the text with its abbreviations in full, in the case that a preposition asks for."""
    if not _SHORT_FORM.search(text):
        return text
    text = _RATE.sub(lambda found: f"{found[1]} {_PER[found[2]]}", text)
    for pattern, reading in _LATIN_NAMES:
        text = pattern.sub(reading, text)
    text = _PLACE.sub(_placed, text)
    text = _LANGUAGE.sub(_language, text)
    for pattern, reading in _ABBREVIATIONS:
        text = pattern.sub(reading, text)
    text = _INITIALS.sub(_initials, text)
    text = _TRAILING_INITIALS.sub(_initials_last, text)
    text = _MODEL.sub(_model, text)
    text = _CLASS.sub(lambda found: f"{found[1]} {_LETTER_NAMES[found[2]]}", text)
    return _spelled(text)


def letter_name(letter: str) -> str:
    """Returns how a Ukrainian capital is called in an acronym ("Т" is "те")."""
    return _LETTER_NAMES[letter]


def _placed(found: re.Match[str]) -> str:
    preposition, see, short, following = found.groups()
    forms = _FORMS.get((short.lower(), following.isdecimal())) or (
        _FORMS.get((short.lower(), False)) if short.lower() == "вул" else None
    )
    if forms is None or (short.isupper() and len(short) > 1):
        return found[0]
    nominative, genitive, locative = forms
    lead = f"{preposition} " if preposition else ""
    if see or not preposition:
        return f"{lead}{'дивись ' if see else ''}{nominative} "
    return f"{lead}{locative if preposition.lower() in _LOCATIVE_SET else genitive} "


def _language(found: re.Match[str]) -> str:
    stem = _LANGUAGES[found[1].lower()]
    if not found[2]:
        return f"{stem}ою"
    return f"{stem}{_LANGUAGE_ENDINGS[found.string[found.end()]]}{found[2]}"


def _initials(found: re.Match[str]) -> str:
    return "".join(f"{_LETTER_NAMES[letter]} " for letter in found.groups() if letter)


def _initials_last(found: re.Match[str]) -> str:
    names = f" {_LETTER_NAMES[found[1]]} {_LETTER_NAMES[found[2]]}"
    return names if found[3] is None else f"{names}."


def _model(found: re.Match[str]) -> str:
    name = found[1]
    if len(name) == 1:
        name = _LETTER_NAMES[name]
    return f"{name} {found[2]}"


def _spelled(text: str) -> str:
    if not _SMALL.search(text) and len(text) > 12:  # a line in capitals is shouted, not spelled
        return text
    return _ACRONYM.sub(_acronym, text)


def _acronym(found: re.Match[str]) -> str:
    letters = found[0]
    if letters in _ACRONYM_READINGS:
        return _ACRONYM_READINGS[letters]
    if letters in _SPELLED or not _VOWEL.search(letters):
        return " ".join(_LETTER_NAMES[letter] for letter in letters)
    return letters
