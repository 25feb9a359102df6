"""What of a request goes to a provider, and in which form: the policies of operations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from tidegate.domain.category import NONE, is_personal

LegalBasis = Literal[
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_task",
    "legitimate_interests",
]
"""Article 6(1) of the GDPR, (a) to (f)."""

Unprotected = Literal["observe", "refuse"]
"""What becomes of calls of operations that have no policy."""

BODY_BYTES: int = 1024**2
"""How large a body that a policy reads may be where nothing else is said."""
BODY_BYTES_MAX: int = 10 * 1024**2

TCF_PURPOSES_OF_ADVERTISING: tuple[int, ...] = (1, 3, 4, 7)
"""Of the IAB's framework: storing on a device, profiles for advertising, using them, measuring it."""

CONSENT_AGE_S_MAX: int = 395 * 86_400
"""How old a decision of whom data is about may be at most: thirteen months."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Let a field go as it is, leave it out, or refuse the call that has it."""

    kind: Literal["allow", "drop", "reject"]


@dataclass(frozen=True, slots=True)
class Mask:
    """Put `*` in the place of characters, except the last few; never more than half are kept."""

    keep: int = 0
    kind: Literal["mask"] = "mask"


@dataclass(frozen=True, slots=True)
class Generalise:
    """Say less exactly: a date's month or year, an address's network, a number with few decimals."""

    to: Literal["month", "year", "ip", "geo"]
    decimals: int = 0
    """For `geo`."""
    kind: Literal["generalise"] = "generalise"


@dataclass(frozen=True, slots=True)
class Hash:
    """Put a hash in a value's place, by which the provider can match it.

    `of` is `PRODUCT.KIND` of the catalogue's profiles, `steps` what they say: how the value is made
    alike before SHA-256. `keyed`: the number of the client's protection root that keys it. Numbers
    of telephones that say no country are of `calling_code`, or begin with theirs (`international`).
    """

    of: str
    steps: tuple[str, ...]
    already_hashed: bool = False
    keyed: int | None = None
    calling_code: str | None = None
    international: bool = False
    field: str = ""
    """What a keyed one is bound to besides client and provider; the rule's place where empty."""
    kind: Literal["hash"] = "hash"


@dataclass(frozen=True, slots=True)
class Restoration:
    """Where tokens become values again: in the answers of a provider's operations, at one place.

    Without a provider it is each one that the policy is for.
    """

    provider: str
    pattern: str
    at: str


@dataclass(frozen=True, slots=True)
class Tokenise:
    """Put a token in a value's place that the gateway can turn into the value again.

    `field` is what it is bound to besides client and provider. `root` is that of `ff1`, whose digits
    have no room to say it.
    """

    how: Literal["aead", "siv", "ff1"]
    field: str
    root: int = 1
    restore_in: tuple[Restoration, ...] = ()
    subject_key: bool = False
    """Whether it is sealed by the key of whom the call is about, too, and ends with that."""
    kind: Literal["tokenise"] = "tokenise"


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """A public key that values are encrypted to, with the one algorithm that it is for.

    `enc` is what values themselves are encrypted by (RFC 7518 §5.3).

    `spki` is the key in DER, in base64; `thumbprint` its RFC 7638 name.
    """

    file: str
    alg: str
    kid: str | None
    spki: str
    thumbprint: str
    expires: datetime | None = None
    enc: str = "A256GCM"


@dataclass(frozen=True, slots=True)
class Encrypt:
    """Put a value's encryption to its provider's key in its place (JWE)."""

    key: RecipientKey
    kind: Literal["encrypt"] = "encrypt"


@dataclass(frozen=True, slots=True)
class Piece:
    """What a member of a sealed place holds: what encrypting made, or a `text`."""

    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Cbc:
    """AES-128-CBC with its key under RSA-OAEP by this hash, written in hexadecimal or base64."""

    oaep: str
    encoding: str


@dataclass(frozen=True, slots=True)
class Seal:
    """Put an object in a place that holds the encryption of all that stands there.

    As a JWE, or by `cbc`. `header`, `iat` and `kid` are what the JWE's header says besides, `request`
    what the request's does. `into`: the name of the place from then on. Without the place the call
    is refused, unless it `may_be_absent`.
    """

    key: RecipientKey
    members: tuple[tuple[str, Piece], ...]
    kid: str | None = None
    cbc: Cbc | None = None
    header: tuple[tuple[str, str], ...] = ()
    iat: Literal["seconds", "milliseconds"] | None = None
    request: tuple[tuple[str, str], ...] = ()
    into: str | None = None
    may_be_absent: bool = False
    kind: Literal["encrypt"] = "encrypt"


