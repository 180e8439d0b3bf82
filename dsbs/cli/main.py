"""The console script ``dsbs``: ``dsbs train …`` is ``python -m dsbs.train …``."""

import difflib
import sys
from importlib import import_module

from dsbs import __version__
from dsbs.cli.config import ROOTS


def main() -> None:
    """Run the command that the first word names; exit with code 1 where there is none of that name."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        from dsbs.cli.help import show_commands

        sys.stdout.write(f"{show_commands()}\n")
    elif name == "--version":
        sys.stdout.write(f"dsbs {__version__}\n")
    elif name in ROOTS:
        sys.argv = [f"dsbs {name}", *words]
        import_module(f"dsbs.{name}").main()
    else:
        close = difflib.get_close_matches(name, ROOTS, n=1)
        hint = f"Did you mean dsbs {close[0]}?" if close else f"Commands: {', '.join(ROOTS)}."
        sys.stderr.write(f"dsbs: {name}: there is no such command. {hint}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
