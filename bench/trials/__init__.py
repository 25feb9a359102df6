"""What is done to credentials on purpose: raced for, killed in the middle, altered where they lie.

The bench does it at length, the tests in short (`tests/contract`).
"""
