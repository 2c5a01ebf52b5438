"""Numbers whose form depends on the words around them, where `ukrainian-tn` reads them wrong.

Each rule rewrites only the numbers it is sure of and leaves every other one as digits, for
`verbalisation`. Nothing is lost: a rule puts words or plainer digits where the number stood.
"""

import re
from collections.abc import Callable
from typing import Final

import ukrainian_tn

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

_LARGEST: Final = ukrainian_tn.MAX_SPELLED_NUMBER


def cardinal(digits: str) -> str:
    """Returns how a run of ASCII digits is counted.

    A run with zeros in front, or over `MAX_SPELLED_NUMBER`, is read digit by digit.
    """
    if (len(digits) > 1 and digits[0] == "0") or len(digits) > 18 or int(digits) > _LARGEST:
        spelled: str = ukrainian_tn.number_to_words_digit_by_digit(digits)
        return spelled
    words: str = ukrainian_tn.number_to_words(int(digits))
    return words


def ordinal(number: int, form: str) -> str:
    """Returns an ordinal; `form` is one of `ukrainian-tn` ("nom_m", "gen", "loc_f", ...)."""
    words: str = ukrainian_tn.number_to_ordinal_words(number, form)
    return words


def _in_case(number: int, case: str) -> str:
    words: str = ukrainian_tn.number_to_words_case(number, case)
    return words


# --- clock times

_CLOCK_FORMS: Final = {
    **dict.fromkeys(("о", "об"), "loc_f"),
    **dict.fromkeys(("з", "із", "від", "до", "після", "близько", "раніше", "пізніше"), "gen_f"),
    "на": "acc_f",
}
_HOUR_NOUNS: Final = {"loc_f": "годині", "gen_f": "години", "acc_f": "годину"}
_CLOCK: Final = re.compile(
    r"(?<![\w'-])(о|об|з|із|від|до|після|близько|раніше|пізніше|на) "
    r"([01]?\d|2[0-3])(:|\.)([0-5]\d)(?:(?= ?(?:год|годин[аиіу]?)\b)|(?![\d:]|[.,]\d| ?[%°\w]))"
    r"|(?<![\w'-])(о|об|з|із|від|до|після|близько|раніше|пізніше|на) "
    r"([01]?\d|2[0-3]):([0-5]\d)(?![\d:]|[.,]\d)",
    re.IGNORECASE,
)


def _clock(found: re.Match[str]) -> str:
    if found[1]:
        preposition, hour, mark, minutes = found[1], found[2], found[3], found[4]
        if mark == "." and preposition.lower() not in ("о", "об"):
            return found[0]  # "до 14.30" may be a price
    else:
        preposition, hour, minutes = found[5], found[6], found[7]
    form = _CLOCK_FORMS[preposition.lower()]
    if form == "loc_f":
        preposition = preposition[0] + ("б" if int(hour) == 11 else "")
    if int(hour) == 0:
        words = {"loc_f": "нуль годин", "gen_f": "нуля годин", "acc_f": "нуль годин"}[form]
    else:
        words = ordinal(int(hour), form)
        if minutes == "00":
            words += f" {_HOUR_NOUNS[form]}"
    if minutes != "00":
        words += f" {'нуль ' if minutes[0] == '0' else ''}{cardinal(minutes.lstrip('0'))}"
    return f"{preposition} {words}"


# --- dates

_MONTHS: Final = [
    "січня",
    "лютого",
    "березня",
    "квітня",
    "травня",
    "червня",
    "липня",
    "серпня",
    "вересня",
    "жовтня",
    "листопада",
    "грудня",
]
_DAY: Final = r"(0?[1-9]|[12]\d|3[01])"
# A date that is the whole line or is told to be "today" is named; elsewhere it says when, which is
# the genitive that ukrainian-tn gives to all.
_NAMED_DATE: Final = re.compile(
    r"(^\s*|\b(?:сьогодні|завтра|вчора|учора|дата|дата:|сьогодні вже|це) (?:[–—-] )?)"
    rf"{_DAY}(?:\.(0[1-9]|1[0-2])\.(\d{{4}})|( (?:{'|'.join(_MONTHS)})(?:(?= \d{{4}})|\b)))"
    r"(?![\d.]*\d)(?:\s*(?:р\.|року?))?(?P<rest>.*)$",
    re.IGNORECASE,
)


