"""Fill the `{variables}` of addresses with a connection's values, so that the host stays the provider's.

A value becomes one host label (or, where it is the whole host, a host name): `evil.test#`, `a@b`
and `x/y` never pass, whatever a preset's or an operator's pattern allows.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tidegate.catalog.errors import shown
from tidegate.catalog.fields import LABEL_PATTERN, variables_of
from tidegate.domain.declaration import Provider, Variable
from tidegate.domain.oauth import with_values
from tidegate.domain.origin import Origin

_LOCAL_NAME = re.compile(r"(.+\.)?localhost")
_LABEL = re.compile(LABEL_PATTERN)
_HOST = re.compile(rf"{LABEL_PATTERN}(?:\.{LABEL_PATTERN})*")


def fill_origins(provider: Provider, values: Mapping[str, str]) -> tuple[str, ...]:
    """All of a provider's origins for one connection.

    Raises:
        ValueError: a value is missing, not asked for, or not of its variable's form.
    """
    unknown = sorted(set(values) - set(provider.variables))
    if unknown:
        raise ValueError(f"provider `{provider.name}` has no variable {shown(unknown[0])}")
    rules = provider.variable_rules
    return tuple(fill_origin(template, values, rules) for template in provider.origins)


def fill_endpoints(provider: Provider, values: Mapping[str, str]) -> Provider:
    """The provider with the OAuth endpoints of one connection, and what is sent along to them.

    Raises:
        ValueError: as `fill_origins`.
    """
    grant = provider.token_grant
    if grant is None:
        return provider
    rules = provider.variable_rules
    filled = {name: fill_url(url, values, rules) for name, url in grant.endpoints.items()}
    lowered = {name: value.lower() for name, value in values.items()}
    return replace(provider, token_grant=with_values(replace(grant, **filled), lowered))


def fill_url(template: str, values: Mapping[str, str], rules: Iterable[Variable] = ()) -> str:
    """One concrete address of a template; in its path, too, a value is no more than one label.

    Raises:
        ValueError: as `fill_origin`.
    """
    if not variables_of(template):
        return template
    scheme, _, rest = template.partition("://")
    authority, slash, path = rest.partition("/")
    return (
        fill_origin(f"{scheme}://{authority}", values, rules) + slash + _fill(path, values, rules)
    )


def fill_origin(template: str, values: Mapping[str, str], rules: Iterable[Variable] = ()) -> str:
    """One concrete origin of a template.

    Raises:
        ValueError: a value is missing or not of its variable's form; the value is not repeated.
    """
    host = template.partition("://")[2].partition(":")[0]
    return str(Origin.parse(_fill(template, values, rules, host)))


def _fill(
    template: str, values: Mapping[str, str], rules: Iterable[Variable], host: str = ""
) -> str:
    patterns = {rule.name: rule.pattern for rule in rules}
    filled = template
    for name in variables_of(template):
        if name not in values:
            raise ValueError(f"the variable `{name}` of `{template}` has no value")
        value = values[name].lower()
        whole_host = host == f"{{{name}}}"
        form = _HOST if whole_host else _LABEL
        pattern = patterns.get(name)
        if not form.fullmatch(value) or (pattern and not re.fullmatch(pattern, value)):
            kind = "a host name" if whole_host else "one part of a host name"
            rule = f" that matches `{pattern}`" if pattern else ""
            raise ValueError(f"the variable `{name}` is {kind}{rule}")
        filled = filled.replace(f"{{{name}}}", value)
    return filled


def origin_problem(
    text: str, allowed: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> tuple[str, str] | None:
    """Say why calls to an origin would always be refused, and what would let them through."""
    if text.startswith("http://") and not allowed:
        return (
            "plain `http://` is only for private addresses",
            "write `https://`, or name the private range in `allow_private`",
        )
    if variables_of(text):
        return None
    host = Origin.parse(text).host
    if _LOCAL_NAME.fullmatch(host) and not allowed:
        return "this host is local", "allow its range: `allow_private: [127.0.0.0/8]`"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.is_global or any(address in network for network in allowed):
        return None
    own_range = ipaddress.ip_network(address)
    return "this address is private", f"allow it: `allow_private: [{own_range}]`"
