"""A sandbox of a provider that issues tokens takes one that lasts."""

from __future__ import annotations

from tidegate.domain.attach import fields_of
from tidegate.sandbox.serve import contract_of


def test_a_preset_with_issued_tokens_is_played_with_one_that_lasts():
    assert fields_of(contract_of("paypal").attach) == ("token",)
    assert fields_of(contract_of("stripe").attach) == ("token",)
