"""What `benchmarks/meta_gradient.py` compares: losses, episodes, and the ways to a meta-gradient of ours and of others.

`higher` and `torchopt` take part where they are installed. They, and plain autograd, see the loss as the public EvoMAL
code has it: a tree that is interpreted node by node in torch, with one `nn.Parameter` a node.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import lossc
from lossc.compiler.ir import Expr, postorder
from lossc.runtime.meta.engines import WHY_NOT, lockstep, meta_gradient
from lossc.runtime.meta.episode import Episode
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.tasks import SGD

RATE, ROWS = 0.01, 100
REGRESSION, CLASSIFICATION = "regression", "classification"
SIZES = {REGRESSION: (10, 1), CLASSIFICATION: (784, 10)}
FORMS = {
    REGRESSION: "log(1 + abs(y - f)) + tanh(sqrt(1 + abs(f)))",
    CLASSIFICATION: "abs(log(y*f + 0.1)) + tanh(sqrt(f))",
}
PARTS = {
    REGRESSION: (
        ("abs(y - f)", "square(y - f)", "log(1 + abs(y - f))", "sqrt(1 + square(y - f))", "tanh(square(y - f))"),
        ("tanh(sqrt(1 + abs(f)))", "log(2 + f*f)", "abs(f)*y", "tanh(y*f)", "div(f, y)"),
    ),
    CLASSIFICATION: (
        ("abs(log(y*f + 0.1))", "square(y - f)", "abs(y - f)", "sqrt(1 + square(y - f))", "log(1 + abs(y - f))"),
        ("tanh(sqrt(f))", "f*log(f)", "tanh(y*f)", "div(f, y)", "square(f)"),
    ),
}
"""Candidates of different forms: the sum of one of the first and one of the second, 25 in all."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of a table: the kind of task, the width of the two hidden layers, and T."""

    kind: str
    width: int
    steps: int

    def __str__(self) -> str:
        inside, out = SIZES[self.kind]
        return f"{inside}-{self.width}-{self.width}-{out}"


def symbolic(kind: str, formula: str) -> Symbolic:
    """The formula, with the protected operations of the public code and a coefficient on every edge."""
    y, f = ("onehot", "prob") if kind == CLASSIFICATION else (None, None)
    return Symbolic(lossc.parse(formula, dialect="public", y=y, f=f))


def candidates(kind: str) -> list[Symbolic]:
    """25 losses of different forms."""
    first, second = PARTS[kind]
    return [symbolic(kind, f"{a} + {b}") for a in first for b in second]


def episode(setting: Setting, dtype: torch.dtype) -> Episode:
    """θ_0 as torch draws it, and batches of 100 random rows; always the same."""
    inside, out = SIZES[setting.kind]
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(inside, setting.width), nn.ReLU(), nn.Linear(setting.width, setting.width), nn.ReLU(),
        nn.Linear(setting.width, out),
    )  # fmt: skip

    def batch() -> tuple[Tensor, Tensor]:
        x = torch.randn(ROWS, inside, dtype=torch.float64).to(dtype)
        if setting.kind == CLASSIFICATION:
            return x, torch.randint(out, (ROWS,))
        return x, torch.randn(ROWS, 1, dtype=torch.float64).to(dtype)

    model = model.to(dtype)
    meta_loss = functional.cross_entropy if setting.kind == CLASSIFICATION else functional.mse_loss
    inner = tuple(batch() for _ in range(setting.steps))
    params = {k: v.detach() for k, v in model.named_parameters()}
    return Episode(model, params, {}, inner, batch(), SGD(RATE), meta_loss)


# -- the loss in torch -------------------------------------------------------------------------------------------------

_TORCH: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "abs": torch.abs, "square": torch.square, "tanh": torch.tanh,
    "aq": lambda a, b: a / torch.sqrt(1 + b * b),
    "clog": lambda a: torch.log(torch.clamp(torch.abs(a), min=1e-7)),
    "csqrt": lambda a: torch.sqrt(torch.clamp(torch.abs(a), min=1e-7)),
}  # fmt: skip


