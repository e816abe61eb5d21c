"""An example of a package that brings lossc an operator and a target: this one file, and two entry points.

[project.entry-points."lossc.operators"]
example = "lossc_example:SOFTSIGN"

[project.entry-points."lossc.targets"]
example = "lossc_example:TARGET"
"""

from lossc.compiler.interval import Interval
from lossc.compiler.loss import Loss
from lossc.compiler.ops import OpRecord, call
from lossc.compiler.targets import Target
from lossc.compiler.targets.derivatives import roots
from lossc.compiler.targets.printer import Syntax, build

SOFTSIGN = OpRecord(
    name="softsign",
    args=("x",),
    doc="x/(1 + |x|)",
    meaning=lambda ctx, x: x / (1 + abs(x)),
    partials=lambda x: (1 / call("square", 1 + call("abs", x)),),
    interval=lambda x: Interval(-1.0, 1.0, x.total),
    monotone=(1,),
    parity="odd",
    cost=6,
    lower={
        "torch": "{0} / (1.0 + torch.abs({0}))",
        "math": "{0} / (1.0 + abs({0}))",
        "numpy": "{0} / (1.0 + np.abs({0}))",
        "np": "{0} / (1.0 + np.abs({0}))",
        "jax": "{0} / (1.0 + jnp.abs({0}))",
    },
)

SYNTAX = Syntax(key="np", wrapped={"where": (1, 2)}, value="f.dtype.type({0})")


def emit(loss: Loss) -> str:
    """A NumPy function that gives value and slope at once, for elementwise losses."""
    found = roots(loss, SYNTAX.key)
    names = {"y": "y", "f": "f", **{p.name: f"parameter_{i}" for i, p in enumerate(loss.params)}}
    program = build(found.loss, SYNTAX, names, found.value, found.gradient)
    given = "".join(f", parameter_{i}={float(p.default or 0)!r}" for i, p in enumerate(loss.params))
    body = "".join(f"    {line}\n" for line in program.lines)
    value, slope = program.results
    return f"import numpy as np\n\n\ndef both(y, f{given}):\n{body}    return {value}, {slope}\n"


TARGET = Target(name="example", title="value and slope at once, in NumPy", suffix=".py", emit=emit, key="np")
