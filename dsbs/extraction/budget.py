"""The cost of an extraction: estimates, counts and bounds."""

from dataclasses import dataclass

from dsbs.core.errors import ConfigError
from dsbs.core.records import Completion, Request
from dsbs.extraction.settings import Budget
from dsbs.store import Totals
from dsbs.teachers.prices import Rates

CHARACTERS_PER_TOKEN = 4
# Assumed where neither the settings nor earlier completions bound the length of an answer.
GUESSED_COMPLETION_TOKENS = 512


@dataclass
class Reservation:
    """Tokens of requests in flight, or of those that were lost."""

    requests: int = 1
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0

    def __add__(self, other: "Reservation") -> "Reservation":
        return Reservation(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


class Spending:
    """Counts what was spent and what is in flight, and checks requests against the budget.

    Args:
        rates: dollars per prompt and completion token of new requests, or None where no price is known.
        before: totals of the store, which count as spent.
        usd_before: cost of ``before`` in dollars, where some of it had other rates; None: at ``rates``.

    Attributes:
        lost: estimated tokens of requests that were given up after they were sent: they may be billed.
        guessed: whether token counts were estimated, because the server did not return them.
    """

    def __init__(
        self,
        budget: Budget,
        rates: Rates | None,
        before: Totals,
        most_written: int | None = None,
        usd_before: float | None = None,
    ) -> None:
        self.budget, self.rates, self.most_written = budget, rates, most_written
        self.requests, self.prompt_tokens, self.completion_tokens = before
        at_rates = self.price(self.prompt_tokens, self.completion_tokens)
        self._at_other_rates = 0.0 if usd_before is None or at_rates is None else usd_before - at_rates
        self.reserved, self.lost = Reservation(requests=0), Reservation(requests=0)
        self._characters = 0
        self._told_tokens = 0
        self.guessed = False
        self._shots: tuple[tuple[str, str], ...] = ()
        self._shots_length = 0

    @property
    def usd(self) -> float | None:
        """Dollars spent, or None where no price is known."""
        return self._total(
            self.prompt_tokens + self.lost.prompt_tokens, self.completion_tokens + self.lost.completion_tokens
        )

    @property
    def tokens(self) -> int:
        """Tokens spent: of prompts and completions."""
        lost = self.lost.prompt_tokens + self.lost.completion_tokens
        return self.prompt_tokens + self.completion_tokens + round(lost)

    def _total(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        price = self.price(prompt_tokens, completion_tokens)
        return None if price is None else price + self._at_other_rates

    def price(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        """Return the price of tokens in dollars at ``rates``, or None where no price is known."""
        return None if self.rates is None else self.rates[0] * prompt_tokens + self.rates[1] * completion_tokens

    def characters(self, request: Request) -> int:
        """Return the length of a request in characters: shots, instruction and question."""
        if request.shots is not self._shots:
            self._shots = request.shots
            self._shots_length = sum(len(question) + len(answer) for question, answer in request.shots)
        return self._shots_length + len(request.instruction) + len(request.question)

    def estimate(self, characters: float, completions: int = 1) -> Reservation:
        """Return the tokens that a request may use, estimated from those counted so far."""
        per_token = self._characters / self._told_tokens if self._told_tokens else CHARACTERS_PER_TOKEN
        written = self.most_written or (2 * self.mean_written if self.requests else GUESSED_COMPLETION_TOKENS)
        return Reservation(completions, characters / per_token, completions * written)

    @property
    def mean_written(self) -> float:
        """Mean tokens of a completion so far; 0.0 before the first."""
        return self.completion_tokens / self.requests if self.requests else 0.0

    def exceeded(self, more: Reservation) -> str | None:
        """Return the bound, as a setting, that would be exceeded by ``more`` on top of what is in flight; or None."""
        taken = self.reserved + self.lost + more
        prompt, written = self.prompt_tokens + taken.prompt_tokens, self.completion_tokens + taken.completion_tokens
        would_be = {
            "requests": self.requests + self.reserved.requests + more.requests,
            "tokens": prompt + written,
            "usd": self._total(prompt, written),
        }
        for name, value in would_be.items():
            bound = getattr(self.budget, name)
            if bound is not None and value is not None and value > bound:
                first = not self.requests and not self.reserved.requests
                least = f", less than the {value:.2g} that a first request may take," if first else ""
                return f"budget.{name}={bound:g}{least}"
        return None

    def reserve(self, more: Reservation, sign: int = 1) -> None:
        """Reserve tokens for a request, or with ``sign=-1`` release them."""
        self.reserved.requests += sign * more.requests
        self.reserved.prompt_tokens += sign * more.prompt_tokens
        self.reserved.completion_tokens += sign * more.completion_tokens

    def assume(self, characters: float) -> None:
        """Estimate the tokens of the stored completions, where the server did not return counts.

        Args:
            characters: mean length of a request.
        """
        if self.requests and not (self.prompt_tokens and self.completion_tokens):
            self.guessed = True
            estimate = self.estimate(characters * self.requests, self.requests)
            self.prompt_tokens = self.prompt_tokens or round(estimate.prompt_tokens)
            self.completion_tokens = self.completion_tokens or round(estimate.completion_tokens)

    def count(self, request: Request, completion: Completion) -> None:
        """Count the tokens of a new completion."""
        self.requests += 1
        characters, read, written = self.characters(request), completion.prompt_tokens, completion.completion_tokens
        self.guessed |= read is None or written is None
        text = len(completion.text) + len(completion.reasoning or "")
        self.prompt_tokens += round(characters / CHARACTERS_PER_TOKEN) if read is None else read
        self.completion_tokens += round(text / CHARACTERS_PER_TOKEN) if written is None else written
        if read:  # 0 for all but one of several samples that came together
            self._characters += characters
            self._told_tokens += read

    def lose(self, cost: Reservation) -> None:
        """Count the estimated tokens of a request that was given up after it was sent: it may be billed."""
        self.lost += cost

    def describe_lost(self) -> list[str]:
        """Return a sentence for the user about what was lost, if anything was."""
        if not self.lost.requests:
            return []
        return [
            f"{self.lost.requests:,} attempts timed out. The endpoint may bill them: budgets count them, the cost in "
            "the summary does not. If answers take longer, raise teacher.timeout."
        ]

    def check(self) -> None:
        """Check that there is a price, where the budget has a bound in dollars.

        Raises:
            ConfigError: with the settings that give a price.
        """
        if self.budget.usd is not None and self.rates is None:
            raise ConfigError(
                f"budget.usd={self.budget.usd:g}, but no price is known for this model. Set teacher.prompt_price and "
                "teacher.completion_price (dollars per million tokens), install dsbs[cost], or set budget.tokens."
            )


def price_tokens(tokens: tuple[int, int], batched: tuple[int, int], rates: Rates, batch_rates: Rates) -> float:
    """Return the price of tokens in dollars, some of them at the price of batches.

    Args:
        tokens: all (prompt, completion) tokens.
        batched: those of batches.

    >>> price_tokens((100, 10), (60, 10), (1.0, 2.0), (0.5, 1.0))
    80.0
    """
    return sum(
        (count - cheap) * rate + cheap * batch_rate
        for count, cheap, rate, batch_rate in zip(tokens, batched, rates, batch_rates, strict=True)
    )
