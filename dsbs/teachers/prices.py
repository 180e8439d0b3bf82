"""List prices of tokens, from the optional package ``genai-prices``."""

Rates = tuple[float, float]  # dollars per prompt token and per completion token


def find_rates(model: str, base_url: str, *, batch: bool = False) -> Rates | None:
    """Return dollars per prompt token and per completion token, or None where no price is known.

    These are list prices without discounts for cached prompts, so sums are upper bounds.

    Args:
        batch: return the prices of the batch API, or None where there are no special ones.
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