def _named_date(found: re.Match[str]) -> str:
    lead, day, month, year, spelled_month = found[1], found[2], found[3], found[4], found[5]
    rest = found["rest"]
    if not lead.strip() and re.search(
        r"\w", rest.removeprefix(" ")[0:0] or _after_year(rest, year)
    ):
        return found[0]
    if month and int(day) > (
        29 if month == "02" else 30 if month in ("04", "06", "09", "11") else 31
    ):
        return found[0]
    said = ordinal(int(day), "nom_n")
    if month:
        return f"{lead}{said} {_MONTHS[int(month) - 1]} {year} року{rest}"
    return f"{lead}{said}{spelled_month}{found.string[found.end(5) :]}"


def _after_year(rest: str, year: str | None) -> str:
    """Returns what follows a date when the year, in words or digits, is passed over."""
    return rest if year else re.sub(r"^ \d{4}(?: року| р\.)?", "", rest)


_YEAR_SPAN: Final = re.compile(
    r"(?<![\w'-])(з|із|від) ([12]\d{3})(?: року| р\.)? (по|до) ([12]\d{3})"
    r"(?= (?:рік|року|р\.|рр\.))",
    re.IGNORECASE,
)


def _year_span(found: re.Match[str]) -> str:
    return f"{found[1]} {ordinal(int(found[2]), 'gen')} {found[3]} {found[4]}"


# --- ordinals written with an ending, and the collective "2-х"

_ENDINGS: Final = {
    **dict.fromkeys(("й", "ий"), "nom_m"),
    **dict.fromkeys(("ша", "га", "тя", "та", "а"), "nom_f"),
    **dict.fromkeys(("ше", "ге", "тє", "те", "е"), "nom_n"),
    "го": "gen",
    "ого": "gen",
    **dict.fromkeys(("ї", "ої", "шої", "гої", "тої"), "gen_f"),
    **dict.fromkeys(("му", "ому"), "dat"),
    "м": "loc",
    "ій": "loc_f",
    **dict.fromkeys(("шу", "гу", "ту", "тю", "ю", "у"), "acc_f"),
    **dict.fromkeys(("ші", "гі", "ті", "і"), "nom_pl"),
    **dict.fromkeys(("х", "их"), "loc_pl"),
    **dict.fromkeys(("ми", "ими"), "ins_pl"),
    "им": "ins",
    "ою": "ins_f",
}
_ENDING: Final = re.compile(r"(?<![\w.,'-])(?:(\d{1,4})-)?(\d{1,4})[-‑](\w{1,3})(?![\w'-])")


def _with_ending(found: re.Match[str]) -> str:
    before, number, ending = found[1], int(found[2]), found[3].lower()
    words: str | None = None
    if ending == "ти" or (ending == "х" and number in (2, 3, 4)):
        words = _in_case(number, "genitive")
    elif ending == "ма":
        words = (
            ordinal(number, "nom_f") if number % 10 in (7, 8) else _in_case(number, "instrumental")
        )
    elif ending in _ENDINGS:
        words = ordinal(number, _ENDINGS[ending])
    if words is None:
        return found[0]
    if not before:
        return words
    if ending in _ENDINGS and number not in (2, 3, 4):
        return f"{ordinal(int(before), _ENDINGS[ending])}-{words}"
    return f"{cardinal(before)}-{words}"


# --- nouns that ask for an ordinal, or for the gender of "one"

_FLOORS: Final = {
    **dict.fromkeys(
        [
            "поверсі",
            "класі",
            "курсі",
            "місці",
            "турі",
            "розділі",
            "томі",
            "вагоні",
            "кварталі",
            "етапі",
        ],
        "loc",
    ),
    **dict.fromkeys(
        ["сторінці", "годині", "серії", "главі", "частині", "статті", "групі"], "loc_f"
    ),
    **dict.fromkeys(["поверх", "клас", "тур", "вагон", "під'їзд"], "nom_m"),
}
_FLOOR: Final = re.compile(rf"(?<![\w.,:/-])(\d{{1,3}}) ({'|'.join(_FLOORS)})\b")
_FEMININE_ONE: Final = (
    "годину|хвилину|секунду|гривню|копійку|тонну|добу|людину|дитину|книгу|сторінку|тисячу|"
    "сесію|машину|квартиру|пляшку|таблетку|ложку|склянку|кімнату"
)
_ONE: Final = re.compile(
    rf"(?<![\w.,:/-])(\d*(?<!1)1) (?:({_FEMININE_ONE})"
    r"|(?!євро|або|але|ще|вже|кіло|це|не|до|по)(\w+[оеє]))\b"
)
_ONE_SHORT: Final = re.compile(r"\b(за|через|на) 1 (?:(год)|(хв)|(грн)|(тис))\b\.?", re.IGNORECASE)
_THOUSAND: Final = re.compile(r"\b(понад|через|за|про) 1 ?000\b(?![ .,]?\d)", re.IGNORECASE)


