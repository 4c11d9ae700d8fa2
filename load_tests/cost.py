"""What a million requests cost, from the price of the machine and the rate that it keeps.

The price is the user's: `transfer bench --price-per-hour`, or the field in the report, which
recomputes the column. Energy is not added: it is in the price.
"""

from __future__ import annotations

PRICE_PER_HOUR = 0.10  # of a rented machine of two cores, in any currency: a start, to be edited


def cost_per_million(rate: float, price_per_hour: float) -> float:
    """In the currency of the price; raises ValueError for a rate of 0, which serves nobody."""
    if rate <= 0:
        raise ValueError(f"the rate is {rate}; expected requests a second")
    return price_per_hour / 3600 / rate * 1e6
