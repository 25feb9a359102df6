"""Sign calls to Akamai as its EdgeGrid scheme wants: a key for each second, which no template can make.

Declared by `auth: {hook: "edgegrid:sign", …}`; see docs/guides/signing-hooks.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from urllib.parse import urlsplit

from tidegate.domain.hook import Signed, SigningCall

HASHED_MAX = 131_072
"""How many bytes of a body the signature covers."""


def sign(call: SigningCall) -> Signed:
    """Give the `Authorization` of one call."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H:%M:%S+0000")
    return Signed(headers={"Authorization": authorization(call, now, secrets.token_hex(16))})


def authorization(call: SigningCall, timestamp: str, nonce: str) -> str:
    """Make it for one moment and one nonce."""
    client_token = call.fields["client_token"].reveal().decode()
    access_token = call.fields["access_token"].reveal().decode()
    said = (
        f"EG1-HMAC-SHA256 client_token={client_token};access_token={access_token};"
        f"timestamp={timestamp};nonce={nonce};"
    )
    url = urlsplit(call.url)
    target = url.path + (f"?{url.query}" if url.query else "")
    hashed = call.method == "POST" and call.body
    body = _base64(hashlib.sha256(call.body[:HASHED_MAX]).digest()) if hashed else ""
    text = f"{call.method}\t{url.scheme}\t{url.netloc}\t{target}\t\t{body}\t{said}"
    key = _hmac(call.fields["client_secret"].reveal(), timestamp)
    return f"{said}signature={_hmac(key.encode(), text)}"


def _hmac(key: bytes, text: str) -> str:
    return _base64(hmac.digest(key, text.encode(), "sha256"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
