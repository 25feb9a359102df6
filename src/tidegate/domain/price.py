"""What calls cost: an amount of money."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """A positive amount; `currency` is its ISO 4217 code."""

    amount: Decimal
    currency: str

    def times(self, calls: int) -> Price:
        """What so many calls cost."""
        return Price(self.amount * calls, self.currency)

    def plus(self, other: Price) -> Price:
        """Add an amount of the same currency."""
        return Price(self.amount + other.amount, self.currency)

    def __str__(self) -> str:
        """Write it as it is declared: `0.002 EUR`."""
        return f"{self.amount:f} {self.currency}"
