"""Say where a declared form of `auth` puts the credential's fields."""

from __future__ import annotations

from tidegate.catalog.schema import (
    AuthName,
    BasicAuth,
    CookieAuth,
    HeaderAuth,
    OAuthAuth,
    QueryAuth,
)
from tidegate.domain.attach import AttachBasic, AttachCookie, AttachHeader, AttachPart, AttachQuery
from tidegate.domain.oauth import ACCESS_TOKEN, TokenGrant

_MS = 1_000
_BY_NAME: dict[AuthName, tuple[AttachPart, ...]] = {
    "bearer": (AttachHeader("Authorization", field="token", prefix="Bearer "),),
    "basic": (AttachBasic(username_field="username", password_field="password"),),  # noqa: S106
    "none": (),
}


def attach_parts(
    form: AuthName | HeaderAuth | BasicAuth | QueryAuth | CookieAuth | OAuthAuth,
) -> tuple[AttachPart, ...]:
    """The parts of a call that one form fills; `none` fills nothing."""
    if isinstance(form, HeaderAuth):
        return (AttachHeader(form.header, form.field, form.prefix),)
    if isinstance(form, OAuthAuth):
        return (AttachHeader(form.oauth2.header, ACCESS_TOKEN, form.oauth2.prefix),)
    if isinstance(form, QueryAuth):
        return (AttachQuery(form.query, form.field),)
    if isinstance(form, CookieAuth):
        return (AttachCookie(form.cookie, form.field),)
    if isinstance(form, BasicAuth):
        halves = form.basic
        return (
            AttachBasic(
                username_field=halves.username_field,
                password_field=halves.password_field,
                username=halves.username,
                password=halves.password,
            ),
        )
    return _BY_NAME[form]


def token_grant(form: object) -> TokenGrant | None:
    """How a form's access tokens are obtained; None where its credential is used as it is."""
    if not isinstance(form, OAuthAuth):
        return None
    entry = form.oauth2
    return TokenGrant(
        grant=entry.grant,
        token_url=entry.token_url,
        client_auth=entry.client_auth,
        scope=entry.scope_separator.join(entry.scopes),
        parameters=tuple(entry.parameters.items()),
        lifetime_s=entry.lifetime // _MS,
        reuse_s=entry.reuse // _MS,
    )
