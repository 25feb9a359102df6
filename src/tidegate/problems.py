"""Every failure that Tidegate reports on the wire: one list, for both halves.

The engine holds the same list in `error.rs`; a contract test compares the two, and another asks for
one page per code in `docs/problems`. A refusal is an RFC 9457 problem document whose `type` is
`urn:tidegate:problem:CODE`: a name (in the style of RFC 8141) and no address, because a name needs
no host that somebody must own and keep, and is the same on every installation.

The texts here are public: they say what happened in general. What happened in one call is the
problem's `detail`, written by the step that refused it, and never holds a value from the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

TYPE_PREFIX: Final = "urn:tidegate:problem:"


class Fixer(StrEnum):
    """Who can do something about a problem."""

    CONSUMER = "consumer"
    """Whoever writes the application that calls through Tidegate."""
    OPERATOR = "operator"
    """Whoever runs this Tidegate: the file, the connections, the machine."""
    PROVIDER = "provider"
    """The third party; the operator can only report it to them."""
    TIDEGATE = "tidegate"
    """A defect of Tidegate itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which a call can fail."""

    code: str
    status: int
    title: str
    text: str
    fixer: Fixer

    @property
    def type(self) -> str:
        """Name the problem as it stands in a problem document's `type`."""
        return TYPE_PREFIX + self.code


