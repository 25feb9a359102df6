"""Write what is processed as a fideslang manifest: a `system` for each recipient, in the taxonomy's words.

Categories and purposes of the declaration that the default taxonomy lacks are defined beside them, with
every parent that they need, so that the manifest stands on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

from tidegate.domain.category import bare, is_special
from tidegate.domain.party import Contact, Party
from tidegate.privacy.processing import Activity, Processing, Recipient
from tidegate.privacy.taxonomy import DATA_CATEGORIES, DATA_SUBJECTS, DATA_USES

_LEGAL_BASES: Final = {
    "consent": "Consent",
    "contract": "Contract",
    "legal_obligation": "Legal obligations",
    "vital_interests": "Vital interests",
    "public_task": "Public interest",
    "legitimate_interests": "Legitimate interests",
}
_NO_KEY: Final = re.compile(r"[^a-zA-Z0-9_.-]+")


def manifest(organisation: Party, processing: Processing) -> str:
    """Write one client's processing as YAML."""
    client = processing.client
    key = _key(client.name)
    uses = {activity.purpose for activity in processing.activities}
    categories = {_category(c) for one in processing.activities for c in one.categories}
    subjects = {_key(s) for one in processing.activities for s in one.subjects}
    document = {
        "data_use": _defined(uses, DATA_USES),
        "data_category": _defined(categories, DATA_CATEGORIES),
        "data_subject": [_definition(one) for one in sorted(subjects - DATA_SUBJECTS)],
        "organization": [_organization(key, client.party, client.title or client.name)],
        "system": [
            _system(name, key, organisation, processing.activities)
            for name in sorted({r.provider for a in processing.activities for r in a.recipients})
        ],
    }
    filled = {name: value for name, value in document.items() if value}
    return yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, width=100)


def _system(
    provider: str, organization: str, organisation: Party, activities: Sequence[Activity]
) -> dict[str, Any]:
    pairs = [(a, r) for a in activities for r in a.recipients if r.provider == provider]
    recipient = pairs[0][1]
    tools = [one.transfer.tool for _, r in pairs for one in r.agreements if one.transfer]
    return _said(
        {
            "fides_key": f"{organization}.{_key(provider)}",
            "organization_fides_key": organization,
            "name": recipient.title,
            "system_type": "Third Party",
            "legal_name": recipient.party.legal_name,
            "legal_address": recipient.party.contact.address,
            "does_international_transfers": bool(tools),
            "legal_basis_for_transfers": sorted(set(tools)),
            "data_security_practices": "; ".join(organisation.security),
        }
    ) | {"privacy_declarations": [_declaration(a, one) for a, one in pairs if one.may or one.sent]}


def _declaration(activity: Activity, recipient: Recipient) -> dict[str, Any]:
    bases = [_LEGAL_BASES[one] for one in activity.legal_bases]
    categories = sorted({_category(one) for one in (*recipient.sent, *recipient.may)})
    special = any(is_special(one) for one in (*recipient.sent, *recipient.may))
    return _said(
        {
            "name": f"{recipient.title}: {activity.purpose}",
            "data_categories": categories,
            "data_use": activity.purpose,
            "data_subjects": sorted(map(_key, activity.subjects)),
            # The model takes one; where policies differ, the reader has to look.
            "legal_basis_for_processing": bases[0] if len(bases) == 1 else None,
            "retention_period": activity.retention,
            "processes_special_category_data": special,
            "data_shared_with_third_parties": True,
            "third_parties": recipient.party.legal_name or recipient.title,
        }
    )


def _organization(key: str, party: Party, name: str) -> dict[str, Any]:
    return _said(
        {
            "fides_key": key,
            "name": party.legal_name or name,
            "controller": _contact(party.contact),
            "data_protection_officer": _contact(party.dpo),
            "representative": _contact(party.representative),
        }
    )


def _contact(contact: Contact) -> dict[str, str]:
    fields = ("name", "address", "email", "phone")
    return _said({name: getattr(contact, name) for name in fields})


def _category(name: str) -> str:
    return name if name.partition(".")[0] in {"system", "user"} else f"user.{bare(name)}"


def _defined(used: Iterable[str], known: frozenset[str]) -> list[dict[str, Any]]:
    """Define the words that are not known, and those above them."""
    needed: set[str] = set()
    for word in used:
        parts = word.split(".")
        needed.update(".".join(parts[: depth + 1]) for depth in range(len(parts)))
    return [_definition(word) for word in sorted(needed - known)]


def _definition(word: str) -> dict[str, Any]:
    parent, _, own = word.rpartition(".")
    return _said({"fides_key": word, "name": own.replace("_", " "), "parent_key": parent})


def _key(text: str) -> str:
    return _NO_KEY.sub("_", text.strip().lower()) or "_"


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", None, [], {})}
