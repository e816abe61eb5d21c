"""The same for models that compute in float64, where ONNX Runtime has fewer operators (1.32; its CPU kernels).

Hyperbolic functions and the tangent are made of Exp, Log, Sin and Cos. The inverse trigonometric functions and erf have
no form: a model with them would load nowhere, and one that computed them in float32 would have half the digits.
"""

from __future__ import annotations

from lossc.compiler.ops.forms.onnx import FORMS as _SINGLE

KEY = "onnx-double"

_ONLY_SINGLE = frozenset({
    "erf", "asin", "acos", "atan", "atan2", "tan", "sinh", "cosh", "asinh", "acosh", "atanh",
})  # fmt: skip

FORMS: dict[str, str] = {op: form for op, form in _SINGLE.items() if op not in _ONLY_SINGLE}
