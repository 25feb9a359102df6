"""Say where a declared form of `auth` puts the credential's fields."""

from __future__ import annotations

from tidegate.catalog.schema import AuthName, BasicAuth, CookieAuth, HeaderAuth, QueryAuth
from tidegate.domain.attach import AttachBasic, AttachCookie, AttachHeader, AttachPart, AttachQuery

_BY_NAME: dict[AuthName, tuple[AttachPart, ...]] = {
    "bearer": (AttachHeader("Authorization", field="token", prefix="Bearer "),),
    "basic": (AttachBasic(username_field="username", password_field="password"),),  # noqa: S106
    "none": (),
}


def attach_parts(
    form: AuthName | HeaderAuth | BasicAuth | QueryAuth | CookieAuth,
) -> tuple[AttachPart, ...]:
    """The parts of a call that one form fills; `none` fills nothing."""
    if isinstance(form, HeaderAuth):
        return (AttachHeader(form.header, form.field, form.prefix),)
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
