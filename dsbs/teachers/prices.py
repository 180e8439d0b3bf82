"""What a token costs, as far as the optional package ``genai-prices`` knows."""

Rates = tuple[float, float]


def find_rates(model: str, base_url: str, *, batch: bool = False) -> Rates | None:
    """Return dollars per token read and per token written, or None where no price is known.

    List prices without discounts for cached prompts, so what they add up to is an upper bound.

    Args:
        model: its name at the endpoint.
        base_url: the endpoint.
        batch: the prices of its batch API; None where only the others are known.
    """
    found = _look_up(model, base_url, {"processing": "batch"} if batch else None)
    # Where the list has no price for batches, it answers with the other one.
    return None if batch and found == _look_up(model, base_url, None) else found


def _look_up(model: str, base_url: str, context: dict[str, str] | None) -> Rates | None:
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    try:
        prices = [
            calc_price(usage, model, provider_api_url=base_url, price_context=context).total_price
            for usage in (Usage(input_tokens=1000, output_tokens=0), Usage(input_tokens=0, output_tokens=1000))
        ]
    except LookupError:
        return None
    return float(prices[0]) / 1000, float(prices[1]) / 1000
