"""Which examples a run uses. Subsets of one seed are nested: those at 1/8 are among those at 1/4."""

import hashlib
import math
from collections.abc import Iterable
from fractions import Fraction

from dsbs.errors import ConfigError


def parse_fraction(value: float | str) -> float:
    """Read a share of the data, ``0 < f <= 1``.

    >>> parse_fraction("1/8"), parse_fraction(0.25), parse_fraction("1")
    (0.125, 0.25, 1.0)
    """
    try:
        fraction = float(Fraction(str(value).strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        fraction = math.nan
    if not 0 < fraction <= 1:
        raise ConfigError(f"data_fraction={value}: expected a share above 0 and up to 1, such as 0.125 or 1/8.")
    return fraction


def rank_of(id: str, seed: int, purpose: str) -> bytes:
    """Return the place of an id in a random order that depends on seed and purpose alone, not on other ids."""
    return hashlib.blake2b(f"{purpose}\0{seed}\0{id}".encode(), digest_size=8).digest()


def sample_ids(ids: Iterable[str], count: int, seed: int, purpose: str = "fraction") -> set[str]:
    """Draw ``count`` ids; a smaller draw of the same seed and purpose is a subset of a larger one."""
    return set(sorted(ids, key=lambda id: rank_of(id, seed, purpose))[:count])


def sample_fraction(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Draw a share of the ids, at least one.

    >>> ids = [str(i) for i in range(80)]
    >>> eighth, quarter = sample_fraction(ids, 1 / 8, seed=0), sample_fraction(ids, 1 / 4, seed=0)
    >>> len(eighth), len(quarter), eighth < quarter
    (10, 20, True)
    """
    ids = list(ids)
    return sample_ids(ids, max(1, round(fraction * len(ids))) if ids else 0, seed)


def cut_validation(ids: Iterable[str], share: float, split_seed: int) -> set[str]:
    """Draw the ids that become the validation split where the source has none; the same at every fraction."""
    ids = list(ids)
    return sample_ids(ids, round(share * len(ids)), split_seed, purpose="validation")
