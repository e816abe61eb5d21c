"""Every verdict on the named losses attacked: what is proved at many points, what is refuted in torch.

    python -m benchmarks.verdicts                    # 100,000 points for each proved property
    python -m benchmarks.verdicts --write            # and puts the table into benchmarks/RESULTS.md
    python -m benchmarks.verdicts --points 2000 --only huber,ace

The attack knows nothing of how verdicts are reached: it computes the formula as written in float64 (NumPy) and tests
what the property says, by its definition, at random and special points. What looks like a violation is computed
again with 60 digits by mpmath, and counts if it stands. Refutations are replayed in torch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from benchmarks.attacked import (
    Attacked,
    Wrong,
)
from benchmarks.claims import ATTACKS
from benchmarks.results import put_section
from lossc.compiler.analysis.verdicts.judge import Verdicts, judge
from lossc.compiler.analysis.verdicts.subject import at_values
from lossc.compiler.analysis.verdicts.verdict import PROVED, REFUTED, UNKNOWN
from lossc.compiler.loss import Loss
from lossc.grammar.library import named_losses
from lossc.runtime.replay import replay

# -- floating point, in torch -----------------------------------------------------------------------------------------


def floats(attacked: Attacked, names: list[str], n: int) -> Iterator[tuple[str, str]]:
    """Value, gradient and second derivative by torch, of the formula as written, all over the box."""
    from dataclasses import replace

    import torch

    from lossc.compiler.targets.options import Options
    from lossc.runtime.compiled import to_torch

    if not names or attacked.rows:
        return
    told = attacked.told
    plain = replace(at_values(attacked.loss, told.classes), y="real", f="real")
    module = to_torch(plain, "none", options=Options(literal=True))
    dtype = getattr(torch, told.dtype)
    low, high = told.box["f"]
    f = attacked.rng.uniform(low, high, n)
    f[: n // 4] = np.clip(attacked.numbers(attacked.loss.f, n // 4), low, high)
    f[:3] = low, high, min(max(0.0, low), high)
    y = attacked.targets(f).clip(*told.box["y"])
    given = torch.tensor(f, dtype=torch.float64).to(dtype).requires_grad_()
    target = torch.tensor(y, dtype=torch.float64).to(dtype)
    value = module(given, target)
    first = second = torch.zeros_like(given)
    if value.requires_grad:
        (first,) = torch.autograd.grad(value.sum(), given, create_graph=True)
        if first.requires_grad:
            (second,) = torch.autograd.grad(first.sum(), given, allow_unused=True, materialize_grads=True)
    for name, got in (("finite-value", value), ("autograd-gradient", first), ("autograd-hessian", second)):
        bad = ~torch.isfinite(got)
        if name in names and bad.any():
            i = int(bad.nonzero()[0, 0])
            yield name, f"{float(got[i])} at y = {float(target[i])}, f = {float(given[i])}"


# -- all of it --------------------------------------------------------------------------------------------------------


def attack(loss: Loss, told: Verdicts, points: int, seed: int = 0) -> list[Wrong]:
    """The verdicts on a loss that do not stand."""
    wrong = []
    attacked = Attacked(loss, told, points, seed)
    with np.errstate(all="ignore"):
        for name, verdict in told.found.items():
            if verdict.status == PROVED and name in ATTACKS:
                wrong += [Wrong(loss.name, name, why) for why in ATTACKS[name](attacked, verdict, points)]
            if verdict.witness is not None and not verdict.witness.holds(replay(loss, verdict.witness, told.classes)):
                wrong.append(Wrong(loss.name, name, "the witness does not replay"))
        sure = [n for n in told.of(PROVED) if n.startswith(("finite", "autograd"))]
        wrong += [Wrong(loss.name, name, why) for name, why in floats(attacked, sure, points)]
    return wrong


def main() -> None:
    """Run the attack and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    chosen = {n: one for n, one in named_losses().items() if not args.only or n in args.only.split(",")}
    judge(next(iter(chosen.values())))  # imports, once
    times, counts, wrong = [], Counter[str](), []
    for one in chosen.values():
        began = time.perf_counter()
        told = judge(one)
        times.append(time.perf_counter() - began)
        counts.update(v.status for v in told.found.values())
        found = attack(one, told, args.points, args.seed)
        wrong += found
        for w in found:
            print(f"WRONG {w.loss} {w.name}: {w.why}", flush=True)
    text = _table(len(chosen), times, counts, wrong, args.points)
    print(text)
    if args.write:
        put_section(
            "verdicts", "Verdicts: speed, coverage, and an attack", "python -m benchmarks.verdicts --write", text
        )


def _table(losses: int, times: list[float], counts: Counter[str], wrong: list[Wrong], points: int) -> str:
    total = sum(counts.values())
    share = 100 * (1 - counts[UNKNOWN] / total)
    rows = [
        f"| all verdicts on a named loss, median (95 %, most) | {statistics.median(times):.2f} s "
        f"({np.quantile(times, 0.95):.2f}, {max(times):.2f}) | < 1 s |",
        f"| decided, of {losses} losses x the properties that apply ({total:,}) | {share:.1f} % | >= 90 % |",
        f"| proved, each attacked at {points:,} points (derivatives and strictness: some hundred, with mpmath) "
        f"| {counts[PROVED]:,} | |",
        f"| refuted, each replayed in torch | {counts[REFUTED]:,} | |",
        f"| wrong | {len(wrong)} | 0 |",
    ]
    note = "".join(f"\n- {w.loss}, {w.name}: {w.why}" for w in wrong[:20])
    return "\n".join(["| | measured | target |", "|---|---|---|", *rows]) + note


if __name__ == "__main__":
    main()
