"""What an issuer's metadata says of bound tokens is heeded."""

from __future__ import annotations

import pytest

from tidegate.credentials import CredentialRefused
from tidegate.credentials.discovery import filled
from tidegate.domain.oauth import TokenGrant

SAID = {"issuer": "https://id.test", "token_endpoint": "https://id.test/token"}
ALIASES = {"mtls_endpoint_aliases": {"token_endpoint": "https://mtls.id.test/token"}}


def test_who_shows_a_certificate_is_sent_to_the_endpoints_for_it():
    """RFC 8705 §5."""
    grant = TokenGrant("client_credentials", issuer="https://id.test")
    assert filled(grant, SAID | ALIASES).token_url == "https://id.test/token"
    shown = filled(grant, SAID | ALIASES, shows_certificate=True)
    assert shown.token_url == "https://mtls.id.test/token"
    assert filled(grant, SAID, shows_certificate=True).token_url == "https://id.test/token"
    plain = SAID | {"mtls_endpoint_aliases": {"token_endpoint": "http://mtls.id.test/token"}}
    with pytest.raises(CredentialRefused, match="https://host/path"):
        filled(grant, plain, shows_certificate=True)


def test_a_proof_that_the_issuer_does_not_take_is_refused_beforehand():
    """RFC 9449 §5.1."""
    grant = TokenGrant("client_credentials", issuer="https://id.test", dpop="EdDSA")
    assert filled(grant, SAID).dpop == "EdDSA"
    takes = {"dpop_signing_alg_values_supported": ["ES256"]}
    with pytest.raises(CredentialRefused, match="leaves out `EdDSA`"):
        filled(grant, SAID | takes)
