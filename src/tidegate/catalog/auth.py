"""Say where a declared form of `auth` puts the credential's fields."""

from __future__ import annotations

from tidegate.catalog.login_form import LoginAuth
from tidegate.catalog.schema import (
    AuthName,
    BasicAuth,
    CookieAuth,
    DigestAuth,
    HeaderAuth,
    HmacAuth,
    HookAuth,
    HttpSignatureAuth,
    OAuth1Auth,
    OAuthAuth,
    QueryAuth,
    SigV4Auth,
    TokenGrantEntry,
)
from tidegate.catalog.templates import read_template
from tidegate.domain.attach import AttachBasic, AttachCookie, AttachHeader, AttachPart, AttachQuery
from tidegate.domain.oauth import ACCESS_TOKEN, Assertion, Expiry, TokenGrant
from tidegate.domain.sign import (
    Digest,
    Dpop,
    HmacTemplate,
    HookSigner,
    HttpSignature,
    OAuth1,
    Signer,
    SigV4,
)

_MS = 1_000
_BY_NAME: dict[AuthName, tuple[AttachPart, ...]] = {
    "bearer": (AttachHeader("Authorization", field="token", prefix="Bearer "),),
    "basic": (AttachBasic(username_field="username", password_field="password"),),  # noqa: S106
    "none": (),
}


def attach_parts(  # noqa: PLR0911 - one for each form
    form: AuthName
    | HeaderAuth
    | BasicAuth
    | QueryAuth
    | CookieAuth
    | OAuthAuth
    | LoginAuth
    | SigV4Auth
    | HmacAuth
    | HttpSignatureAuth
    | OAuth1Auth
    | DigestAuth
    | HookAuth,
) -> tuple[AttachPart, ...]:
    """The parts of a call that one form fills; `none` and a signature fill nothing."""
    if isinstance(
        form, SigV4Auth | HmacAuth | HttpSignatureAuth | OAuth1Auth | DigestAuth | HookAuth
    ):
        return ()
    if isinstance(form, HeaderAuth):
        return (AttachHeader(form.header, form.field, form.prefix),)
    if isinstance(form, OAuthAuth):
        return (AttachHeader(form.oauth2.header, ACCESS_TOKEN, _prefix(form.oauth2)),)
    if isinstance(form, LoginAuth):
        session = form.login
        if session.cookie is not None:
            return (AttachCookie(session.cookie, ACCESS_TOKEN),)
        return (AttachHeader(session.header, ACCESS_TOKEN, session.prefix),)
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


def _prefix(entry: TokenGrantEntry) -> str:
    """RFC 9449 §7.1: a token that is bound to a key goes under a name of its own."""
    bound = entry.dpop is not None and "prefix" not in entry.model_fields_set
    return "DPoP " if bound else entry.prefix


def token_grant(form: object) -> TokenGrant | None:
    """How a form's access tokens are obtained; None where its credential is used as it is."""
    if not isinstance(form, OAuthAuth):
        return None
    entry = form.oauth2
    assertion = entry.assertion
    return TokenGrant(
        grant=entry.grant,
        token_url=entry.token_url or "",
        client_auth=entry.client_auth,
        scope=entry.scope_separator.join(entry.scopes),
        parameters=tuple(entry.parameters.items()),
        lifetime_s=entry.lifetime // _MS,
        reuse_s=entry.reuse // _MS,
        issuer=entry.issuer or "",
        authorize_url=entry.authorize_url or "",
        par_url=entry.par_url or "",
        device_url=entry.device_url or "",
        revocation_url=entry.revocation_url or "",
        iss=entry.iss,
        authorize_parameters=tuple(entry.authorize_parameters.items()),
        account=entry.account or "",
        assertion=Assertion(
            algorithm=assertion.algorithm,
            audience=assertion.audience,
            subject=assertion.subject,
            key_id=assertion.key_id,
            claims=tuple(assertion.claims.items()),
        ),
        dpop=entry.dpop,
        request=entry.request,
        expiry=Expiry(entry.expiry.field, entry.expiry.unit),
        idle_s=entry.idle // _MS,
    )


def signer(form: object) -> Signer | None:  # noqa: PLR0911 - one for each form
    """How a form has calls signed; None where it does not."""
    if isinstance(form, SigV4Auth):
        aws = form.sigv4
        return SigV4(aws.service, aws.region, aws.payload, aws.session_token)
    if isinstance(form, OAuthAuth):
        return None if form.oauth2.dpop is None else Dpop(form.oauth2.dpop)
    if isinstance(form, HttpSignatureAuth):
        rfc = form.http_signature
        return HttpSignature(tuple(rfc.components), rfc.algorithm, rfc.label)
    if isinstance(form, OAuth1Auth):
        return OAuth1(form.oauth1.signature, form.oauth1.realm)
    if isinstance(form, DigestAuth):
        return Digest(form.digest.md5)
    if isinstance(form, HookAuth):
        return HookSigner(
            form.hook,
            tuple(form.fields),
            tuple(form.headers),
            tuple(form.query),
            form.body,
            form.timeout,
        )
    if not isinstance(form, HmacAuth):
        return None
    entry = form.hmac
    return HmacTemplate(
        message=read_template(entry.message, signed=False),
        headers=tuple((name, read_template(t, signed=True)) for name, t in entry.headers.items()),
        query=tuple((name, read_template(t, signed=True)) for name, t in entry.query.items()),
        key=entry.key,
        key_encoding=entry.key_encoding,
        hash=entry.hash,
        output=entry.output,
        timestamp=entry.timestamp,
    )
