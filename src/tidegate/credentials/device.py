"""Have a person consent on another device, by a code that they type there (RFC 8628)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tidegate.credentials.asking import Ask, post
from tidegate.credentials.authorization import ConsentRefused, Why
from tidegate.credentials.token_endpoint import (
    TokenAnswer,
    TokenRefusedError,
    Trouble,
    answer_object,
    client_request,
    device_request,
    read_answer,
    refusal_in,
)
from tidegate.domain.declaration import Provider
from tidegate.domain.oauth import TokenGrant
from tidegate.domain.secret import Secret
from tidegate.engine import FetchError

INTERVAL_S: Final = 5
SLOWER_S: Final = 5
"""By how much to ask less often when told to slow down (§3.5)."""

INTERVAL_MAX_S: Final = 60
LIFETIME_MAX_S: Final = 1_800
_OK: Final = 200
_USER_CODE: Final = re.compile(r"[A-Za-z0-9 -]{4,32}")
_ADDRESS: Final = re.compile(r"https://[!-~]{1,1024}")
_CODE: Final = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the person is shown, and what is asked with meanwhile."""

    user_code: str
    verification_uri: str
    whole_uri: str
    device_code: Secret
    interval_s: int
    lifetime_s: int


def ask_device(
    engine: Ask, provider: Provider, grant: TokenGrant, fields: Mapping[str, Secret]
) -> DeviceCode:
    """Have a code made (§3.1).

    Raises:
        ConsentRefused: the provider makes none.
    """
    form = dict(grant.authorize_parameters) | ({"scope": grant.scope} if grant.scope else {})
    request = client_request(grant, grant.device_url, form, fields)
    try:
        fetched = post(engine, provider, grant.device_url, request)
    except FetchError as error:
        raise ConsentRefused(Why.PROVIDER_AWAY, error.problem.code) from None
    said = answer_object(fetched.body)
    if fetched.status != _OK:
        refused = refusal_in(fetched.status, fetched.headers, said)
        away = refused.trouble is Trouble.AWAY
        raise ConsentRefused(Why.PROVIDER_AWAY if away else Why.PROVIDER_REFUSED, refused.word)
    whole = said.get("verification_uri_complete")
    return DeviceCode(
        user_code=_text(said, "user_code", _USER_CODE),
        verification_uri=_text(said, "verification_uri", _ADDRESS),
        whole_uri=whole if isinstance(whole, str) and _ADDRESS.fullmatch(whole) else "",
        device_code=Secret(_text(said, "device_code", _CODE)),
        interval_s=_number(said.get("interval"), INTERVAL_S, INTERVAL_MAX_S),
        lifetime_s=_number(said.get("expires_in"), LIFETIME_MAX_S, LIFETIME_MAX_S),
    )


def wait_for_device(  # noqa: PLR0917 - a question, and how time passes
    engine: Ask,
    provider: Provider,
    grant: TokenGrant,
    fields: Mapping[str, Secret],
    code: DeviceCode,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[TokenAnswer, Mapping[str, object]]:
    """Ask until the person has consented or will not (§3.4, §3.5).

    Raises:
        ConsentRefused: they said no, or the code has expired.
    """
    ends = clock() + code.lifetime_s
    interval_s = code.interval_s
    while clock() + interval_s < ends:
        sleep(interval_s)
        try:
            request = device_request(grant, fields, code.device_code)
            fetched = post(engine, provider, grant.token_url, request)
            answer = read_answer(grant, fetched.status, fetched.headers, fetched.body)
        except FetchError:
            # §3.5: where there is no answer, ask less and less often.
            interval_s = min(interval_s * 2, INTERVAL_MAX_S)
        except TokenRefusedError as refused:
            interval_s = _next_interval(interval_s, refused)
        else:
            return answer, answer_object(fetched.body)
    raise ConsentRefused(Why.LINK_EXPIRED)


def _next_interval(interval_s: int, refused: TokenRefusedError) -> int:
    match refused.word:
        case "authorization_pending":
            return interval_s
        case "slow_down":
            return min(interval_s + SLOWER_S, INTERVAL_MAX_S)
        case "access_denied":
            raise ConsentRefused(Why.DENIED, refused.word) from None
        case "expired_token":
            raise ConsentRefused(Why.LINK_EXPIRED) from None
        case _ if refused.trouble is Trouble.AWAY:
            return min(max(interval_s * 2, refused.retry_after_s or 0), INTERVAL_MAX_S)
        case _:
            raise ConsentRefused(Why.TOKEN_REFUSED, refused.word) from None


def _text(said: Mapping[str, object], name: str, form: re.Pattern[str]) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ConsentRefused(Why.ANSWER_UNREADABLE)
    return value


def _number(value: object, otherwise: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return otherwise
    return int(min(max(value, 1), most))
