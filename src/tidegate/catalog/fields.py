"""The small languages inside the file: names, durations, sizes, origins, pins, ranges, calls.

Each is a text that pydantic checks where it stands; a failed check says what is wrong and what
would be right, and never repeats a value that could be a secret.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import unicodedata
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, NoReturn

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from tidegate.catalog.errors import shown
from tidegate.domain.operation import EXTENSION_METHODS, METHODS
from tidegate.domain.origin import Origin
from tidegate.domain.price import Price

OWN_ERROR = "tidegate"
NAME_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"
PORT_MAX = 65_535
VARIABLE_PATTERN = r"[a-z][a-z0-9_]{0,31}"
LABEL_PATTERN = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

_CALL_METHODS = (*METHODS, *EXTENSION_METHODS)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,31}")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_UNITS_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h)")
_DURATION_MS_MAX = 24 * 3_600_000
_DAY_MS = 24 * 3_600_000
_LONG_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
_LONG_DURATION_MS_MAX = 3_650 * _DAY_MS
_RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,5})?(ms|s|m|h|d)")
_RATE_WINDOW_MS_MAX = 31 * _DAY_MS
_RATE_PER_MS_MAX = 1_000
_SIZE = re.compile(r"(\d{1,15})(B|KiB|MiB|GiB|TiB)")
_PRICE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ([A-Z]{3})")
_PERCENT = re.compile(r"(\d{1,3})%")
_PIN_BYTES = 32
_REGION = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_ORIGIN_TEMPLATE = re.compile(r"https?://[a-z0-9_.{}-]+(:[0-9]+)?")
_HEADERS_NOT_SET = {
    "authorization", "proxy-authorization", "cookie", "host", "content-length", "content-encoding",
    "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
}  # fmt: skip


def refuse(message: str, hint: str = "") -> NoReturn:
    """Fail a check with our own words."""
    raise PydanticCustomError(OWN_ERROR, "{message}", {"message": message, "hint": hint})


def check_name(text: str) -> str:
    """Hold names to letters that cannot be confused: `Acme` and `ac.me` are not `acme`."""
    if re.fullmatch(NAME_PATTERN, text):
        return text
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    suggestion = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63]
    foreign = next((c for c in text if not c.isascii() and c.isprintable()), None)
    reason = (
        f"; it holds U+{ord(foreign):04X} {unicodedata.name(foreign, '')}".rstrip()
        if foreign
        else ""
    )
    refuse(
        f"{shown(text)} is not a name: a name has lower-case letters, digits and `-`{reason}",
        f"write `{suggestion}`" if re.fullmatch(NAME_PATTERN, suggestion) else "",
    )


def _check_field(text: str) -> str:
    if not _FIELD.fullmatch(text):
        refuse("a credential's field has a name like `token` or `account_sid`, not a value")
    return text


def _check_header_name(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        refuse(f"{shown(text)} is not a header's name")
    return text


def check_fixed_headers(headers: dict[str, str]) -> dict[str, str]:
    """Refuse headers that carry credentials or frame the message."""
    for name, value in headers.items():
        _check_header_name(name)
        if name.lower() in _HEADERS_NOT_SET:
            refuse(
                f"`{name}` cannot be set here",
                "credentials come from `auth` and `tidegate connect`; framing is the wire's",
            )
        if not value.isascii() or not value.isprintable() or value != value.strip():
            refuse(f"the value of `{name}` is not printable ASCII without spaces around it")
    if len({name.lower() for name in headers}) < len(headers):
        refuse("a header is named twice, in different case")
    return headers


def _check_prefix(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        refuse("a prefix is printable ASCII, like `Bearer `")
    return text


def _duration(value: Any) -> Any:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        refuse("a duration is a whole number with a unit", "like `500ms`, `5s`, `10m` or `1h`")
    milliseconds = int(found[1]) * _UNITS_MS[found[2]]
    if not 0 < milliseconds <= _DURATION_MS_MAX:
        refuse("a duration is more than nothing and at most 24h")
    return milliseconds


def _long_duration(value: Any) -> Any:
    found = _LONG_DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        refuse("a duration is a whole number with a unit", "like `30s`, `10m`, `12h` or `90d`")
    milliseconds = int(found[1]) * (_UNITS_MS | {"d": _DAY_MS})[found[2]]
    if not 0 < milliseconds <= _LONG_DURATION_MS_MAX:
        refuse("a duration is more than nothing and at most 3650d")
    return milliseconds


class Rate(NamedTuple):
    """So many calls in each window."""

    amount: int
    window_ms: int


def _rate(value: Any) -> Any:
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        refuse("a rate is so many calls in a time", "like `50/s`, `600/m`, `10000/d` or `150/30s`")
    window_ms = int(found[2] or 1) * (_UNITS_MS | {"d": _DAY_MS})[found[3]]
    if window_ms > _RATE_WINDOW_MS_MAX:
        refuse("a rate is over 31d at most")
    if int(found[1]) > window_ms * _RATE_PER_MS_MAX:
        refuse("a rate is at most 1000000/s")
    return Rate(int(found[1]), window_ms)


def check_pointer(text: str) -> str:
    """Hold a place in an answer to JSON Pointer (RFC 6901 §3)."""
    if not re.fullmatch(r"(/([^~/]|~[01])*)+", text):
        refuse(f"{shown(text)} is not a place in an answer", "a JSON Pointer, like `/data/0/id`")
    return text


def _check_one_group(text: str) -> str:
    if re.compile(_check_pattern(text)).groups != 1:
        refuse("the expression has no one group: the key's id", r"like `SG\.([^.]+)\..*`")
    return text


def _check_certificate_name(text: str) -> str:
    """A subject alternative name: a URI as it stands, or a DNS name (RFC 5280 §4.2.1.6)."""
    if re.fullmatch(r"[a-z][a-z0-9+.-]*://[!-~]{1,2000}", text):
        return text
    if re.fullmatch(
        r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", text
    ):
        return text
    return refuse(
        f"{shown(text)} is no name of a certificate",
        "write a URI like `spiffe://corp.example/shop`, or a DNS name in small letters",
    )


def _size(value: Any) -> Any:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        refuse("a size is a whole number with a unit", "like `64KiB`, `10MiB` or `1GiB`")
    return int(found[1]) * _UNITS_BYTES[found[2]]


def _price(value: Any) -> Any:
    found = _PRICE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not (amount := Decimal(found[1])):
        refuse("a price is an amount above zero with its currency", "like `0.002 EUR` or `15 USD`")
    return Price(amount, found[2])


def _percent(value: Any) -> Any:
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < int(found[1]) <= 100:  # noqa: PLR2004
        refuse("a share is a whole number of percent, from 1% to 100%", "like `50%`")
    return int(found[1])


def _date(value: Any) -> Any:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        refuse("this is not a date", "like `2027-01-31`")


def _number_as_text(value: Any) -> Any:
    """`http: 2` and `min_version: 1.3` read as numbers; they are meant as text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def variables_of(template: str) -> tuple[str, ...]:
    """Name the `{variables}` of an origin, each once, in order."""
    return tuple(dict.fromkeys(_VARIABLE.findall(template)))


