"""Say in a reader's words what the declaration and the ledger say in ours."""

from __future__ import annotations

from typing import Final

from tidegate.domain.ledger import UNLISTED

LEGAL_BASES: Final = {
    "consent": "consent, Art. 6(1)(a)",
    "contract": "performance of a contract, Art. 6(1)(b)",
    "legal_obligation": "legal obligation, Art. 6(1)(c)",
    "vital_interests": "vital interests, Art. 6(1)(d)",
    "public_task": "public task, Art. 6(1)(e)",
    "legitimate_interests": "legitimate interests, Art. 6(1)(f)",
}

AGREEMENTS: Final = {
    "dpa": "processing agreement (Art. 28)",
    "scc": "standard contractual clauses (Art. 46)",
    "baa": "business associate agreement (HIPAA)",
    "ccpa": "service-provider terms (CCPA)",
    "pci": "PCI DSS responsibility",
}

ROLES: Final = {
    "processor": "processor",
    "joint_controller": "joint controller",
    "controller": "controller of its own",
}

TRANSFERS: Final = {
    "adequacy": "adequacy decision (Art. 45)",
    "scc": "standard contractual clauses (Art. 46(2)(c))",
    "bcr": "binding corporate rules (Art. 47)",
    "certification": "certification (Art. 46(2)(f))",
    "code_of_conduct": "code of conduct (Art. 46(2)(e))",
}

ACTIONS: Final = {
    "allow": "as it was",
    "mask": "masked",
    "generalise": "made less exact",
    "hash": "hashed",
    "tokenise": "replaced by a token",
    "encrypt": "encrypted",
    UNLISTED: "unknown: no policy lists what goes",
}


def action(word: str) -> str:
    """Say what was done to a field before it went."""
    return ACTIONS.get(word, word)


def category(word: str) -> str:
    """Name a category as a heading does: `contact.email` is `contact / email`."""
    return word.replace("_", " ").replace(".", " / ") or "no category declared"
