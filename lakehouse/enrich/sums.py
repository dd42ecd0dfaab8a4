"""Sums of fractions that do not depend on the order of their terms: sums of doubles do, and Spark adds in no fixed order."""

from __future__ import annotations

FIXED = "DECIMAL(28,12)"
"""Fixed point: twelve decimals are finer than any rate's meaning, sixteen digits before them hold any count."""


def fixed_mean(sql: str) -> str:
    """SQL aggregate: the mean of a finite SQL number, as a double; null where all are null."""
    return f"CAST(avg(CAST({sql} AS {FIXED})) AS DOUBLE)"


def fixed_sum(sql: str) -> str:
    """SQL aggregate: the sum of a finite SQL number, as a double; null where all are null."""
    return f"CAST(sum(CAST({sql} AS {FIXED})) AS DOUBLE)"
