"""What the pages say can be typed: their commands compose, their keys exist, their links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from dsbs.cli.config import ROOTS
from dsbs.cli.settings import compose_settings
from dsbs.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
START = re.compile(rf"(?:^|\s)(?:dsbs |(?:python )?-m dsbs\.)({'|'.join(ROOTS)})(?=\s|$)")
# Flags, and words whose value the reader fills in.
OPEN = re.compile(r"^-(?!.*=)|=(…|\.\.\.|NAME)$|^(…|\.\.\.)$|^(launcher|search)=")
ARRAY = re.compile(r"^(\w+)=\((.*)\)$")
GROUPS = (
    "task|teacher|prompt|filter|objective|student|training|control|tracking|batch|ray|budget|validation|chat|record"
)
KEY = re.compile(rf"`'?((?:{GROUPS}|deferral|limits)\.[a-z_A-Z0-9.]+)(?:=[^`]*)?`")

OPTIONS = (
    "task",
    "teacher",
    "prompt",
    "filter",
    "objective",
    "student",
    "training",
    "control",
    "experiment",
    "executor",
)


def code(page: Path) -> Iterator[str]:
    """Yield the lines of code of a page, continued lines joined, and what stands in backticks in its prose."""
    fenced, held = False, ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            held += line.strip()
            if held.endswith("\\"):
                held = held[:-1]
                continue
            yield held
            held = ""
        else:
            yield from re.findall(r"`([^`]+)`", line)


def first_of(word: str) -> str:
    """Return a word of a sweep with the first of its values."""
    key, _, value = word.partition("=")
    return word if re.match(r"[\[{'\"]", value) else f"{key}={value.split(',')[0]}"


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of a page and their words, places to fill in filled in."""
    arrays: dict[str, list[str]] = {}
    for line in code(page):
        if found := ARRAY.match(line):
            arrays[found[1]] = shlex.split(found[2])
        if not (found := START.search(line)) or "COMMAND" in line:
            continue
        words: list[str] = []
        for word in shlex.split(line[found.end() :], comments=True):
            name = re.fullmatch(r"\$\{(\w+)\[@\]\}", word)
            words += arrays[name[1]] if name else [word]
        if (words and words[0] == "…") or "--config-dir" in words:
            continue
        sweep = "-m" in words
        words = [
            word.replace("…", "x").replace("$seed", "0").replace("$", "") for word in words if not OPEN.search(word)
        ]
        words = [first_of(word) if sweep else word for word in words]
        yield found[1], words


def tried(command: str, word: str) -> tuple[str, str]:
    """Return what a word adds to what was tried: an option, or else a key, whatever its value."""
    key = word.partition("=")[0]
    return command, word if key in OPTIONS else key


def test_the_commands_of_the_pages_compose() -> None:
    seen: set[tuple[str, str]] = set()
    faults: list[str] = []
    for page in PAGES:
        for command, words in commands(page) if page.stem != "extending" else ():  # its options are a reader's own
            new = {tried(command, word) for word in words} - seen
            if new and all("=" in word for word in words):
                try:
                    compose_settings(command, words)
                except ConfigError as error:
                    faults.append(f"{page.name}: dsbs {command} {shlex.join(words)}\n{error}")
                seen |= new
    assert faults == []


def test_the_pages_have_commands() -> None:
    assert sum(1 for page in PAGES for _ in commands(page)) > 60
    assert ("train", ["experiment=one_eighth"]) in list(commands(ROOT / "docs" / "sweeps-and-clusters.md"))


def test_the_keys_that_pages_name_exist() -> None:
    reference = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^\| `([\w.]+)` \|", reference, re.M))
    known |= {key.rpartition(".")[0] for key in known}
    for page in PAGES:
        for key in KEY.findall(page.read_text(encoding="utf-8")):
            parents = {key, key.rpartition(".")[0]}  # `teacher.extra.reasoning_effort` is of `teacher.extra`
            assert parents & known, f"{page.name}: {key}"


def test_links_lead_to_files() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"
