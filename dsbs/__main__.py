"""``python -m dsbs COMMAND …`` is ``dsbs COMMAND …``, also where the console script is not on the path."""

from dsbs.cli.main import main

if __name__ == "__main__":
    main()
