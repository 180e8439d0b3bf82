"""Write ``docs/config.md`` from the docstrings of the settings: python scripts/config_docs.py."""

from pathlib import Path

from dsbs.cli.reference import write_reference

if __name__ == "__main__":
    (Path(__file__).resolve().parents[1] / "docs" / "config.md").write_text(write_reference(), encoding="utf-8")
