"""The self-test of an emitted PyTorch file: `python file.py` compares it with golden values, with torch alone."""

from __future__ import annotations

from typing import Any

from lossc.compiler.targets.golden import Golden
from lossc.compiler.targets.torch_layout import WIDTH, call_line, indent
from lossc.compiler.targets.torch_names import Names

EXPECT = '''
def _expect(what: str, got: Tensor, expected: object, tolerance: float) -> None:
    """Leave with exit code 1 and a message if `got` is not `expected`, relative to the largest number there."""
    want = torch.tensor(expected, dtype=torch.float64)
    error = torch.abs(got.detach().to(torch.float64) - want) if got.shape == want.shape else torch.tensor(math.inf)
    if not float(torch.amax(error)) <= tolerance * max(1e-3, float(torch.amax(torch.abs(want)))):
        raise SystemExit(f"self-test failed: {what}: expected {expected}, got {got.tolist()}")
'''

_CHECKS = """
y = torch.tensor(targets, dtype=torch.float64)
{f} = torch.tensor(inputs, dtype=torch.float64, requires_grad=True)
loss = make("none")({f}, y)
(slope,) = torch.autograd.grad(loss.sum(), {f})
_expect("values", loss, values, 1e-9)
_expect("gradients", slope, gradients, 1e-9)
_expect("sum", make("sum")({f}, y), sum(values), 1e-9)
mean = make("mean")({f}, y)
_expect("mean", mean, sum(values) / len(values), 1e-9)
mean.backward()
if {f}.grad is None or not bool(torch.isfinite({f}.grad).all()):
    raise SystemExit(f"self-test failed: backward gave {{{f}.grad}}")
single = make("none")({f}.detach().float(), y.float())
if single.dtype != torch.float32:
    raise SystemExit(f"self-test failed: float32 input gave {{single.dtype}}")
_expect("float32 values", single, values, 1e-2)
"""


def self_test(names: Names, golden: Golden) -> str:
    """The code of `_self_test` and of the `__main__` block."""
    body = _compared(names, golden) if golden.values else [f'print("ok: {names.cls} ({_NONE})")']
    doc = '"""Compare with values and gradients that the reference interpreter of lossc found with 50 digits."""'
    doc = doc if golden.values else '"""Nothing to compare: see the message."""'
    return "\n".join([
        *([EXPECT.strip("\n"), "", ""] if golden.values else []),
        "def _self_test() -> None:",
        indent([doc, *body]),
        "",
        "",
        'if __name__ == "__main__":',
        "    _self_test()",
    ])  # fmt: skip


_NONE = "nothing to compare: defined at no point tried"


def _compared(names: Names, golden: Golden) -> list[str]:
    given = [f"{names.hyperparameters[n]}={v!r}" for n, v in golden.hyperparameters.items()]
    by_label = f'make("none")({names.prediction}, torch.tensor({list(golden.labels)}))'
    return [
        "",
        f"def make(reduction: str) -> {names.cls}:",
        *call_line(f"return {names.cls}", ["reduction", *given], by=4, within=4).split("\n"),
        "",
        *assignment("inputs", golden.inputs),
        *assignment("targets", golden.targets),
        *assignment("values", golden.values),
        *assignment("gradients", golden.gradients),
        *_CHECKS.strip("\n").format(f=names.prediction).split("\n"),
        *([f'_expect("class indices", {by_label}, values, 1e-9)'] if golden.labels else []),
        f'print("ok: {names.cls}: {len(golden.values)} values and gradients equal the reference to 1e-9")',
    ]


def assignment(name: str, values: tuple[Any, ...]) -> list[str]:
    """`name = [...]`, one element a line where it would be too long, as ruff has it."""
    items = [_item(v) for v in values]
    one = f"{name} = [{', '.join(items)}]"
    if len(one) + 4 <= WIDTH:
        return [one]
    lines = [f"{name} = ["]
    for v, item in zip(values, items, strict=True):
        if len(item) + 9 <= WIDTH:
            lines.append(f"    {item},")
        else:
            lines += ["    [", *(f"        {_item(x)}," for x in v), "    ],"]
    return [*lines, "]"]


def _item(value: Any) -> str:
    return f"[{', '.join(map(_item, value))}]" if isinstance(value, tuple) else repr(value)
