"""Names and numbers as a figure shows them."""

from __future__ import annotations

import re

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eps": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "kappa": "κ", "lambda": "λ", "lam": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
}  # fmt: skip
_LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_NAME = re.compile(r"([a-z]+)_?(\d*)")


def symbol(name: str) -> str:
    """A hyper-parameter as papers write it: ξ for xi, φ₁ for phi1; any other name as it is."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] not in _GREEK:
        return name
    return _GREEK[found[1]] + found[2].translate(_LOW)


def number(value: float) -> str:
    """A number with a minus sign, not a hyphen."""
    return f"{value:.6g}".replace("-", "−")
