"""Measure Tidegate side by side with its peers, on real sockets. docs/reference/bench.md tells how to read it."""
