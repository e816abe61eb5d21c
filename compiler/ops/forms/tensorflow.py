"""How an exported TensorFlow file writes the operators; `axis` is the class axis. All of it runs under XLA."""

from __future__ import annotations

KEY = "tensorflow"

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_MATH = ("exp", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh",
         "atanh", "sqrt", "tanh", "abs", "sign", "sigmoid", "softplus", "erf", "erfc", "lgamma", "digamma",
         "square")  # fmt: skip

FORMS: dict[str, str] = {
    **{op: f"{{0}} {sign} {{1}}" for op, sign in _INFIX.items()},
    **{op: f"tf.math.{op}({{0}})" for op in _MATH},
    "neg": "-{0}",
    "eq": "tf.equal({0}, {1})",
    "ne": "tf.not_equal({0}, {1})",
    "max": "tf.maximum({0}, {1})",
    "min": "tf.minimum({0}, {1})",
    "where": "tf.where({0}, {1}, {2})",
    "atan2": "tf.math.atan2({0}, {1})",
    "logsigmoid": "tf.math.log_sigmoid({0})",
    "xlogy": "tf.math.xlogy({0}, {1})",
    "num_classes": "num_classes",
    "sum_c": "tf.reduce_sum({0}, axis, True)",
    "mean_c": "tf.reduce_mean({0}, axis, True)",
    "max_c": "tf.reduce_max({0}, axis, True)",
    "logsumexp_c": "tf.reduce_logsumexp({0}, axis, True)",
    "softmax": "tf.nn.softmax({0}, axis)",
    "log_softmax": "tf.nn.log_softmax({0}, axis)",
}
