"""The names of classes that data declares: Parquet files of ``datasets``, and data sets on the hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsbs.core.untrusted import open_regular


def read_classes(path: Path) -> dict[str, list[str]]:
    """Return column -> class names that a Parquet file declares; empty where it cannot be read."""
    import pyarrow
    import pyarrow.parquet

    try:
        with open_regular(path) as opened:
            return class_names(pyarrow.parquet.read_schema(opened).metadata or {})
    except (OSError, pyarrow.ArrowException):
        return {}  # reported when its rows are read


def class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Return column -> class names in the metadata of a Parquet file, as ``datasets`` writes it.

    >>> class_names({b"huggingface": b'{"info": {"features": {"y": {"_type": "ClassLabel", "names": ["no", "yes"]}}}}'})
    {'y': ['no', 'yes']}
    """
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        found = {column: _inner(feature) for column, feature in features.items()}
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in found.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _inner(feature: Any) -> Any:
    """Return what a list holds, of a feature as ``datasets`` writes it; another feature as it is."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    return feature.get("feature", feature) if isinstance(feature, dict) else feature


def column_of(path: str) -> str:
    """Return the column of an element of a list, such as ``labels.0``; another column as it is.

    >>> column_of("labels.0"), column_of("meta.label")
    ('labels', 'meta.label')
    """
    column, dot, place = path.rpartition(".")
    return column if dot and place.isdecimal() else path


def name_classes(row: dict[str, Any], classes: Mapping[str, list[str]]) -> None:
    """Replace the numbers of classes in a row, or in its lists, by names, in place; one without a name stays."""
    for column in classes.keys() & row.keys():
        value, names = row[column], classes[column]
        row[column] = [_name(one, names) for one in value] if isinstance(value, list) else _name(value, names)


def _name(number: Any, names: list[str]) -> Any:
    """Return the name of a number, which may be a float: columns with gaps come so from pandas."""
    whole = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
    return names[int(number)] if whole and 0 <= number < len(names) else number