def _floor(found: re.Match[str]) -> str:
    return f"{ordinal(int(found[1]), _FLOORS[found[2]])} {found[2]}" if int(found[1]) else found[0]


def _one(found: re.Match[str]) -> str:
    if len(found[1]) > 15:
        return found[0]
    ending = "одну" if found[2] else "одне"
    return f"{cardinal(found[1]).removesuffix('один')}{ending} {found[2] or found[3]}"


def _one_short(found: re.Match[str]) -> str:
    nouns = ("годину", "хвилину", "гривню", "тисячу")
    noun = next(noun for noun, written in zip(nouns, found.groups()[1:], strict=True) if written)
    return f"{found[1]} одну {noun}"


# --- arithmetic, ranges, codes

_HOTLINE: Final = re.compile(r"(?<![\d+])0 ?800[ -]?(\d{3})[ -]?(\d{3})(?!\d)")
_CARD: Final = re.compile(r"(?<![\d ])\d{4}(?: \d{4}){3}(?!\d| \d)")


def _hotline(found: re.Match[str]) -> str:
    return f"нуль вісімсот, {_group(found[1])}, {_group(found[2])}"


def _group(digits: str) -> str:
    zeros = len(digits) - len(digits.lstrip("0"))
    counted = "нуль " * zeros
    return (counted + (cardinal(digits[zeros:]) if digits[zeros:] else "")).strip()


def _card(found: re.Match[str]) -> str:
    pairs = re.findall(r"\d\d", found[0])
    return ", ".join(
        f"{_group(a)} {_group(b)}" for a, b in zip(pairs[::2], pairs[1::2], strict=True)
    )


# The rest of an equation, of a few terms: unbounded, it would be read again from each term.
_CHAIN: Final = r"\d[\d.,]{0,20}(?:\s?[-+xхXХ×*/]\s?\d[\d.,]{0,20}){0,5}\s?="
_ARITHMETIC: Final[tuple[_Rule, ...]] = (
    (re.compile(r"(?<=\d)'(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<=\d)\s+[-–]\s+(?=\d[\d.,]*\s*=)"), " мінус "),
    (re.compile(r"(?<=\d) ?− ?(?=\d)"), " мінус "),
    (re.compile(rf"(?<=\d) ?[xхXХ×*] ?(?={_CHAIN})"), "×"),
    (re.compile(rf"(?<=\d)(?:[xхXХ×]| [xхXХ] )(?=\d)(?!{_CHAIN})"), " на "),
    (re.compile(r"(?<=\d) / (?=\d)|(?<=\d) ?÷ ?(?=\d)"), " поділити на "),
    (re.compile(r"(?<=№)( ?\d+)/(?=\d)"), r"\1 дріб "),
    (re.compile(r"(?<=\d)\s?\.{2,3}\s?(?=[-−+]?\d)"), "…"),
    (re.compile(r"(?<![\w])[~≈] ?(?=\d)"), "приблизно "),
    (re.compile(r"(?<!\d)1 ?½"), "півтора"),
    (re.compile(r"(?<=\d) ?½"), " з половиною"),
    (re.compile(r"½(?= [а-яіїєґ])"), "пів"),
    (re.compile(r"(\d{4})/(?=\d{4}\b)"), r"\1, "),
    (
        re.compile(
            r"(?<![\d.,/])(\d{2,3})/(?=\d{2,3}(?![\d/]))(?=\d0\b|\d\d\b)(?=(?:80|90|70|60|100)\b)"
        ),
        r"\1 на ",
    ),
    (re.compile(r"\+38 ?\(?(?=0\d\d\)?[ -]?\d{3}[ -]?\d\d[ -]?\d\d)"), "+38"),
    (re.compile(r"(?<=\+380\d\d)\) ?"), " "),
    (re.compile(r"\((?=0\d\d\) ?\d{3}[ -]?\d\d[ -]?\d\d)"), ""),
)

_NUMBER: Final = re.compile("[0-9½]")
_CONTEXTUAL: Final[tuple[_Rule, ...]] = (
    (_NAMED_DATE, _named_date),
    (_CLOCK, _clock),
    (_YEAR_SPAN, _year_span),
    (_HOTLINE, _hotline),
    (_CARD, _card),
    (_ENDING, _with_ending),
    (_FLOOR, _floor),
    (_ONE_SHORT, _one_short),
    (_ONE, _one),
    (_THOUSAND, r"\1 тисячу"),
)


def with_contextual_numerals(line: str) -> str:
    """Returns one line with the numbers in words that take their form from what is around them."""
    if not _NUMBER.search(line):
        return line
    for pattern, reading in (*_ARITHMETIC, *_CONTEXTUAL):
        line = pattern.sub(reading, line)
    return line
