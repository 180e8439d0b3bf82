# ruff: noqa: RUF001 - the signs that people write are meant
r"""Parsing a number from text: ``8{,}000``, ``\frac{3}{4}``, ``2.5 million``, ``two dozen eggs``.

Words become arithmetic first; then a clause must give one value, and neither bound it nor doubt it nor deny it. What is
unclear is not parsed: a wrong number costs more than a missing one.
"""

import math
import re
import unicodedata
from itertools import takewhile

from dsbs.tasks.answers.arithmetic import evaluate, is_no_value, join_numbers, without_units
from dsbs.tasks.answers.shapes import CLAUSE, QUOTES, in_ascii_signs

MOST = 1000
_LONGEST_SPELT = 60
_WORD = re.compile(r"[^\W\d_]")

_WRITTEN = (  # LaTeX and typography, in plain signs
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=\d)(?:\\[,!;:]|[\u00a0\u2009\u202f])(?=\d{3})"), ""),
    (re.compile(r"\\[dtc]?frac\s?(\d)\s?(\d)(?!\d)"), r"\1/\2"),
    (re.compile(r"(?<![\d.,])(\d{1,9})\s?\\[dt]?frac\s?\{(\d{1,9})\}\s?\{(\d{1,9})\}"), r"(\1+\2/\3)"),
    (re.compile(r"(?<!\^)\\[dtc]?frac\s?\{(\d{1,9})\}\s?\{(\d{1,9})\}"), r"\1/\2"),
    (re.compile(r"\\[dtc]?frac\s?\{([^{}]{1,60})\}\s?\{([^{}]{1,60})\}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox)\s?\{([^{}]{0,100})\}"), r" \1 "),
    (re.compile(r"\\(?:times|cdot|ast)\b"), " * "),
    (re.compile(r"\\div\b"), " / "),
    (re.compile(r"\\approx\b|≈"), " "),
    (re.compile(r"\\([%$#&_])"), r"\1"),
    (re.compile(r"\^\s?\{?\\?(?:circ|deg)\b\}?|°"), " degrees "),
    (re.compile(r"\^\s?\{(-?\d{1,3})\}"), r"^\1"),
    (re.compile(r"\\(?:left|right|quad|qquad|displaystyle)\b|\\[,!;: ]|~"), " "),
    (re.compile(r"^(?:[-=]?>|→|⇒|:)\s{0,3}"), ""),
)
_SUPERSCRIPT = re.compile(r"(?<=[\d)])⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}(?![⁰¹²³⁴⁵⁶⁷⁸⁹])")
_FRACTION = re.compile(r"[ ]?[¼½¾⅐-⅞]")
# Thousands in groups with blanks, apostrophes or underscores; and as in India: 1,23,456.
_GROUPED = re.compile(r"(?<![\w.,'])\d{1,3}(?:([ '_])\d{3})(?:\1\d{3}){0,4}(?![\d,']|\.\d{3}\b|[ '_]\d)")
_INDIAN = re.compile(r"(?<![\w.,])\d{1,2}(?:,\d{2}){1,4},\d{3}(?![\d,])")
# Thousands with points, where nothing else can be meant: 1.234.567 and 1.200,50, but not 1.200.
_POINTED = re.compile(
    r"(?<![\w.,])(\d{1,3}(?:\.\d{3}){2,4})(?![\w.,]*\d)|(?<![\w.,])(\d{1,3}(?:\.\d{3}){1,4}),(\d{1,2})(?![\w.,]*\d)"
)
_NOT_A_DIGIT = re.compile(r"\D")
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
           "lakh": 10**5, "crore": 10**7, "mn": 10**6, "mln": 10**6}  # fmt: skip
