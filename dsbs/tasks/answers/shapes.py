# ruff: noqa: RUF001, RUF002 - the signs that people write are meant
"""Normal forms of answers: without quotes, Markdown, LaTeX and tags around them, and without tokenizers' spaces.

Every pattern here takes linear time: repetitions are bounded or cannot overlap, since models repeat themselves.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache, wraps

QUOTES = str.maketrans({"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"',
                        "「": '"', "」": '"', "『": '"', "』": '"'})  # fmt: skip
CLAUSE = re.compile(r"[;\n…]|\.(?=\s|$)|,?[ \t]{1,4}(?:because|since|as)\s")  # what ends one
# Signs of no width: soft hyphens, joiners, marks of direction and byte order.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0e\ufe0f\ufeff]")
_ENTITY = re.compile(r"&(?:#\d{1,6}|#[xX][0-9a-fA-F]{1,5}|[A-Za-z]{2,8});")
_WIDE = {
    0x2010: "-",
    0x2011: "-",
    0x2212: "-",
    0x3000: " ",
    0x3010: "[",
    0x3011: "]",
    0x3014: "[",
    0x3015: "]",
    0x066B: ".",
    0x066C: ",",
    0x2044: "/",
} | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_CIRCLED = re.compile("[\u2460-\u24ff]")
_DASH = re.compile(r"(?:^|(?<=[\s(=:$]))[–‒﹣](?=[$€£]?\d)|(?<=\d)[–‒﹣](?=\d)")  # a minus, or in a range
_WRAPPING = " \t\n\r*_`\"'“”‘’„‟«»「」『』\u200b\u200e\u200f\u202a\u202b\u202c\u2060\ufeff"
_COMMAND = re.compile(r"\\(?:boxed|fbox|text|textbf|textit|textrm|textsf|mathrm|mathbf|mathit|mathsf|emph)\s{0,3}\{")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s{0,3}\{")
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]{0,30})>")
_MATHS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_DENIED = re.compile(r"\b(?:not|never|neither|nor|cannot)\b|n['’]t\b", re.I)
_MAX_LAYERS = 12
_REMEMBERED = 200


def tidy(text: str) -> str:
    r"""Return an answer without the quotes, Markdown, LaTeX, tags and full stop around it.

    Of a text that boxes or tags its answer, only that is returned.

    >>> tidy(' **"train station"**. '), tidy(r"$\boxed{\text{train station}}$"), tidy("<answer>bus</answer>")
    ('train station', 'train station', 'bus')
    """
    text = _marked(text.strip())
    for _ in range(_MAX_LAYERS):
        before = text
        text = _unwrapped(text.strip(_WRAPPING) if text.strip(_WRAPPING) else text.strip())
        if text.endswith((".", "。")) and not text.endswith(".."):
            text = text[:-1]
        if text == before:
            break
    return text


def in_ascii_signs(text: str) -> str:
    """Return a text with full-width signs, digits of other scripts and minus signs in ASCII, without invisible signs.

    >>> in_ascii_signs("（Ｂ）"), in_ascii_signs("٤٢"), in_ascii_signs("−1"), in_ascii_signs(r"card\\_arrival")
    ('(B)', '42', '-1', 'card_arrival')
    """
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text.replace("\\_", "_"))
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", text).translate(_WIDE)
    text = _CIRCLED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() and not c.isascii() else c for c in text)
    return _DASH.sub("-", text)


def _marked(text: str) -> str:
    """Return what the only box or the only pair of answer tags of a text holds; else the text."""
    boxes = list(_BOXED.finditer(text))
    if boxes and not _DENIED.search(text, 0, boxes[0].start()):
        contents = {_braced(text, box.end()) for box in boxes[:_MAX_LAYERS]}
        content = contents.pop()
        return text if contents or content is None else content
    tags = [tag for tag in _TAG.finditer(text) if "answer" in tag[2].lower() or "label" in tag[2].lower()]
    if len(tags) == 2 and not tags[0][1] and tags[1][1]:
        return text[tags[0].end() : tags[1].start()]
    return text


def _braced(text: str, start: int) -> str | None:
    """Return what stands up to the brace that closes the one before ``start``; None where it is never closed."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return text[start:position]
    return None


def _unwrapped(text: str) -> str:
    """Take one layer of LaTeX, brackets or tags off a text that it wraps as a whole."""
    command = _COMMAND.match(text)
    if command and text.endswith("}") and _braced(text, command.end()) == text[command.end() : -1]:
        return text[command.end() : -1]
    for opening, closing in _MATHS:
        inside = text[len(opening) : -len(closing)]
        if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
            return text if "$" in inside and opening[0] == "$" else inside
    if len(text) > 2 and text[0] + text[-1] in ("[]", "{}") and not set(text[1:-1]) & set("[]{}"):
        return text[1:-1]
    opened, closed = _TAG.match(text), list(_TAG.finditer(text[-40:]))
    if opened and not opened[1]:
        text = text[opened.end() :]
    if closed and closed[-1][1] and text.endswith(closed[-1][0]):
        text = text[: -len(closed[-1][0])]
    return text


def remembered(shape: Callable[..., str]) -> Callable[..., str]:
    """Cache a function of a text for short texts: choices recur, and long texts would fill the memory."""
    kept = lru_cache(maxsize=65536)(shape)

    @wraps(shape)
    def look(text: str, *options: bool) -> str:
        return (kept if len(text) <= _REMEMBERED else shape)(text, *options)

    return look


@remembered
def squeeze(text: str, fold: bool = True) -> str:
    """Return a text without what tokenizers change: spaces, accents, the kind of quotes and (``fold``) case.

    >>> squeeze("Don ' t"), squeeze("don’t")
    ("don't", "don't")
    """
    # Accents go first, for a row of them takes a time that grows with its square to be put in order; then those that
    # letters were composed of.
    text = unicodedata.normalize("NFKD", "".join(c for c in text if not unicodedata.combining(c)))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = "".join(text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}).split())
    return text.casefold() if fold else text


@remembered
def spaced(text: str, fold: bool = True) -> str:
    """Return ``squeeze(text, fold)`` with single spaces between words kept."""
    words = (squeeze(word, fold) for word in re.sub(r"([^\w\s])", r" \1 ", text).split())
    return re.sub(r" ?([^\w\s]) ?", r"\1", " ".join(words))


@remembered
def bare(text: str) -> str:
    """Return ``squeeze(text)`` without the punctuation around it."""
    return squeeze(text).strip(".,;:!?'\"")
