"""Figures in words, for tables and messages: counts, shares, durations and sizes."""

from fractions import Fraction


def show_percent(share: float | None) -> str:
    """Return a share as a percentage: ``51.2%``; an empty text for None."""
    return "" if share is None else f"{100 * share:.1f}%"


def show_fraction(fraction: float) -> str:
    """Return a share of the data as a simple fraction or a percentage.

    >>> show_fraction(0.125), show_fraction(1.0), show_fraction(0.333333), show_fraction(0.07)
    ('1/8', 'all', '1/3', '7%')
    """
    if fraction == 1:
        return "all"
    simple = Fraction(fraction).limit_denominator(128)
    if simple.numerator == 1 and abs(float(simple) - fraction) < 1e-4:
        return f"1/{simple.denominator}"
    return f"{100 * fraction:g}%"


def show_count(value: float | None) -> str:
    """Return a number with thousands separated: ``4,800``; an empty text for None."""
    return "" if value is None else f"{value:,.0f}"


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun, which takes an ``s`` unless the count is 1.

    >>> pluralize(1, "seed"), pluralize(2000, "row")
    ('1 seed', '2,000 rows')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def show_duration(seconds: float | None) -> str:
    """Return a duration in a suitable unit; an empty text for None.

    >>> show_duration(9.4), show_duration(125), show_duration(7500), show_duration(86400)
    ('9 s', '2.1 min', '2.1 h', '24 h')
    """
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    value, unit = (seconds / 60, "min") if seconds < 7200 else (seconds / 3600, "h")
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def show_size(size: float | None) -> str:
    """Return a size in bytes in a suitable unit: ``12 kB``, ``1.6 MB``; an empty text for None."""
    if size is None:
        return ""
    return f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
