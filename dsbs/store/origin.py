"""The origin of requests (teacher and prompt), their keys, and the failures among them."""

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from dsbs.core.records import Completion, Request
from dsbs.core.untrusted import Fields


@dataclass(frozen=True, slots=True)
class Origin:
    """Teacher and prompt: what all requests of an extraction share.

    Attributes:
        number: its row in the store's table ``origins``.
        prefix: hash over the identities and the rendered prompt, without the question.
        by_id: whether the same question about another example is another request (a replay joins by example).
    """

    number: int
    prefix: bytes
    by_id: bool = False

    def key(self, request: Request) -> bytes:
        """Return the key of a request: a hash of 16 bytes over origin, question, instruction and sample."""
        where = f"{request.split}\0{request.id}\0" if self.by_id else ""
        # The instruction may name the example's own choices, so it counts with the question.
        text = f"{request.sample}\0{where}{request.instruction}\0{request.question}"
        if request.answer_format == "json" and request.choices:
            # The endpoint is held to them, whether they are to be read or not.
            hidden = [choice for choice in request.choices if choice not in text]
            text += f"\0{request.choices}" if hidden else ""
        return hashlib.blake2b(text.encode(errors="surrogatepass"), key=self.prefix, digest_size=16).digest()


class Totals(NamedTuple):
    """Completions so far, and their tokens."""

    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Spent(NamedTuple):
    """What the completions of a split took.

    Attributes:
        all: their totals.
        batched: totals of those that came with batches.
        uncounted: completions without token counts.
    """

    all: Totals = Totals()
    batched: Totals = Totals()
    uncounted: int = 0


class Failure(NamedTuple):
    """Why a request ended without a completion; the next run sends it again."""

    reason: str
    message: str


Outcome = Completion | Failure  # of a request


def name_origin(identity: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the names of task and teacher in an origin's identity; None where they are missing."""
    fields = Fields(identity)
    teacher = fields.inside("teacher")
    return fields.inside("task").text("name"), teacher.text("model") or teacher.text("kind")