_SCALED = re.compile(
    r"(?<![\w.,])(\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,12})?)(?:(?:\s{0,2}|-)(hundred|thousand|million|billion|trillion|dozen|lakh|crore|mn|mln)s?"
    r"|\s?(bn)|\s?(k))\b(?!\s{0,2}-?\s{0,2}\d)",
    re.I,
)
_SCIENTIFIC = re.compile(r"(?<![\w.,])(\d{1,15}(?:\.\d{1,15})?)[eE]([+-]?\d{1,2})(?![\w.])")
_MIXED = re.compile(r"(?<![\d.,/*+^-])(\d{1,9})(?:\s|\sand\s)(\d{1,4})/(\d{1,4})(?![\d.,/])")
_AND_A_HALF = re.compile(r"(?<![\d.,/])(\d{1,9})\sand\s(?:a|one)\shalf\b", re.I)
_OPERATORS = (
    (re.compile(r"(?<=[\d)])\s{0,3}\bplus\s{1,3}(?=[$€£(]?\d)", re.I), " + "),
    (re.compile(r"(?<=[\d)])\s{0,3}\bminus\s{1,3}(?=[$€£(]?\d)", re.I), " - "),
    (re.compile(r"(?<=[\d)])\s{0,3}\b(?:times|multiplied\sby)\s{1,3}(?=[$€£(]?\d)", re.I), " * "),
    (re.compile(r"(?<=[\d)])\s{0,3}\bdivided\sby\s{1,3}(?=[$€£(]?\d)", re.I), " / "),
    (re.compile(r"(?:^|(?<=\bis )|(?<== ))(?:minus|negative)\s{1,3}(?=[$€£]?\d)", re.I), "-"),
)
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_SPELT = _TENS | {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_BEFORE = ("is", "exactly", "about", "approximately", "roughly", "around", "a", "an", "total", "of")
_WORDS = re.compile(r"[^\W\d_]{1,20}")
_UNITS = re.compile(
    r"(?<=\d)\s?(?:[^\W\d_]{1,12}/[^\W\d_]{1,12}\b|[^\W\d_]{1,4}[²³]|[^\W\d_]{1,4}\^[23]\b|[gmlLsh](?=$|[\s.,;)])"
    r"|degrees?\s?[CF]?\b)"
)
# Where a clause has such words, its number is a bound, half of one, a guess or none at all.
_HEDGES = re.compile(
    r"n't\b|\b(?:not|no|never|neither|nor|cannot|without|except|rather|instead|unlike|but|or|either|if|unless|might|may|maybe|perhaps|possibly|could|opposite|"
    r"between|(?:minimum|maximum)\sof|(?:minimum|maximum|max|min)(?=\s[-$€£]?\d)|close\sto|upwards|north\sof|in\sexcess|short\sof|within|barely|hardly|other\sthan|"
    r"(?:rul|exclud)ing|different\sfrom|divisible|(?:multiple|factor|square|cube)\sof|remainder\swhen|too\s(?:high|low|many|few)|"
    r"impossible|under\spar|in\s(?:debt|the\sred)|at\sleast|at\smost|up\sto|and\s(?:over|up|above|more)|(?:more|less|fewer|greater|larger|smaller|higher|lower)\s"
    r"than|(?:over|under|above|below|beyond|past|exceeding|exceeds|approaching)(?=\s{1,3}[-($€£]{0,2}\d)|half|halves|quarters?|"
    r"thirds?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?|thousandths?|twice|double|triple|"
    r"squared|cubed|root|power|factorial|minus|negative|plus|point|nearly|almost|wrong|incorrect|unknown|undefined|"
    r"infinite\w*|depends?|unclear|below\szero|nicht|kein\w*|pas|ou|oder)\b|[?<>≤≥≠±√!]=?\s{0,2}[-$€£]?\d|[\d)%]\s?[?<>≤≥≠±]|\d!|repeating|recurring",
    re.I,
)
_DENIED = re.compile(
    r"(?:,|\band\b|\bbut\b|\()?\s{0,3}\b(?:not|instead\sof|rather\sthan|isn't)\s{1,3}[$€£]?\d[\d.,]{0,20}(?<![.,])\)?"
    r"(?:\s{0,3},?\s{0,3}but\b)?",
    re.I,
)
_NO_VALUE = re.compile(
    r"\\[A-Za-z]{2,}|\b(?:log|ln|sin|cos|tan|exp|sqrt)\b|\d[\u0304\u0305]|\d\s?r\.?\s?\d"
    r"|\b[a-zA-Z]\s?=.{1,60}\b[a-zA-Z]\s?=|\d\s?:\s?\d|\d{1,2}/\d{1,2}/(?:19|20)\d\d|(?:19|20)\d\d-\d\d-\d\d|\d\s?[MBTK]\b"
    r"|\d\s?Uhr\b|[^\W\d_]\s{1,3}times\s{1,3}\d|(?<![\w.])[A-Za-z]\d"
    r"|(?<![\d.*/+^(-])\d{1,4}-\d{1,2}/\d{1,3}(?![\d/*+^-])|\d\.\d{1,9},\d"
    r"|[$€£]\s?\d[\d.,]{0,20}\s?m\b|\d(?![gmlLsh]\b|[xX]\s?[\d(])[a-zA-Z]\b|\b[a-zA-Z]\s?[-+*/^]\s?\d"
    r"|\d\s?[-+*/^]\s?[a-zA-Z]\b"
    r"|(?<![\d.,)])\d{1,6}[-–]\d{1,6}\s{1,2}[^\W\d_]{2}|(?<![\d.,])0,\d{3}(?!\d)"
    # Times of the day, decades, names such as COVID-19 or option 3.
    r"|\d\s?[aApP]\.?\s?[mM]\b|\d\s?o['’]clock\b|\b\d{3}0['’]?s\b|\d-?ish\b|[^\W\d_]-\d|\d\s?(?:π|∞|pi\b)"
    r"|\b(?:option|choice)\s?\(?\d|\d\s[xyznij]\b(?!\s?[\d(])|\d[₀-₉]|\d\s?\(\?\)"
)
# A number in digits that goes on in words, or with a scale of another language.
_GOES_ON = re.compile(
    r"\d\s?[‰万萬億亿만억천백조]|\d\s?[千百](?![米克瓦])|\d\s{1,3}(?:and\s)?(?:"
    + "|".join((*_SPELT, *_SCALES))
    + r")\b|\d\s?(?:mil+[hij]?[oõã]\w{0,6}|mila?|mille?|mio|mia|mrd|mld|milliers?|milliards?|milyar|miljard|"
    r"tausend|hundert|duizend|tusen|tuhat|tysi\w{0,4}|bin|ribu|juta|ngàn|nghìn|triệu|tỷ|тыс\w{0,4}|млн|млрд|миллион\w{0,3}|"
    r"миллиард\w{0,3}|ألف|آلاف|مليون|مليار|लाख|करोड़|हज़ार|हजार|พัน|หมื่น|แสน|ล้าน)(?!\w)",
    re.I,
)
_TURN = re.compile(r"\b(?:wait|actually|correction|scratch|oops|hmm|sorry|alternatively|maybe|or rather)\b|\bno,", re.I)
_RUN = re.compile(
    r"(?:[$€£(]\s?){0,6}[-−]?\s?[$€£]?\d(?:\d|[.,](?=\d)|[-+*/()^×÷−$€£=]|[.\s](?=[-\d+*/()^×÷−$€£=.\s])){0,300}"
)
_SPACED = re.compile(r"^(\d{1,6}) - (\d{1,6})$")  # 5 - 10 apples
_ABBREVIATED = re.compile(r"\b(Rs|approx|ca)\.\s?(?=[-$€£\d])", re.I)
_OPERATOR_AT_END = re.compile(r"[+*/^×÷]\s?$")


def read_number(text: str) -> str | None:
    r"""Return the one number or equation that a text gives, or None.

    Args:
        text: as ``shapes.tidy`` returns it.

    >>> [read_number(text) for text in (r"8{,}000", r"\frac{3}{4}", "2.5 million", "two dozen eggs", "42 apples")]
    ['8,000', '3/4', '2500000', '24', '42']
    >>> [read_number(text) for text in ("more than 42", "not 42", "3 or 4", "5M")]
    [None, None, None, None]
    """
    text = _plain(in_ascii_signs(text[:MOST]).translate(QUOTES)).strip()
    if _NO_VALUE.search(text) or _GOES_ON.search(text) or is_no_value(text):
        return None
    if not _WORD.search(text) and evaluate(text) is not None:
        return join_numbers(text) if _balances(text) else None
    text = _ABBREVIATED.sub(r"\1 ", text)
    end = CLAUSE.search(text)
    clause, rest = (text[: end.start()], text[end.end() :]) if end else (text, "")
    clause = _DENIED.sub(" ", clause)
    if _TURN.search(text):
        return None
    clause = _digits(clause)
    if _HEDGES.search(clause):
        return None
    found: str | None = without_units(_UNITS.sub(" ", clause))
    if evaluate(found or "") is None:
        found = _search(clause)
    if found is not None and (is_no_value(_SPACED.sub(r"\1-\2", found)) or not _balances(found)):
        return None
    if found is not None and end and end[0] == ";" and any(not same(run, found) for run in _runs(rest)):
        return None
    return found


def _balances(text: str) -> bool:
    """Return whether the sides of an equation have the same value, as far as they have one, up to rounding."""
    values = [value for side in text.split("=") if (value := evaluate(side)) is not None]
    return all(math.isclose(value, values[0], rel_tol=0.002, abs_tol=0.01) for value in values[1:])


def same(a: str, b: str, tolerance: float = 1e-6) -> bool:
    """Return whether two texts have the same value, up to a relative tolerance; False where one has no value."""
    x, y = evaluate(a), evaluate(b)
    return x is not None and y is not None and math.isclose(x, y, rel_tol=tolerance, abs_tol=1e-9)


def _plain(text: str) -> str:
    """Write LaTeX, grouped digits, scales and spelt-out operators as arithmetic."""
    for pattern in (_GROUPED, _INDIAN):
        text = pattern.sub(lambda match: _NOT_A_DIGIT.sub("", match[0]), text)
    text = _POINTED.sub(
        lambda match: f"{match[1] or match[2]}".replace(".", "") + f".{match[3]}" * bool(match[3]), text
    )
    if not text.isascii():
        text = _FRACTION.sub(_spell_out, _SUPERSCRIPT.sub(_spell_out, text))
    if "\\" in text or not text.isascii() or "{" in text or text[:1] in "-=:~":
        for pattern, plain in _WRITTEN:
            text = pattern.sub(plain, text)
    if not _WORD.search(text):
        return _MIXED.sub(_mixed, text)
    text = _SCIENTIFIC.sub(lambda match: _write(float(match[1]) * 10.0 ** int(match[2])), text)
    text = _SCALED.sub(_scaled, text)
    text = _AND_A_HALF.sub(r"\1.5", _MIXED.sub(_mixed, text))
    for pattern, sign in _OPERATORS:
        text = pattern.sub(sign, text)
    return text


def _spell_out(match: re.Match[str]) -> str:
    """Write the power or the fraction that is one sign in plain ones: ``10³``, ``3½``."""
    text = unicodedata.normalize("NFKC", match[0]).replace("\u2044", "/").replace("\u2212", "-").strip()
    return f" {text}" if "/" in text else f"^{text}"


def _scaled(match: re.Match[str]) -> str:
    scale = _SCALES[match[2].lower()] if match[2] else 10**9 if match[3] else 1000
    return _write(float(match[1].replace(",", "")) * scale)


def _mixed(match: re.Match[str]) -> str:
    whole, above, below = match.groups()
    return f"({whole}+{above}/{below})" if int(above) < int(below) else match[0]


def _write(value: float) -> str:
    return str(round(value)) if abs(value) < 1e18 and math.isclose(value, round(value), rel_tol=1e-12) else repr(value)


def _digits(clause: str) -> str:
    """Return a clause with the number in words that it begins with in digits, where there is little else in it."""
    if any(c.isdigit() for c in clause):
        return clause
    words = [word.lower() for word in _WORDS.findall(clause)]
    sign = "-" if words[:1] in (["minus"], ["negative"]) else ""
    words = words[len(sign) :]
    while words and words[0] in _BEFORE:
        if words[0] in ("a", "an") and words[1:2] and words[1] in _SCALES:
            words[0] = "one"
            break
        words.pop(0)
    number = list(takewhile(lambda word: word in _SPELT or word in _SCALES or word == "and", words))
    value = count_words([word for word in number if word != "and"])
    units = words[len(number) :]
    if value is None or number[0] == "and" or len(units) > 2 or {"times", "divided", "by"} & set(units):
        return clause
    return " ".join([f"{sign}{value}", *units])


def count_words(words: list[str]) -> int | None:
    """Return the number that these lower-case words spell; None where they spell none.

    >>> count_words("one hundred twenty four".split()), count_words("nineteen eighty four".split())
    (124, None)
    """
    total, current, last, bound = 0, 0, "", math.inf
    for word in words:
        if word in _SPELT:
            value = _SPELT[word]
            if (current % 100 and not (last in _TENS and 0 < value < 10)) or (not value and len(words) > 1):
                return None
            current += value
        elif word == "hundred":
            if not 0 < current < 100:
                return None
            current *= 100
        else:
            scale = _SCALES[word]
            if not current or scale >= bound or (word == "dozen" and (total or word != words[-1])):
                return None
            total, current, bound = total + current * scale, 0, scale
        last = word
    return total + current if words else None


def read_spelt(text: str) -> int | None:
    """Return the number that a text spells, with nothing beside it; or None.

    >>> read_spelt("Twenty-one"), read_spelt("two dogs"), read_spelt("")
    (21, None, None)
    """
    words = text.casefold().replace("-", " ").split() if len(text) <= _LONGEST_SPELT else []
    return count_words(words) if all(word in _SPELT or word in _SCALES for word in words) else None


def _runs(text: str) -> list[str]:
    return [run.strip().rstrip(".,(-$ ") for run in _RUN.findall(text)]


def _search(clause: str) -> str | None:
    """Return the one expression of a clause; where several differ in value, none is the answer."""
    for run in _RUN.finditer(clause):
        if _OPERATOR_AT_END.search(run[0].rstrip()) or _OPERATOR_AT_END.search(clause[: run.start()].rstrip()[-1:]):
            return None  # the rest of it is in words
    runs = _runs(clause)
    return runs[0] if runs and all(same(run, runs[0]) for run in runs) else None
