"""Measure Tidegate beside its peers, on real sockets; docs/reference/bench.md says how to read it."""