def check_origin(text: str) -> str:
    """Normalise an origin, which may hold `{variables}` in its host."""
    names = variables_of(text)
    for name in names:
        check_variable(name)
    path = "/".join(text.split("/")[3:])
    if path:
        place = re.split(r"[?#]", path)[0].strip("/")
        refuse(
            "an origin has no path, query or fragment",
            f"put {shown('/' + place)} in `base_path`" if place else "",
        )
    try:
        origin = Origin.parse(_VARIABLE.sub("x", text))
    except ValueError as error:
        bare = re.fullmatch(r"[a-z0-9.-]+\.[a-z]+(:\d+)?", text)
        refuse(f"{_without_value(error)}", f"write `https://{text}`" if bare else "")
    if not names:
        return str(origin)
    template = text.lower().removesuffix("/")
    if not _ORIGIN_TEMPLATE.fullmatch(template):
        refuse("an origin with variables is `https://` and a host of letters, digits, `-` and `.`")
    return template


def check_token_url(text: str) -> str:
    """Hold a token endpoint to `https://host/path`: secrets are sent there (RFC 6749 §3.2)."""
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    if scheme != "https" or not slash:
        refuse("a token endpoint is `https://host/path`")
    for name in variables_of(path):
        check_variable(name)
    if not re.fullmatch(r"[!$&'()*+,;=:@/A-Za-z0-9._~-]*", _VARIABLE.sub("x", path)):
        refuse("a token endpoint has no query or fragment, and no character outside RFC 3986's")
    return f"{check_origin(f'{scheme}://{authority}')}/{path}"


