"""Recognise a secret that someone pasted into a file, by its published form.

The forms are those that providers document so that scanners find leaked keys. What has no form of
its own (a bare password) cannot be recognised here.
"""

from __future__ import annotations

import re

_FORMS: dict[str, str] = {
    "a Stripe key": r"\b(?:sk|rk)_(?:test|live|prod)_[A-Za-z0-9]{10,}",
    "a webhook signing secret": r"\bwhsec_[A-Za-z0-9+/=]{16,}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bxapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+",
    "a GitHub token": r"\bgh[pousr]_[0-9A-Za-z]{36}|\bgithub_pat_\w{60,}",
    "a GitLab token": r"\bgl(?:pat|oas|dt|rt)-[\w-]{20,}",
    "a Shopify token": r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    "a SendGrid key": r"\bSG\.[\w-]{20,24}\.[\w-]{39,50}",
    "an Anthropic key": r"\bsk-ant-[A-Za-z0-9_-]{20,}",
    "an OpenAI key": r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|\bsk-[A-Za-z0-9]{40,}",
    "a Notion token": r"\bntn_[0-9]{11}[A-Za-z0-9]{35}|\bsecret_[A-Za-z0-9]{43}\b",
    "an Airtable token": r"\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}",
    "a Brevo key": r"\bxkeysib-[a-f0-9]{64}",
    "a Google API key": r"\bAIza[\w-]{35}",
    "an AWS access key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
    "an Atlassian token": r"\bATATT3[A-Za-z0-9_=-]{60,}",
    "a Twilio key": r"\bSK[0-9a-fA-F]{32}\b",
    "a Mailgun key": r"\bkey-[a-f0-9]{32}\b|\b[a-f0-9]{32}-[a-f0-9]{8}-[a-f0-9]{8}\b",
    "a HubSpot token": r"\bpat-(?:na|eu)\d-[0-9a-f]{8}-",
    "a Klaviyo key": r"\bpk_(?:[A-Za-z0-9]{6}_)?[a-f0-9]{34}\b",
    "a Plaid token": r"\baccess-(?:sandbox|development|production)-[0-9a-f]{8}-",
    "a Square token": r"\bEAAA[\w-]{50,}|\bsq0[a-z]{3}-[\w-]{22,}",
    "a Tidegate access token": r"\btdg_[0-9A-Za-z]{36}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a signed token (JWT)": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*",
    "a password in a URL": r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]+@",
}
_ANY_FORM = re.compile(
    "|".join(f"(?P<form_{number}>{form})" for number, form in enumerate(_FORMS.values()))
)
_NAMES = {f"form_{number}": name for number, name in enumerate(_FORMS)}
_SPACE = re.compile(r"\s")

FORM_NAMES = frozenset(_FORMS)
"""What `pasted_secret` and `secret_form` can say."""


def pasted_secret(text: str) -> str | None:
    """Name the kind of secret that the text holds, or None."""
    found = _ANY_FORM.search(text)
    return _NAMES[found.lastgroup] if found and found.lastgroup else None


def secret_form(value: str) -> str | None:
    """Name the form that a whole value has, where `pasted_secret` looks into a text."""
    found = _ANY_FORM.match(value)
    if found is None or found.lastgroup is None:
        return None
    form = _NAMES[found.lastgroup]
    return form if form == "a private key" or not _SPACE.search(value) else None