@dataclass(frozen=True, slots=True)
class PgpKey:
    """A subkey for encryption of an OpenPGP key, as the key's own signatures say (RFC 9580, version 4).

    Fingerprints are in hexadecimal; `spki` is the subkey in DER. `kdf`, of one on a curve: the curve's
    object identifier, and the numbers of hash and cipher by which keys are derived.
    """

    fingerprint: str
    subkey: str
    spki: bytes
    cipher: Literal["AES-128", "AES-256"]
    kdf: tuple[bytes, int, int] | None = None
    expires: datetime | None = None
    file: str = ""


@dataclass(frozen=True, slots=True)
class EncryptFile:
    """Put a file's encryption to its provider's OpenPGP key in its place."""

    key: PgpKey
    kind: Literal["encrypt"] = "encrypt"


Action = Plain | Mask | Generalise | Hash | Tokenise | Encrypt | Seal | EncryptFile

Detector = Literal["pan", "iban", "email", "secret", "jwt", "entropy"]
"""What is looked for in fields that were declared for something else."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What becomes of the fields that a selector finds.

    `at` is the selector as it is written: `body $.email`, `form metadata[*]`, `query name`. `category`
    is a dotted word of `tidegate.domain.category`; empty where none is declared. `repeated`: the field
    may stand more than once where its place has names (a form, parts, a query, headers).
    """

    at: str
    do: Action
    category: str = ""
    repeated: bool = False

    @property
    def leaves(self) -> bool:
        """Whether the provider gets something of the field."""
        return self.do.kind not in {"drop", "reject"}


@dataclass(frozen=True, slots=True)
class Signal:
    """One place of a request's JSON in which a provider is told of it, and what stands there.

    `at` are names of members, with None for each item of a list. Values are JSON; None: nothing may stand
    there. `always`: also where the application wrote nothing.
    """

    at: tuple[str | None, ...]
    granted: str | None
    denied: str | None
    always: bool


@dataclass(frozen=True, slots=True)
class SubjectConsent:
    """What a policy asks for of whom a call is about, before anything personal goes out.

    Their decision is said with the call, and is no older than `max_age_s`. `sells`: Global Privacy
    Control objects to it. Without consent the call is refused, or goes without what is personal
    (`drops`). `signals` are set in what goes out. A TCF string must hold `tcf_purposes`, and is asked
    for where it must hold a vendor.
    """

    max_age_s: int = CONSENT_AGE_S_MAX
    sells: bool = False
    drops: bool = False
    signals: tuple[Signal, ...] = ()
    tcf_purposes: tuple[int, ...] = ()
    tcf_vendor: int | None = None


@dataclass(frozen=True, slots=True)
class Protection:
    """The policy of some operations: no rule, no send.

    `operations` are pairs of a provider and a pattern of its operations (an id, or `METHOD /path`,
    with `*`). `namespaces` are prefixes of XML with their addresses. `categories` are those of data
    that the operations carry besides what fields say. Until `report_until` (in UTC) what a call breaks
    is recorded and the call goes as it is.
    """

    name: str
    operations: tuple[tuple[str, str], ...]
    purpose: str
    fields: tuple[FieldRule, ...] = ()
    legal_basis: LegalBasis | None = None
    subjects: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    unknown_fields: Literal["reject", "drop"] = "reject"
    report_until: date | None = None
    body_bytes: int = BODY_BYTES
    namespaces: tuple[tuple[str, str], ...] = ()
    assert_absent: tuple[Detector, ...] = ("pan", "secret")
    consent: SubjectConsent | None = None

    @property
    def may_send_personal(self) -> bool:
        """Whether the provider may get something personal; a field without a category may be it."""
        of_fields = (rule.category for rule in self.fields if rule.leaves)
        return any(not one or is_personal(one) for one in (*self.categories, *of_fields))

    @property
    def needs_keys(self) -> bool:
        """Whether the clients' own keys are needed for it."""
        return any(
            isinstance(rule.do, Tokenise) or (isinstance(rule.do, Hash) and rule.do.keyed)
            for rule in self.fields
        )

    @property
    def sends(self) -> tuple[str, ...]:
        """The categories of all that the provider may get, each once, in order."""
        of_fields = (rule.category for rule in self.fields if rule.leaves)
        return tuple(
            dict.fromkeys(one for one in (*self.categories, *of_fields) if one not in {"", NONE})
        )
