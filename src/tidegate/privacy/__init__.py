"""Keep to what privacy law asks for: agreements that gate traffic, records, and what the people in the data ask.

What is recorded here is compiled into the snapshot, by which the engine lets a client's personal data
go or holds it back. The register is what operators' acts say, and these are chained and authenticated:
who can write the database can stop data from going, and cannot let any go.
"""

from tidegate.privacy.acts import Acts, ActsAltered, Operator, Verified
from tidegate.privacy.agreement_form import read_agreement, require_declared
from tidegate.privacy.agreements import Agreements, Warned, warnings
from tidegate.privacy.erasure import erased_keys
from tidegate.privacy.errors import PrivacyRefused
from tidegate.privacy.gaps import Gap, gaps

__all__ = [
    "Acts",
    "ActsAltered",
    "Agreements",
    "Gap",
    "Operator",
    "PrivacyRefused",
    "Verified",
    "Warned",
    "erased_keys",
    "gaps",
    "read_agreement",
    "require_declared",
    "warnings",
]
