"""Prices in a declaration become each operation's, or the mistake is told where it stands."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tidegate.catalog import ConfigErrors, load
from tidegate.domain.declaration import Provider
from tidegate.domain.price import Price

DECLARED = """\
version: 1
clients: {{acme: {{}}}}
consumers: {{shop: {{clients: [acme]}}}}
providers:
  api:
    origin: https://api.test
    auth: none
    operations: {{List: GET /items, Item: "GET /items/{{id}}", Ask: POST /answers}}
    {prices}
grants: [{{consumer: shop, provider: api, operations: ["*"]}}]
"""


def provider(folder: Path, prices: str) -> Provider:
    file = folder / "tidegate.yaml"
    file.write_text(DECLARED.format(prices=prices))
    (found,) = load(file).providers
    return found


def test_a_price_holds_for_all_but_what_has_its_own(tmp_path: Path):
    found = provider(tmp_path, "price: 0.002 EUR\n    prices: {Item: 1 USD, 'GET *': 0.5 EUR}")
    assert found.price_of("List") == Price(Decimal("0.5"), "EUR")
    assert found.price_of("Item") == Price(Decimal(1), "USD")
    assert str(found.price_of("Ask")) == "0.002 EUR"
    assert provider(tmp_path, "prices: {Ask: 2 EUR}").price_of("List") is None


@pytest.mark.parametrize(
    ("prices", "said", "hint"),
    [
        ("price: 0.002", "a price is an amount above zero with its currency", "`0.002 EUR`"),
        ("price: 0.0 EUR", "above zero", ""),
        ("price: -1 EUR", "above zero", ""),
        ("price: 1 euro", "above zero", ""),
        ("prices: {Itme: 1 EUR}", "no operation is called `Itme`", "`Item`"),
    ],
)
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, prices: str, said: str, hint: str):
    with pytest.raises(ConfigErrors) as wrong:
        provider(tmp_path, prices)
    first = str(wrong.value.errors[0])
    assert first.startswith(f"{tmp_path}/tidegate.yaml:9:")
    assert said in first.partition("\n")[0]
    assert hint in first
