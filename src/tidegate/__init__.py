"""Tidegate: the one way out to third-party APIs."""

__version__ = "0.1.0"
