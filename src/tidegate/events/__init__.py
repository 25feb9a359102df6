"""Turn the engine's events into call records in the store."""

from tidegate.events.drain import Drain
from tidegate.events.reading import UnreadableEventError, read_event

__all__ = ["Drain", "UnreadableEventError", "read_event"]
