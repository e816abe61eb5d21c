"""The self-test of a boosting file: values, gradients, curvatures, weights and the best constant."""

from __future__ import annotations

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.boosting.parts import EXPECT
from lossc.compiler.targets.boosting.policy import EXACT, Policy
from lossc.compiler.targets.golden import Golden
from lossc.compiler.targets.python_file import FileNames, golden_lines
from lossc.compiler.targets.torch_layout import indent


def self_test(cls: str, names: FileNames, policy: Policy, found: Golden, loss: Loss, closed: bool) -> str:
    """The code of `_self_test` and of the `__main__` block; `loss` is that of the golden values.

    `closed` says whether the best constant has a closed form, which is then compared with its neighbours.
    """
    classwise = loss.layout == CLASSWISE
    made = ", ".join(f"{names.hyperparameters[p.name]}={found.hyperparameters[p.name]!r}" for p in loss.params)
    body = ['"""Compare with what the reference interpreter of lossc found with 50 digits."""']
    if found.values and not (classwise and not found.labels):
        targets = "labels" if classwise else "targets"
        body += golden_lines(found, "inputs", targets, "values", "gradients")
        body += [
            f"made = {cls}({made})",
            f"slope, bend = made.derivatives({targets}, inputs)",
            f'_expect("values", made.losses({targets}, inputs), values, 1e-9)',
            '_expect("gradients", slope, gradients, 1e-9)',
            *_curvatures(policy, found),
            f"twice, grown = made.derivatives({targets}, inputs, [2.0] * len(values))",
            '_expect("weighted gradients", twice, 2.0 * slope, 1e-12)',
            '_expect("weighted curvatures", grown, 2.0 * bend, 1e-12)',
            *(_constant(targets, classwise) if closed else []),
            f'print("ok: {cls}: {len(found.values)} values and gradients equal the reference to 1e-9")',
        ]
    else:
        body = [
            '"""Nothing to compare: see the message."""',
            f'print("ok: {cls} (nothing to compare: no point found)")',
        ]
    test = ["def _self_test() -> None:", indent(body), "", "", 'if __name__ == "__main__":', "    _self_test()"]
    return "\n".join([*([EXPECT.strip("\n"), "", ""] if len(body) > 2 else []), *test])


def _curvatures(policy: Policy, found: Golden) -> list[str]:
    positive = [
        "if not bool(np.all(bend > 0.0)):",
        '    raise SystemExit(f"self-test failed: curvatures {bend.tolist()}")',
    ]
    if policy.name != EXACT:
        return positive
    factor = f" * {policy.factor!r}" if policy.factor != 1.0 else ""
    return [
        *golden_lines(found, "curvatures"),
        f'_expect("curvatures", bend, np.maximum(np.asarray(curvatures){factor}, 1e-16), 1e-9)',
        *positive,
    ]


def _constant(targets: str, classwise: bool) -> list[str]:
    """That no constant beside the best one is better."""
    if classwise:
        return [
            f"best = made.init_score({targets}, None, 3)",
            "moved = [best + d * np.eye(3)[0] for d in (0.0, -0.01, 0.01)]",
            f"costs = [np.mean(made.losses({targets}, np.tile(m, (len(values), 1)))) for m in moved]",
            *_least,
        ]
    return [
        f"best = made.init_score({targets})",
        f"costs = [np.mean(made.losses({targets}, np.full(len(values), best + d))) for d in (0.0, -0.01, 0.01)]",
        *_least,
    ]


_least = [
    "if not costs[0] <= min(costs) + 1e-9:",
    '    raise SystemExit(f"self-test failed: the constant {best} is not the best: {costs}")',
]