class TorchNetwork(nn.Module):
    """A loss network as the public code has it: the tree is walked at every call, each node times its parameter."""

    def __init__(self, family: Symbolic, phi: Tensor, kind: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(p.to(dtype)) for p in phi])
        self.order: list[Expr] = postorder(family.network.body)
        self.kind = kind

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch; of classes, softmax and one-hot rows go in, and the sum over the classes comes out."""
        f, y = outputs, target
        if self.kind == CLASSIFICATION:
            f = torch.softmax(outputs, dim=1)
            y = functional.one_hot(target, outputs.shape[1]).to(outputs.dtype)
        values: dict[Expr, Any] = {}
        for here in self.order:
            if here.op == "coef":
                values[here] = self.weights[here.index]
            elif here.op == "arg":
                values[here] = f if here.name == "f" else y
            elif here.op == "const":
                values[here] = float(here.number)
            else:
                values[here] = _TORCH[here.op](*(values[a] for a in here.args))
        entries: Tensor = values[self.order[-1]]
        return entries.sum(dim=1).mean() if self.kind == CLASSIFICATION else entries.mean()

    def gradient(self) -> Tensor:
        """The gradients that `backward` left in the parameters, as one vector; they are cleared."""
        found = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in self.weights])
        self.zero_grad(set_to_none=True)
        return found


# -- methods ----------------------------------------------------------------------------------------------------------

Method = Callable[[], Tensor]
"""One meta-gradient, or the sum of those of several candidates."""


def methods(setting: Setting, dtype: torch.dtype = torch.float32) -> dict[str, Method]:
    """The ways to the meta-gradient of one loss, by what they are called in the tables."""
    here = episode(setting, dtype)
    family = symbolic(setting.kind, FORMS[setting.kind])
    phi = family.initial(0)
    network = TorchNetwork(family, phi, setting.kind, dtype)
    found: dict[str, Method] = {}
    for name, make in (("higher", _higher), ("torchopt", _torchopt)):
        if importlib.util.find_spec(name) is not None:
            found[f"{name}, `.backward()`"] = make(here, network, whole=True)
            found[f"{name}, grad(phi)"] = make(here, network, whole=False)
    found["autograd, grad(phi)"] = _autograd(here, network)
    for engine in ("unroll", "jvp1", "reversible", "lockstep"):
        if engine == "unroll" or not WHY_NOT[engine](here):
            found[engine] = partial(_engine, here, family, phi, engine)
    return found


def together(setting: Setting, dtype: torch.dtype = torch.float32) -> dict[str, Method]:
    """The ways to the meta-gradients of 25 losses of different forms on one episode; their sum, for comparison."""
    here = episode(setting, dtype)
    families = candidates(setting.kind)
    phis = [f.initial(i) for i, f in enumerate(families)]
    networks = [TorchNetwork(f, p, setting.kind, dtype) for f, p in zip(families, phis, strict=True)]

    def in_turn(methods: Sequence[Method]) -> Method:
        return lambda: torch.cat([m() for m in methods])

    found: dict[str, Method] = {}
    if importlib.util.find_spec("higher") is not None:
        found["higher, `.backward()`"] = in_turn([_higher(here, n, whole=True) for n in networks])
    found["autograd, grad(phi)"] = in_turn([_autograd(here, n) for n in networks])
    for engine in ("unroll", "jvp1", "lockstep"):
        runs = [partial(_engine, here, f, p, engine) for f, p in zip(families, phis, strict=True)]
        found[f"{engine}, in turn"] = in_turn(runs)
    found["lockstep, together"] = lambda: torch.cat([g.grad for g in lockstep.meta_gradients(here, families, phis)])
    return found


def _engine(here: Episode, family: Symbolic, phi: Tensor, engine: str) -> Tensor:
    return meta_gradient(here, family, phi, engine).grad


def _higher(here: Episode, network: TorchNetwork, *, whole: bool) -> Method:
    """As the public code: `task_loss.backward()`, which forms dL/dθ_0 as well; or the gradient in φ alone."""
    import higher

    model = here.model
    optimizer = torch.optim.SGD(model.parameters(), lr=here.sgd.lr)

    def run() -> Tensor:
        with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (fmodel, diffopt):
            for x, y in here.inner:
                diffopt.step(network(fmodel(x), y))
            task_loss = here.meta_loss(fmodel(here.query[0]), here.query[1])
            return _finish(task_loss, network, model, whole=whole)

    return run


def _torchopt(here: Episode, network: TorchNetwork, *, whole: bool) -> Method:
    import torchopt

    model = here.model

    def run() -> Tensor:
        start = torchopt.extract_state_dict(model, by="reference")
        optimizer = torchopt.MetaSGD(model, lr=here.sgd.lr)
        for x, y in here.inner:
            optimizer.step(network(model(x), y))
        task_loss = here.meta_loss(model(here.query[0]), here.query[1])
        torchopt.recover_state_dict(model, start)
        return _finish(task_loss, network, model, whole=whole)

    return run


def _finish(task_loss: Tensor, network: TorchNetwork, model: nn.Module, *, whole: bool) -> Tensor:
    if not whole:
        return torch.stack(torch.autograd.grad(task_loss, list(network.weights)))
    task_loss.backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    return network.gradient()


def _autograd(here: Episode, network: TorchNetwork) -> Method:
    """The general engine: torch's own double backward through `functional_call`, and nothing of ours."""

    def run() -> Tensor:
        params = {k: v.requires_grad_() for k, v in ((k, v.detach()) for k, v in here.params.items())}
        for x, y in here.inner:
            value = network(functional_call(here.model, params, (x,)), y)
            slopes = torch.autograd.grad(value, list(params.values()), create_graph=True)
            params = {k: v - here.sgd.lr * g for (k, v), g in zip(params.items(), slopes, strict=True)}
        task_loss = here.meta_loss(functional_call(here.model, params, (here.query[0],)), here.query[1])
        return torch.stack(torch.autograd.grad(task_loss, list(network.weights)))

    return run


# -- products of matrices ---------------------------------------------------------------------------------------------


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every product of matrices that is run inside it, to count and to repeat them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name = func.overloadpacket.__name__.rstrip("_")
        if name in ("mm", "bmm"):
            self.pairs.append((args[0].detach(), args[1].detach()))
        elif name in ("addmm", "baddbmm"):
            self.pairs.append((args[1].detach(), args[2].detach()))
        return func(*args, **(kwargs or {}))

    @property
    def gflop(self) -> float:
        """Multiplications and additions, in 10^9."""
        return sum(2e-9 * a.numel() * b.shape[-1] for a, b in self.pairs)

    def replay(self) -> Callable[[], None]:
        """The same products in the same order into memory that is there already: the floor under a method."""
        outs: dict[tuple[int, ...], Tensor] = {}
        for a, b in self.pairs:
            shape = (*a.shape[:-1], b.shape[-1])
            outs.setdefault(shape, torch.empty(shape, dtype=a.dtype))
        work = [
            (torch.mm if a.ndim == 2 else torch.bmm, a, b, outs[(*a.shape[:-1], b.shape[-1])]) for a, b in self.pairs
        ]

        def run() -> None:
            for product, a, b, out in work:
                product(a, b, out=out)

        return run


def products_of(method: Method) -> Products:
    """The products of one run of a method."""
    seen = Products()
    with seen:
        method()
    return seen
