"""Three forms of URL mean the same call."""

from __future__ import annotations

import pytest
from support.declared import DECLARATION

from tidegate.app.explaining import request_for
from tidegate.engine import ExplainRequest


def asked(url: str) -> ExplainRequest:
    return request_for(DECLARATION, "shop", "GET", url, client="acme", connection=None)


@pytest.mark.parametrize(
    "url",
    [
        "/stripe/v1/charges?limit=3",
        "http://127.0.0.1:8080/stripe/v1/charges?limit=3",
        "https://api.stripe.test/v1/charges?limit=3",
        "https://API.stripe.test:443/v1/charges?limit=3",
    ],
)
def test_path_gateway_address_and_provider_address_are_one_call(url: str):
    assert asked(url).target == "/stripe/v1/charges?limit=3"


def test_path_is_judged_as_it_was_written():
    assert asked("https://api.stripe.test/v1/%2e%2e//x#y").target == "/stripe/v1/%2e%2e//x#y"


def test_address_alone_means_its_root():
    assert asked("https://api.stripe.test").target == "/stripe/"


def test_host_goes_along_for_providers_that_are_known_by_it():
    assert asked("https://pay.gate.test/v1/charges").host == "pay.gate.test"


def test_client_goes_along():
    assert asked("/stripe/v1/charges").client == "acme"
