"""`lossc compile`: a standalone file that computes a loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.formats import facts, signature
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.learning import is_network, network_source
from lossc.cli.options import (
    Dialect,
    DialectOption,
    DtypeOption,
    Eps,
    EpsOption,
    FOption,
    ForceOption,
    FromLogitsOption,
    FusedOption,
    JsonOption,
    Kinks,
    KinksOption,
    LossArgument,
    NameOption,
    OutputOption,
    ParamOption,
    QuietOption,
    SetOption,
    Target,
    YOption,
)
from lossc.cli.output import STDOUT, check_writable, deliver
from lossc.compiler.analysis.dtypes import constant_warnings
from lossc.compiler.loss import Loss
from lossc.compiler.targets.options import Options

EXAMPLES = (
    'lossc compile "(y - f)^2" -o mse.py                  # then: python mse.py runs its self-test',
    'lossc compile "abs(log(sqrt(y*f) + eps))" --y onehot --f prob --name ace -o ace.py',
    "lossc compile pseudo_huber --set delta=2 -o ph.py",
    'lossc compile "delta*abs(y - f)" --param delta:positive=1 --name scaled -o scaled.py',
    'echo "(y - f)^2" | lossc compile - > piped.py         # from standard input, to standard output',
    'lossc compile "log(y/f)^2" --dialect evomal --show-passes',
    "lossc compile cross_entropy --dtype float16 --no-fused -o half.py",
    'lossc compile "-y*log(f)" --y onehot --f prob --from-probabilities --eps clamp -o safe.py',
)


def run(
    ctx: typer.Context,
    loss: LossArgument,
    target: Annotated[Target, typer.Option("--target", help="What to write the file for.")] = Target.torch,
    sympy: Annotated[
        bool, typer.Option("--sympy/--no-sympy", help="Simplify with SymPy first; without, the canonical form only.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="For --sympy: stop looking after this time.")
    ] = 10.0,
    fused: FusedOption = None,
    eps: EpsOption = Eps.none,
    kinks: KinksOption = Kinks.torch,
    dtype: DtypeOption = None,
    from_logits: FromLogitsOption = True,
    show_passes: Annotated[
        bool, typer.Option("--show-passes", help="Print the formula after each pass instead of the file.")
    ] = False,
    y: YOption = None,
    f: FOption = None,
    name: NameOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Compile a loss to a standalone file: a drop-in for torch's losses that needs torch alone and tests itself.

    Without -o the file is printed.
    """
    session = begin(ctx, as_json, quiet)
    if output is not None:
        check_writable(output, force=force)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    if is_network(loss):
        source, about = network_source(loss, given)
        return deliver(source, about, output, force=force, note=f"{loss} -> {output}; python {output} tests it")
    written = read_loss(loss, given, session.warnings)
    compiled = written.simplify(timeout=timeout) if sympy else written
    options = Options(
        eps=eps.value, kinks=kinks.value, dtype=dtype and dtype.value, fused=fused, from_logits=from_logits
    )
    if dtype is None:
        session.warnings.items += constant_warnings(written, "float32")
    return _outcome(written, compiled, options, target, output, force=force, shown=show_passes)


def _outcome(
    written: Loss, compiled: Loss, options: Options, target: Target, output: str | None, *, force: bool, shown: bool
) -> Outcome:
    """The file, delivered; or with `shown` the passes, and the file only where it has a name."""
    source = compiled.emit(target.value, options=options)
    data: dict[str, Any] = {**facts(compiled), "target": target.value}
    note = f"{signature(compiled)} -> {output}; python {output} runs its self-test"
    if not shown:
        return deliver(source, data, output, force=force, note=note)
    stages, rules = passes(written, compiled, options)
    data |= {"passes": [{"pass": n, "formula": str(one), "nodes": one.body.tree_size} for n, one in stages]}
    data |= {"rules": [{"rule": rule, "where": where} for rule, where in rules]}
    text = passes_text(stages, rules)
    if output is None or output == STDOUT:
        return Outcome({**data, "text": source}, text)
    return replace(deliver(source, data, output, force=force, note=note), text=text)


def passes(written: Loss, compiled: Loss, options: Options) -> tuple[list[tuple[str, Loss]], list[tuple[str, str]]]:
    """The loss after each pass on the way to code, and the rules that were applied, with the place of each."""
    from lossc.compiler.printing import to_text
    from lossc.compiler.targets.pipeline import prepare

    stages = prepare(compiled, options)
    shown = [("written", written)]
    if compiled is not written:
        shown.append(("simplified", compiled))
    shown += [
        ("canonical", stages.canonical),
        ("linked", stages.linked),
        ("stable", stages.stable),
        *([("protected", stages.protected)] if stages.protected is not stages.stable else []),
        ("lowered", stages.lowered),
        ("guarded", stages.guarded),
    ]
    return shown, [(one.rule, to_text(one.where)) for one in stages.applied]


def passes_text(stages: list[tuple[str, Loss]], rules: list[tuple[str, str]]) -> str:
    """The passes for a reader, a line each, and a line for each rule."""
    lines, before = [], ""
    for name, loss in stages:
        formula = str(loss)
        lines.append(f"{name:<12}{formula if formula != before else '(unchanged)'}")
        before = formula
    lines += [f"{'rule ' + rule:<12}at {where}" for rule, where in rules]
    return "\n".join(lines) + "\n"