_LIST: Final = (
    # listen: what arrived is no request that may be read.
    Problem(
        "malformed_request",
        400,
        "The request is not well formed",
        "The request breaks a rule of HTTP that Tidegate does not bend, so it was not forwarded.",
        Fixer.CONSUMER,
    ),
    Problem(
        "too_large",
        413,
        "The request body is too large",
        "The request's body is larger than the provider's declaration allows.",
        Fixer.CONSUMER,
    ),
    Problem(
        "uri_too_long",
        414,
        "The request target is too long",
        "The request's target is longer than Tidegate reads.",
        Fixer.CONSUMER,
    ),
    Problem(
        "head_too_large",
        431,
        "The request head is too large",
        "The request has more header fields, or larger ones, than Tidegate reads.",
        Fixer.CONSUMER,
    ),
    Problem(
        "timeout",
        408,
        "The request took too long to arrive",
        "The request's head or body stopped arriving before it was complete.",
        Fixer.CONSUMER,
    ),
    Problem(
        "method_not_allowed",
        405,
        "The method is never passed on",
        "Tidegate carries GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and QUERY, no other method.",
        Fixer.CONSUMER,
    ),
    # authenticate: who is calling.
    Problem(
        "unauthenticated",
        401,
        "No valid access token",
        "The call shows no access token, or one that is unknown, revoked or expired.",
        Fixer.CONSUMER,
    ),
    # route: where the call goes, and for whom.
    Problem(
        "unknown_provider",
        404,
        "No such provider",
        "Neither the path nor the host names a provider that is declared.",
        Fixer.CONSUMER,
    ),
    Problem(
        "unknown_operation",
        404,
        "No such operation at this provider",
        "The provider is declared, but none of its operations has this method and path.",
        Fixer.OPERATOR,
    ),
    Problem(
        "client_required",
        400,
        "The call does not say for which client it is",
        "The consumer acts for several clients, and the call names none of them.",
        Fixer.CONSUMER,
    ),
    Problem(
        "unknown_client",
        404,
        "No such client for this consumer",
        "The call names a client that does not exist for this consumer.",
        Fixer.CONSUMER,
    ),
    Problem(
        "unknown_connection",
        404,
        "No such connection",
        "The client has no connection of this name at the provider.",
        Fixer.OPERATOR,
    ),
    # decide: whether it may.
    Problem(
        "denied",
        403,
        "The call is not allowed",
        "No grant covers the call, or a denial forbids it.",
        Fixer.OPERATOR,
    ),
    Problem(
        "no_agreement",
        403,
        "No agreement lets this personal data go",
        "The operation sends personal data, and no agreement in force with the provider lets it go for "
        "this client.",
        Fixer.OPERATOR,
    ),
    Problem(
        "no_consent",
        403,
        "Nobody consented to this personal data going out",
        "The operation sends personal data for a purpose that needs the consent of whom it is about, and "
        "the call does not show one that holds.",
        Fixer.CONSUMER,
    ),
    Problem(
        "suppressed",
        403,
        "Nothing is sent about this subject any more",
        "The call names a subject that was erased for its client, and so was not forwarded.",
        Fixer.CONSUMER,
    ),
    # protect: what of it goes out.
    Problem(
        "undeclared_field",
        422,
        "A field has no rule that lets it go out",
        "The request has a field that the operation's policy does not let go to the provider.",
        Fixer.CONSUMER,
    ),
    Problem(
        "unparseable",
        422,
        "What is to be protected cannot be read",
        "The request could be read in two ways, or not at all, so that nobody can say what it sends.",
        Fixer.CONSUMER,
    ),
    Problem(
        "unprotectable",
        422,
        "A value is not one that its rule can protect",
        "A value cannot be hashed, tokenised or encrypted as its rule says, and does not go in clear.",
        Fixer.CONSUMER,
    ),
    Problem(
        "protection_unavailable",
        503,
        "What protects a value is not there",
        "The key by which a value is protected is not at hand, and it does not go in clear.",
        Fixer.OPERATOR,
    ),
    Problem(
        "unprotected",
        403,
        "The operation has no policy for what it sends",
        "No policy says what the operation may send, and such calls are refused.",
        Fixer.OPERATOR,
    ),
    # admit: whether it comes too soon.
    Problem(
        "throttled",
        429,
        "The call comes sooner than a limit allows",
        "A limit on the consumer, the client or the grant is reached; `Retry-After` says until when.",
        Fixer.CONSUMER,
    ),
    # check: whether it fits what the provider's document says.
    Problem(
        "schema_violation",
        422,
        "The request does not fit the provider's document",
        "The provider's OpenAPI document, by which its requests are checked, has no such request.",
        Fixer.CONSUMER,
    ),
    # reserve: whether the provider has room for it.
    Problem(
        "quota_exceeded",
        429,
        "The provider's quota is used up",
        "What the provider allows is used up, or as many calls as may wait for it already.",
        Fixer.OPERATOR,
    ),
    Problem(
        "queue_timeout",
        429,
        "The provider's quota has no room in time",
        "The call would have waited, or has waited, longer for the provider's quota than it may.",
        Fixer.OPERATOR,
    ),
    # dial: whether the other end is the one that was meant.
    Problem(
        "destination_prohibited",
        502,
        "The provider's address is prohibited",
        "The provider's host resolves to an address that no call may reach.",
        Fixer.OPERATOR,
    ),
    Problem(
        "tls_failed",
        502,
        "The provider's TLS could not be verified",
        "The TLS handshake with the provider failed, so nothing was sent.",
        Fixer.PROVIDER,
    ),
    Problem(
        "provider_unreachable",
        502,
        "The provider could not be reached",
        "The provider's host did not resolve, or did not accept a connection.",
        Fixer.PROVIDER,
    ),
    # attach: whether there is something to show the provider.
    Problem(
        "credential_unavailable",
        503,
        "The connection's credential is not available",
        "Tidegate knows the connection but holds no usable credential for it at this moment.",
        Fixer.OPERATOR,
    ),
    # forward and respond: what the provider did.
    Problem(
        "needs_reconsent",
        503,
        "The connection's consent has ended",
        "Whoever gave Tidegate access to their account has withdrawn it, or it has run out, so "
        "that no token is issued any more and no call goes out.",
        Fixer.OPERATOR,
    ),
    Problem(
        "hook_failed",
        500,
        "The hook that signs the call failed",
        "The provider's calls are signed by a hook of the operator's own, which raised an error, took "
        "too long or gave what it may not; nothing was sent.",
        Fixer.OPERATOR,
    ),
    Problem(
        "provider_timeout",
        504,
        "The provider did not answer in time",
        "The provider accepted the call and did not answer before the deadline.",
        Fixer.PROVIDER,
    ),
    Problem(
        "response_rejected",
        502,
        "The provider's answer was refused",
        "The provider's answer breaks a rule of HTTP or a declared bound, so it was not passed on.",
        Fixer.PROVIDER,
    ),
    Problem(
        "redirect_refused",
        502,
        "The provider redirects to a place that is not its own",
        "The provider redirects to a place that is not one of its declared origins.",
        Fixer.OPERATOR,
    ),
    # The gateway itself.
    Problem(
        "not_cached",
        504,
        "No stored answer that may be given",
        "The call asks for a stored answer only, and none that may be given is stored.",
        Fixer.CONSUMER,
    ),
    Problem(
        "unsupported",
        501,
        "Tidegate does not carry this",
        "The call asks for a protocol feature that Tidegate does not carry.",
        Fixer.CONSUMER,
    ),
    Problem(
        "overloaded",
        503,
        "Tidegate has no room for the call",
        "Tidegate holds as many connections or calls as it is allowed to; try again later.",
        Fixer.OPERATOR,
    ),
    Problem(
        "not_ready",
        503,
        "Tidegate has no configuration yet",
        "Tidegate has no configuration yet, or is stopping.",
        Fixer.OPERATOR,
    ),
    Problem(
        "circuit_open",
        503,
        "The provider is failing, and is left alone for a moment",
        "Calls to the provider failed one after the other, so that none is sent for some seconds.",
        Fixer.PROVIDER,
    ),
    Problem(
        "internal",
        500,
        "Tidegate failed",
        "Something went wrong inside Tidegate; the operator finds the cause by the call's id.",
        Fixer.TIDEGATE,
    ),
)

PROBLEMS: Final[Mapping[str, Problem]] = MappingProxyType({p.code: p for p in _LIST})
