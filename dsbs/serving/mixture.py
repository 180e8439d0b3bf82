"""What recorded requests have besides the input that a student reads: signs that they are not about one task."""

import json
from typing import Any

from dsbs.core.units import pluralize

SYSTEM = ("system", "developer")  # roles of instructions


class Mixture:
    """Counts requests with earlier messages of the user, and different system prompts."""

    def __init__(self) -> None:
        self.earlier = 0
        self.systems: set[int] = set()

    def add(self, messages: list[Any]) -> None:
        """Count a request."""
        fields = [message for message in messages if isinstance(message, dict)]
        self.earlier += sum(message.get("role") == "user" for message in fields) > 1
        instructions = [message.get("content") for message in fields if message.get("role") in SYSTEM]
        self.systems.add(hash(json.dumps(instructions)))

    def describe(self) -> list[str]:
        """Return what was found, in sentences."""
        sentences = []
        if self.earlier:
            sentences.append(
                f"{pluralize(self.earlier, 'request')} with earlier messages of the user: only the last one is the "
                "input. If they are conversations, and not examples, a student lacks what was said before."
            )
        if len(self.systems) > 1:
            sentences.append(
                f"{len(self.systems):,} different system prompts: are all of these requests about one task? "
                "chat.template keeps those whose message matches it."
            )
        return sentences
