"""Show a person what they are asked to consent to, and take the provider's answer: a few plain pages.

Served on the gateway's public address, or on loopback while `tidegate connect` waits. What is decided
is decided in `credentials`; here are addresses, cookies and words.
"""

from tidegate.consent.listener import Pages

__all__ = ["Pages"]