def _check_region(text: str) -> str:
    if not _REGION.fullmatch(text):
        refuse(f"{shown(text)} is not a region", "like `eu`, `us` or `de`")
    return text


def check_issuer(text: str) -> str:
    """Hold an issuer to `https://host[/path]`, as it is written (RFC 8414 §2): it is compared exactly."""
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    if scheme != "https" or not authority:
        refuse("an issuer is `https://host` or `https://host/path`")
    for name in variables_of(path):
        check_variable(name)
    if not re.fullmatch(r"[!$&'()*+,;=:@/A-Za-z0-9._~-]*", _VARIABLE.sub("x", path)):
        refuse("an issuer has no query or fragment, and no character outside RFC 3986's")
    if check_origin(f"{scheme}://{authority}") != f"{scheme}://{authority}":
        refuse("an issuer's host is in lower case, without the default port")
    return f"{scheme}://{authority}{slash}{path}"


def check_public_url(text: str) -> str:
    """Hold the pages' address to TLS, except on this machine; providers know it to the letter."""
    try:
        origin = Origin.parse(text)
    except ValueError as error:
        refuse(f"{_without_value(error)}", "write it like `https://connect.example.com`")
    if origin.scheme != "https" and origin.host not in {"127.0.0.1", "::1"}:
        refuse("people are sent to this address with codes, so it starts with `https://`")
    return str(origin)


def _without_value(error: ValueError) -> str:
    return re.sub(r", not `.*`$", "", str(error), flags=re.DOTALL)


def check_variable(name: str) -> str:
    """Hold a variable's name to what origins can hold."""
    if not re.fullmatch(VARIABLE_PATTERN, name):
        refuse(f"{shown(name)} is not a variable's name", "name it like `shop` or `account_id`")
    return name


def _check_host(text: str) -> str:
    try:
        origin = Origin.parse(f"https://{text}")
    except ValueError:
        refuse(f"{shown(text)} is not a host name")
    if origin.port != 443 or ":" in text or "/" in text:  # noqa: PLR2004
        refuse(f"{shown(text)} is more than a host name", "leave out scheme, port and path")
    return origin.host


def _check_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        refuse(f"{shown(text)} is not an address", "like `10.0.0.2` or `fd00::2`")


def _check_bind(text: str) -> str:
    address, _, port = text.rpartition(":")
    host = address.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        refuse(f"{shown(text)} is not `address:port`", "like `127.0.0.1:8080` or `[::]:8443`")
    if (
        not re.fullmatch(r"[0-9]{1,5}", port)
        or int(port) > PORT_MAX
        or (":" in host) != ("[" in text)
    ):
        refuse(f"{shown(text)} is not `address:port`", "like `127.0.0.1:8080` or `[::]:8443`")
    return text


