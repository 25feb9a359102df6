"""Ask for consent in a person's browser, and judge the answer (RFC 6749 §4.1, RFC 7636, RFC 9207).

Pure: addresses and forms go out as values, and what the browser brings back comes in as values.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlencode

from tidegate.credentials.dpop import thumbprint
from tidegate.credentials.errors import CredentialRefused
from tidegate.credentials.token_endpoint import (
    TokenRefusedError,
    Trouble,
    answer_object,
    refusal_in,
)
from tidegate.domain.oauth import DPOP_KEY, TokenGrant
from tidegate.domain.secret import Secret

CODE_BYTES_MAX: Final = 4_096
PARAMETERS_MAX: Final = 32

_RANDOM_BYTES: Final = 32
_VISIBLE: Final = re.compile(r"[\x20-\x7e]+")
_WORD: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_REQUEST_URI: Final = re.compile(r"[A-Za-z0-9:._~%/?#@!$&'()*+,;=-]{1,2048}")
_OK: Final = frozenset({200, 201})


class Why(Enum):
    """Why there is no consent, for the page, the log and the person who connects."""

    LINK_UNKNOWN = "link_unknown"
    LINK_USED = "link_used"
    LINK_EXPIRED = "link_expired"
    PROVIDER_CHANGED = "provider_changed"
    OTHER_BROWSER = "other_browser"
    STATE_UNKNOWN = "state_unknown"
    ISSUER_WRONG = "issuer_wrong"
    ANSWER_UNREADABLE = "answer_unreadable"
    DENIED = "denied"
    PROVIDER_REFUSED = "provider_refused"
    PROVIDER_AWAY = "provider_away"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a word
    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_DIFFERS = "account_differs"


_SENTENCES: Final = {
    Why.LINK_UNKNOWN: "There is no such link; ask for a new one.",
    Why.LINK_USED: "The link was used already; it works once. If the account is not connected yet, ask "
    "for a new one.",
    Why.LINK_EXPIRED: "The link has expired; ask for a new one.",
    Why.PROVIDER_CHANGED: "The provider is not declared as it was; ask for a new link.",
    Why.OTHER_BROWSER: "The answer came from another browser than the one that began.",
    Why.STATE_UNKNOWN: "The answer belongs to no question that is open: it came twice, or too late. If "
    "the account is not connected yet, begin with a new link.",
    Why.ISSUER_WRONG: "The answer is not from the issuer that was asked (RFC 9207).",
    Why.ANSWER_UNREADABLE: "The provider's answer is not one that OAuth has.",
    Why.DENIED: "Consent was not given at the provider.",
    Why.PROVIDER_REFUSED: "The provider refused the question.",
    Why.PROVIDER_AWAY: "The provider does not answer at present; try again with a new link.",
    Why.TOKEN_REFUSED: "The provider took the consent and gave no token for it.",
    Why.ACCOUNT_UNKNOWN: "The provider did not say whose account it is, which is declared as "
    "`account`.",
    Why.ACCOUNT_DIFFERS: "Consent was given for another account than the connection is for; "
    "nothing was replaced. Sign in at the provider with that account.",
}


class ConsentRefused(CredentialRefused):
    """There is no consent. `word` is what the provider said, where it is one word of a known form."""

    def __init__(self, why: Why, word: str = "") -> None:
        super().__init__(_SENTENCES[why] + (f" It said `{word}`." if word else ""))
        self.why = why
        self.word = word


@dataclass(frozen=True, slots=True)
class Question:
    """What makes one question unlike any other; all of it is secret until it is asked."""

    state: Secret
    verifier: Secret
    nonce: Secret

    @classmethod
    def new(cls) -> Question:
        """Make one that nobody can guess."""
        return cls(*(Secret(secrets.token_urlsafe(_RANDOM_BYTES)) for _ in range(3)))


def parameters_of(
    grant: TokenGrant, fields: Mapping[str, Secret], redirect_uri: str, question: Question
) -> dict[str, str]:
    """Say what is asked. The challenge is always S256: `plain` would show the verifier (RFC 7636)."""
    challenge = hashlib.sha256(question.verifier.reveal()).digest()
    asked = dict(grant.authorize_parameters) | {
        "response_type": "code",
        "client_id": fields["client_id"].reveal().decode(),
        "redirect_uri": redirect_uri,
        "state": question.state.reveal().decode(),
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    if grant.scope:
        asked["scope"] = grant.scope
    if grant.dpop:
        # The code is bound to the key as well, so that nobody else turns it into tokens (RFC 9449 §10).
        asked["dpop_jkt"] = thumbprint(fields[DPOP_KEY])
    if "openid" in grant.scope.split():
        asked["nonce"] = question.nonce.reveal().decode()
    return asked


def address(grant: TokenGrant, asked: Mapping[str, str]) -> str:
    """Make the address that the person's browser is sent to."""
    return f"{grant.authorize_url}?{urlencode(asked)}"


def read_pushed(status: int, headers: Sequence[tuple[str, str]], body: bytes) -> str:
    """Read the reference to a question that was handed in beforehand (RFC 9126 §2.2).

    Raises:
        TokenRefusedError: it was not taken.
    """
    found = answer_object(body)
    reference = found.get("request_uri")
    if status not in _OK:
        raise refusal_in(status, headers, found)
    if not isinstance(reference, str) or not _REQUEST_URI.fullmatch(reference):
        raise TokenRefusedError(Trouble.OUR_FAULT, "unreadable_answer")
    return reference


def once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Take the parameters of an answer; none may stand twice (RFC 6749 §3.1).

    Raises:
        ConsentRefused: one does, or there are too many.
    """
    listed = list(pairs)
    found = dict(listed)
    if len(found) < len(listed) or len(listed) > PARAMETERS_MAX:
        raise ConsentRefused(Why.ANSWER_UNREADABLE)
    return found


def read_code(grant: TokenGrant, said: Mapping[str, str]) -> Secret:
    """Read the code of an answer whose `state` was found to be ours.

    Raises:
        ConsentRefused: the issuer is another, or consent was not given.
    """
    # Before anything else in it is believed: a mix-up would send the code to a stranger (RFC 9207 §2.4).
    issuer = said.get("iss")
    if (grant.iss and issuer is None) or (
        issuer is not None and grant.issuer and issuer != grant.issuer
    ):
        raise ConsentRefused(Why.ISSUER_WRONG)
    error = said.get("error")
    if error is not None:
        word = error if _WORD.fullmatch(error) else ""
        raise ConsentRefused(Why.DENIED if word == "access_denied" else Why.PROVIDER_REFUSED, word)
    code = said.get("code", "")
    if len(code) > CODE_BYTES_MAX or not _VISIBLE.fullmatch(code):
        raise ConsentRefused(Why.ANSWER_UNREADABLE)
    return Secret(code)
