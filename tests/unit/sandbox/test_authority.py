"""The authority vouches for what it signed, where it is trusted, while the leaf lasts."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tidegate.sandbox import Authority, Sandbox

from .conftest import consumer


def test_leaf_is_trusted_where_the_authority_is(shop: Sandbox):
    with consumer(shop) as client:
        assert client.get("/-/received").status_code == 200


def test_leaf_is_not_trusted_by_another_authority(shop: Sandbox):
    context = ssl.create_default_context(cadata=Authority().pem.decode())
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(shop.origin, verify=context, trust_env=False)


@pytest.mark.parametrize(
    ("names", "lifetime", "complaint"),
    [
        (["127.0.0.1"], timedelta(days=-1), "has expired"),
        (["elsewhere.test"], timedelta(days=1), "IP address mismatch"),
    ],
)
def test_bad_leaf_is_refused_for_what_is_wrong_with_it(
    shop_file: Path, names: list[str], lifetime: timedelta, complaint: str
):
    authority = Authority()
    certificate = authority.certificate(names, lifetime=lifetime)
    with (
        Sandbox.from_document(shop_file, authority=authority, certificate=certificate) as shop,
        consumer(shop) as client,
        pytest.raises(httpx.ConnectError, match=complaint),
    ):
        client.get("/-/received")


def test_authority_offers_its_certificate_in_a_file_and_no_key(shop: Sandbox):
    offered = shop.ca_file.read_text()
    assert offered == shop.ca_pem
    assert "PRIVATE KEY" not in offered
    assert b"PRIVATE KEY" in shop.authority.key_pem().reveal()


def test_authority_file_goes_with_the_sandbox(shop_file: Path):
    with Sandbox.from_document(shop_file) as shop:
        offered = shop.ca_file
        assert offered.exists()
    assert not offered.exists()