def _check_range(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        refuse(f"{shown(text)} is not an address range", "like `127.0.0.0/8` or `fd00::/8`")
    if str(network) != text and str(network.network_address) != text:
        refuse(f"{shown(text)} has bits set beyond its length", f"write `{network}`")
    return str(network)


def _check_pin(text: str) -> str:
    kind, slash, digest = text.partition("/")
    try:
        raw = base64.b64decode(digest, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if kind != "sha256" or not slash or len(raw) != _PIN_BYTES:
        refuse(
            "this is not a pin: a pin is `sha256/` and the base64 of 32 bytes",
            "the SHA-256 of a public key (SubjectPublicKeyInfo) in the provider's chain",
        )
    return text


def _check_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        refuse(f"this is not a regular expression: {error.msg}")
    return text


class Call(NamedTuple):
    """`METHOD target`, taken apart; the target is a path template or a URL of one."""

    method: str
    origin: str | None
    path: str


def parse_call(text: str) -> Call:
    """Read `POST /v1/charges` or `POST https://files.example/v1/files`."""
    method, _, target = text.partition(" ")
    method, target = method.upper(), target.strip()
    if method not in _CALL_METHODS or not target:
        refuse(f"{shown(text)} is not `METHOD /path`", f"a method is one of {', '.join(METHODS)}")
    if not target.startswith("https://") and not target.startswith("http://"):
        check_path(target)
        return Call(method, None, target)
    scheme, _, rest = target.partition("://")
    authority, slash, path = rest.partition("/")
    check_path(slash + path)
    return Call(method, check_origin(f"{scheme}://{authority}"), slash + path)


def _check_call(text: str) -> str:
    parse_call(text)
    return text


def check_path(path: str) -> str:
    """Hold a path template to what the wire can match: segments, `{parameters}`, nothing else."""
    problem = path_problem(path)
    if problem:
        refuse(f"{shown(path)} is not a path template: {problem}")
    return path


def path_problem(path: str) -> str | None:
    """Say why a path template cannot be matched, or None."""
    bare = _VARIABLE.sub("x", path)
    if not path.startswith("/"):
        return "it does not start with `/`"
    if "?" in bare or "#" in bare:
        return "a query or fragment is no part of it"
    if "{" in bare or "}" in bare or "{}" in path or "}{" in path:
        return "its braces do not pair into separate `{parameters}`"
    if any(segment in {".", ".."} for segment in bare.split("/")) or "//" in bare:
        return "it has an empty or dot segment"
    if not re.fullmatch(r"(?:[A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+", bare):
        return "it holds a character that a path cannot"
    return None


def _check_base_path(path: str) -> str:
    return "" if path.rstrip("/") == "" else check_path(path.rstrip("/"))


def _text(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


Name = Annotated[str, AfterValidator(check_name), _text(NAME_PATTERN)]
FieldName = Annotated[str, AfterValidator(_check_field), _text(_FIELD.pattern)]
VariableName = Annotated[str, AfterValidator(check_variable), _text(VARIABLE_PATTERN)]
HeaderName = Annotated[str, AfterValidator(_check_header_name), _text(_TOKEN.pattern)]
Prefix = Annotated[str, AfterValidator(_check_prefix)]
OriginText = Annotated[str, AfterValidator(check_origin), _text(r"https?://[^/?#@]+")]
TokenUrl = Annotated[str, AfterValidator(check_token_url), _text(r"https://[^/?#@]+/[^?#]*")]
IssuerUrl = Annotated[str, AfterValidator(check_issuer), _text(r"https://[^?#@]+")]
PublicUrl = Annotated[str, AfterValidator(check_public_url), _text(r"https?://[^/?#@]+/?")]
Host = Annotated[str, AfterValidator(_check_host)]
Address = Annotated[str, AfterValidator(_check_address)]
Bind = Annotated[str, AfterValidator(_check_bind), _text(r".+:[0-9]{1,5}")]
AddressRange = Annotated[str, AfterValidator(_check_range)]
Pin = Annotated[str, AfterValidator(_check_pin), _text(r"sha256/[A-Za-z0-9+/]{43}=")]
CertificateName = Annotated[str, AfterValidator(_check_certificate_name), _text(".+")]
Pattern = Annotated[str, AfterValidator(_check_pattern), WithJsonSchema({"type": "string"})]
CallText = Annotated[str, AfterValidator(_check_call), _text(rf"({'|'.join(_CALL_METHODS)}) \S+")]
BasePath = Annotated[str, AfterValidator(_check_base_path), _text(r"/.*")]
Duration = Annotated[int, BeforeValidator(_duration), _text(_DURATION.pattern)]
PriceText = Annotated[Price, BeforeValidator(_price), _text(_PRICE.pattern)]
LongDuration = Annotated[int, BeforeValidator(_long_duration), _text(_LONG_DURATION.pattern)]
Percent = Annotated[int, BeforeValidator(_percent), _text(_PERCENT.pattern)]
RateText = Annotated[Rate, BeforeValidator(_rate), _text(_RATE.pattern)]
Pointer = Annotated[str, AfterValidator(check_pointer), _text("/.*")]
Region = Annotated[str, AfterValidator(_check_region), _text(_REGION.pattern)]
OneGroup = Annotated[str, AfterValidator(_check_one_group), WithJsonSchema({"type": "string"})]
Size = Annotated[int, BeforeValidator(_size), _text(_SIZE.pattern)]
Date = Annotated[date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
NumberAsText = BeforeValidator(_number_as_text)
