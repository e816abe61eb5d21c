"""`Loss`: a formula with what is known of its arguments. The one object that all passes take and give.

    >>> import lossc
    >>> loss = lossc.parse("delta^2*(sqrt(1 + ((y - f)/delta)^2) - 1)", params={"delta": 1.0})
    >>> print(loss.grad("f").simplify())

The methods hand on to passes and targets, which are imported when first used: building a `Loss` costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lossc.compiler import ops
from lossc.compiler.errors import Source, Span, UsageError
from lossc.compiler.ir import PARAM, Expr, as_fraction, postorder
from lossc.compiler.roles import ROLES, Role

if TYPE_CHECKING:
    import torch

ELEMENTWISE, CLASSWISE = "elementwise", "classwise"
IDENTITY, SIGMOID, SOFTMAX = "identity", "sigmoid", "softmax"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A hyper-parameter: its name, its role (a key of `ROLES`) and its default, or None if the caller must give it."""

    name: str
    role: str = "real"
    default: Fraction | None = None


@dataclass(frozen=True)
class Loss:
    """A loss function as a program.

    body    the formula: per element, or per sample if it reduces over the classes itself
    name    an identifier
    y, f    the roles of the target and the prediction (`lossc.compiler.roles.ROLES`)
    params  the hyper-parameters, in order
    doc, source   what it is, and where it comes from (paper, equation)

    A classwise loss whose body still varies over the classes is summed over them, as in the public EvoMAL code; write
    `mean_c(...)` for the 1/C of thesis eq. 5.3. Equality compares the program; spans and texts do not count.
    """

    body: Expr
    name: str = "loss"
    y: str = "real"
    f: str = "real"
    params: tuple[Parameter, ...] = ()
    doc: str = ""
    source: str = ""
    spans: Mapping[Expr, Span] = field(default_factory=dict, compare=False, repr=False)
    text: Source | None = field(default=None, compare=False, repr=False)

    # -- what it is -------------------------------------------------------------------------------------------------

    @cached_property
    def uses_class_axis(self) -> bool:
        """Whether some operator of the body works along the class axis."""
        return any(n.op in ops.OPS and ops.OPS[n.op].axis for n in postorder(self.body))

    @property
    def layout(self) -> str:
        """ "classwise": input [N, C, ...] with classes on axis 1; "elementwise": input and target of one shape."""
        return CLASSWISE if self.y in ("onehot", "prob") or self.uses_class_axis else ELEMENTWISE

    @property
    def link(self) -> str:
        """What turns the model's output into f: "softmax" or "sigmoid" where f is a probability, else "identity"."""
        if self.f != "prob":
            return IDENTITY
        return SOFTMAX if self.layout == CLASSWISE else SIGMOID

    @cached_property
    def reduces_itself(self) -> bool:
        """Whether the body has one value a sample already: a classwise loss that does not vary over the classes."""
        return self.layout == CLASSWISE and not varies(self.body)

    def role_of(self, leaf: Expr) -> Role:
        """The role of an `Arg` or `Param` leaf."""
        if leaf.op == PARAM:
            return ROLES[self.parameter(leaf.name).role]
        return ROLES[self.y if leaf.name == "y" else self.f]

    def parameter(self, name: str) -> Parameter:
        """The hyper-parameter of that name; UsageError with the known names if there is none."""
        for p in self.params:
            if p.name == name:
                return p
        from difflib import get_close_matches

        names = [p.name for p in self.params]
        close = get_close_matches(name, names, n=1)
        message = f"{self.name} has no hyper-parameter `{name[:64]}`"
        expected = "one of: " + ", ".join(names) if names else ""
        raise UsageError("L201", message, expected=expected, hint=f"did you mean `{close[0]}`?" if close else "")

    def with_body(self, body: Expr) -> Loss:
        """The same loss with another formula."""
        return self if body is self.body else replace(self, body=body)

    def with_defaults(self, /, **values: float | Fraction | str) -> Loss:
        """The same loss with other defaults of hyper-parameters; each must suit its role (UsageError)."""
        new = dict(values)
        for name, value in values.items():
            role = ROLES[self.parameter(name).role]
            try:
                number = as_fraction(value)
            except (ValueError, ZeroDivisionError) as problem:
                raise UsageError("L202", f"`{value}` is not a value for `{name}`: {problem}") from None
            if not (role.range.lo <= number <= role.range.hi):
                raise UsageError("L202", f"`{name}` must be {role.doc}, got {value}", expected=f"a {role.name} number")
            new[name] = number
        params = tuple(replace(p, default=as_fraction(new[p.name])) if p.name in new else p for p in self.params)
        return replace(self, params=params)

    # -- what can be done with it -----------------------------------------------------------------------------------

    def __str__(self) -> str:
        from lossc.compiler.printing import to_text

        return to_text(self.body)

    def definition(self) -> str:
        """The loss as the text of a `.loss` file, that parses back to an equal loss."""
        from lossc.compiler.printing import to_definition

        return to_definition(self)

    def latex(self) -> str:
        """The formula in LaTeX."""
        from lossc.compiler.targets.latex import to_latex

        return to_latex(self)

    def canonicalize(self) -> Loss:
        """The canonical form: equal losses of the same shape become the same object (`lossc.compiler.passes`)."""
        from lossc.compiler.passes.canonicalize import canonicalize

        return canonicalize(self)

    def simplify(self, *, sympy: bool = True, timeout: float = 10.0) -> Loss:
        """The simplest equal form found: our canonical form, then SymPy's proposals that pass the tests."""
        from lossc.compiler.passes.simplify import simplify

        return simplify(self, sympy=sympy, timeout=timeout).loss

    def grad(self, wrt: str = "f", order: int = 1) -> Loss:
        """The derivative of the loss with respect to `f`, `y` or a hyper-parameter, in closed form."""
        from lossc.compiler.passes.differentiate import differentiate

        return differentiate(self, wrt, order=order)

    def emit(self, target: str = "torch", **options: Any) -> Any:
        """The file for `target`: its text, or bytes if it is a binary one; `options` are the target's."""
        from lossc.compiler.targets import emit

        return emit(self, target, **options)

    def to_torch(self, /, reduction: str = "mean", **settings: Any) -> torch.nn.Module:
        """The loss as a module: the emitted file, loaded in this process.

        `settings`: hyper-parameters, options of compilation such as `fused=True`, and torch's own `weight`,
        `ignore_index`, `label_smoothing` and `pos_weight` where they apply.
        """
        import importlib

        load = importlib.import_module("lossc.runtime.compiled").to_torch  # the one call up: imported when asked for
        module: torch.nn.Module = load(self, reduction=reduction, **settings)
        return module

    def to_network(self, seed: int = 0, *, output: str = "identity") -> torch.nn.Module:
        """The loss as a network with a coefficient φ ~ N(1, 1e-3) on every edge (thesis, section 3.2.3, algorithm 2).

        `output` is the activation of the root: "identity", "softplus" (thesis, section 3.2.2) or "smooth-leaky-relu".
        """
        import importlib

        build = importlib.import_module("lossc.runtime.compiled").to_network  # as to_torch
        network: torch.nn.Module = build(self, seed=seed, output=output)
        return network

    def to_json(self) -> str:
        """A versioned JSON text of the program."""
        from lossc.compiler.serialize import to_json

        return to_json(self)

    @staticmethod
    def from_json(text: str | bytes | Mapping[str, Any]) -> Loss:
        """The loss that `to_json` wrote, checked again as untrusted input (LosscError)."""
        from lossc.compiler.serialize import from_json

        return from_json(text)


def varies(root: Expr) -> bool:
    """Whether a value can differ between the classes of one sample."""
    return root in class_varying(root)


def class_varying(*roots: Expr) -> set[Expr]:
    """The nodes under the roots whose value can differ between the classes of one sample."""
    out: set[Expr] = set()
    for here in postorder(*roots):
        record = ops.OPS.get(here.op)
        if here.op == "arg" or (record is not None and record.axis != ops.REDUCE and any(a in out for a in here.args)):
            out.add(here)
    return out
