"""What a token costs, as far as the optional package ``genai-prices`` knows."""


def find_rates(model: str, base_url: str) -> tuple[float, float] | None:
    """Return dollars per token read and per token written, or None where no price is known.

    List prices without discounts for cached prompts, so what they add up to is an upper bound.
    """
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    try:
        prices = [
            calc_price(usage, model, provider_api_url=base_url).total_price
            for usage in (Usage(input_tokens=1000, output_tokens=0), Usage(input_tokens=0, output_tokens=1000))
        ]
    except LookupError:
        return None
    return float(prices[0]) / 1000, float(prices[1]) / 1000
