"""What an extraction costs: estimated before, counted during, bounded always."""

from dataclasses import dataclass

from dsbs.core.errors import ConfigError
from dsbs.core.records import Completion, Request
from dsbs.extraction.settings import Budget
from dsbs.store import Totals
from dsbs.teachers.prices import Rates

CHARACTERS_PER_TOKEN = 4
# Where neither the settings nor earlier completions tell how long an answer may become.
GUESSED_COMPLETION_TOKENS = 512


@dataclass
class Reservation:
    """Tokens set aside for requests under way."""

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
    """Counts what was spent and what is under way, and tells when the next request would pass a bound.

    Args:
        budget: the bounds.
        rates: dollars per token read and written from now on, or None where no price is known.
        before: what the store holds already; it was spent, too.
        most_written: most tokens of a completion, where the teacher has such a bound.
        usd_before: dollars that it cost, where some of it came at other rates; None: reckoned at these.
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
        reckoned = self.price(self.prompt_tokens, self.completion_tokens)
        self._at_other_rates = 0.0 if usd_before is None or reckoned is None else usd_before - reckoned
        self.reserved = Reservation(requests=0)
        self._characters = 0
        self._told_tokens = 0
        self.guessed = False
        self._shots: tuple[tuple[str, str], ...] = ()
        self._shots_length = 0

    @property
    def usd(self) -> float | None:
        """Dollars so far, or None where no price is known."""
        return self._total(self.prompt_tokens, self.completion_tokens)

    @property
    def tokens(self) -> int:
        """Tokens so far, read and written."""
        return self.prompt_tokens + self.completion_tokens

    def _total(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        price = self.price(prompt_tokens, completion_tokens)
        return None if price is None else price + self._at_other_rates

    def price(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        """Return what tokens cost in dollars from now on, or None where no price is known."""
        return None if self.rates is None else self.rates[0] * prompt_tokens + self.rates[1] * completion_tokens

    def characters(self, request: Request) -> int:
        """Return the length of all that is sent with a request; the shots, shared by all, are measured once."""
        if request.shots is not self._shots:
            self._shots = request.shots
            self._shots_length = sum(len(question) + len(answer) for question, answer in request.shots)
        return self._shots_length + len(request.instruction) + len(request.question)

    def estimate(self, characters: float, completions: int = 1) -> Reservation:
        """Return how many tokens a request of so many characters may use, from what the server told so far."""
        per_token = self._characters / self._told_tokens if self._told_tokens else CHARACTERS_PER_TOKEN
        written = self.most_written or (2 * self.mean_written if self.requests else GUESSED_COMPLETION_TOKENS)
        return Reservation(completions, characters / per_token, completions * written)

    @property
    def mean_written(self) -> float:
        """Tokens of an average completion so far."""
        return self.completion_tokens / self.requests if self.requests else 0.0

    def exceeded(self, more: Reservation) -> str | None:
        """Return the bound that would be passed if ``more`` came on top of what is under way, or None."""
        prompt = self.prompt_tokens + self.reserved.prompt_tokens + more.prompt_tokens
        written = self.completion_tokens + self.reserved.completion_tokens + more.completion_tokens
        would_be = {
            "requests": self.requests + self.reserved.requests + more.requests,
            "tokens": prompt + written,
            "usd": self._total(prompt, written),
        }
        for name, value in would_be.items():
            bound = getattr(self.budget, name)
            if bound is not None and value is not None and value > bound:
                return f"budget.{name}={bound:g}"
        return None

    def reserve(self, more: Reservation, sign: int = 1) -> None:
        """Set tokens aside for a request, or with ``sign=-1`` free them again."""
        self.reserved.requests += sign * more.requests
        self.reserved.prompt_tokens += sign * more.prompt_tokens
        self.reserved.completion_tokens += sign * more.completion_tokens

    def assume(self, characters: float) -> None:
        """Put estimates in the place of token counts that the server did not tell for what the store holds.

        Args:
            characters: length of what an average request sends.
        """
        if self.requests and not self.prompt_tokens:
            self.guessed = True
            told = self.estimate(characters * self.requests, self.requests)
            self.prompt_tokens, self.completion_tokens = round(told.prompt_tokens), round(told.completion_tokens)

    def count(self, request: Request, completion: Completion) -> None:
        """Count a completion that came."""
        self.requests += 1
        characters = self.characters(request)
        if completion.prompt_tokens is None:
            self.guessed = True
            self.prompt_tokens += round(characters / CHARACTERS_PER_TOKEN)
            self.completion_tokens += round(len(completion.text) / CHARACTERS_PER_TOKEN)
            return
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens or 0
        if completion.prompt_tokens:  # 0 for all but one of several samples that came together
            self._characters += characters
            self._told_tokens += completion.prompt_tokens

    def check(self) -> None:
        """Refuse a bound in dollars where no price is known.

        Raises:
            ConfigError: with the settings that give a price.
        """
        if self.budget.usd is not None and self.rates is None:
            raise ConfigError(
                f"budget.usd={self.budget.usd:g}, but no price is known for this model. Set teacher.prompt_price and "
                "teacher.completion_price (dollars for a million tokens), install dsbs[cost], or set budget.tokens."
            )


def reckon(tokens: tuple[int, int], batched: tuple[int, int], rates: Rates, batch_rates: Rates) -> float:
    """Return dollars for tokens (read, written), some of them at the price of a batch.

    >>> reckon((100, 10), (60, 10), (1.0, 2.0), (0.5, 1.0))
    80.0
    """
    return sum(
        (count - cheap) * rate + cheap * batch_rate
        for count, cheap, rate, batch_rate in zip(tokens, batched, rates, batch_rates, strict=True)
    )
