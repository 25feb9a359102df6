"""What Tidegate's policy of the bench does to a person, for peers that are extended in Python."""

from __future__ import annotations

import base64
import hashlib
import json
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY = AESGCM(AESGCM.generate_key(256))
_VISIBLE = 4


def protect(body: bytes) -> bytes:
    """One value becomes a token, one a hash, one is masked; the rest goes as it is."""
    person = json.loads(body)
    nonce = os.urandom(12)
    sealed = nonce + _KEY.encrypt(nonce, person["email"].encode(), b"acme items email")
    person["email"] = "tok1." + base64.urlsafe_b64encode(sealed).decode()
    login = person["login"].strip().lower()
    person["login"] = hashlib.sha256(login.encode()).hexdigest()
    hidden = len(person["card"]) - _VISIBLE
    person["card"] = "*" * hidden + person["card"][hidden:]
    return json.dumps(person).encode()
