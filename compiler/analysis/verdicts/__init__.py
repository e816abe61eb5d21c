"""Verdicts on the properties of a loss: proved, refuted or unknown, each with its reason (numerics.md, section 6c)."""
