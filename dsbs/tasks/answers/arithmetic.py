# ruff: noqa: RUF001, RUF002 - the signs that people write are meant
"""An evaluator for arithmetic in text: numbers, ``+ - * / **`` and brackets, nothing else.

It never calls Python's ``eval``, since the text comes from a model. Length, depth and exponents are bounded, so no text
can hang the run or fill the memory.
"""

import ast
import math
import operator
import re

MAX_LENGTH = 400
MAX_DEPTH = 60
MAX_EXPONENT = 64

_SYMBOLS = str.maketrans({"×": "*", "⋅": "*", "∙": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**"})
_CURRENCY = re.compile(r"[$€£]")
# A comma between groups of three digits; WordPiece writes a blank after it, and one on either side of a point.
_THOUSANDS = re.compile(r"(?<=[0-9]),\s?(?=[0-9]{3}(?![0-9]))")
_SPLIT_POINT = re.compile(r"(?<=[0-9])\s*\.\s*(?=[0-9])")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_ARITHMETIC = re.compile(r"[0-9.+\-*/() ]*[0-9][0-9.+\-*/() ]*")
_UNIT = re.compile(r"(?<=[0-9)])\s*(?:%|[^\W\d_]{2,}(?:[ -][^\W\d_]{2,})*)")
_TIMES = re.compile(r"(?<=[0-9)])\s*[xX]\s*(?=[0-9(])")

_INEQUALITY = re.compile(r"[<>!]=")
_PARTED = re.compile(r"[0-9]{1,9}(-|/|\s?–\s?)[0-9]{1,9}(?:\1[0-9]{1,9})*")

_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def evaluate(text: str) -> float | None:
    """Return the value of an arithmetic expression, or None for other texts.

    Thousands commas, currency signs, ``× ÷ ^`` and the spaces of tokenizers are understood. Of an equation, the first
    side that has a value counts.

    >>> evaluate("( ( 17.0 + 15.0 ) / 4. 0 )"), evaluate("$1,200 × 2"), evaluate("2 ** 3 = 8")
    (8.0, 2400.0, 8.0)
    >>> evaluate("(25 + x)"), evaluate("1 / 0"), evaluate("9 ** 9 ** 9 ** 9"), evaluate("__import__('os')")
    (None, None, None, None)
    """
    if len(text) > MAX_LENGTH or _INEQUALITY.search(text):
        return None
    for side in text.split("="):
        value = _evaluate_side(side)
        if value is not None:
            return value
    return None


def is_no_value(text: str) -> bool:
    """Return whether a text that looks like arithmetic is a range, a date or a phone number.

    >>> [is_no_value(text) for text in ("10-12", "2024-01-05", "10/12/2024", "555-1234")]
    [True, True, True, True]
    >>> [is_no_value(text) for text in ("12-10", "10 - 12", "(10-12)", "3/4")]
    [False, False, False, False]
    """
    found = _PARTED.fullmatch(text.strip().rstrip("."))
    if found is None:
        return False
    first, second, *more = (int(part) for part in found[0].split(found[1]))
    return bool(more) or (found[1] != "/" and first < second)


def without_units(text: str) -> str:
    """Return an arithmetic text without the words that follow its numbers; single letters may be variables and stay.

    >>> without_units("(8 red pens + 10 pens) * 4"), without_units("7 x 3"), without_units("7x")
    ('(8 + 10) * 4', '7 * 3', '7x')
    """
    return _UNIT.sub("", _TIMES.sub(" * ", text)).strip()


def join_numbers(text: str) -> str:
    """Return a text without the spaces that WordPiece puts into numbers.

    >>> join_numbers("( 84. 0 / 2 . 0 )")
    '( 84.0 / 2.0 )'
    """
    return _SPLIT_POINT.sub(".", text)


def _evaluate_side(text: str) -> float | None:
    text = _CURRENCY.sub("", " ".join(text.translate(_SYMBOLS).split()))
    text = _THOUSANDS.sub("", join_numbers(text)).strip()
    if not _ARITHMETIC.fullmatch(text):
        return None
    # As a float's own text, so that leading zeros are no syntax error and long integers no long arithmetic.
    text = _NUMBER.sub(lambda match: repr(float(match[0])), text)
    try:
        value = _walk(ast.parse(text, mode="eval").body, 0)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value if math.isfinite(value) else None


def _walk(node: ast.expr, depth: int) -> float:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _walk(node.operand, depth + 1)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _walk(node.left, depth + 1), _walk(node.right, depth + 1)
        if isinstance(node.op, ast.Pow):
            if abs(right) > MAX_EXPONENT or (left < 0 and not right.is_integer()):
                raise ValueError("exponent out of bounds")
            return float(left**right)
        if type(node.op) in _BINARY:
            return float(_BINARY[type(node.op)](left, right))
    raise ValueError(f"{type(node).__name__} is not arithmetic")
