"""The arguments and options that commands share, each described once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Dialect(StrEnum):
    """What written names mean (`lossc.grammar.dialects`)."""

    lossc = "lossc"
    evomal = "evomal"
    public = "public"


class Target(StrEnum):
    """The targets of emission (`lossc.compiler.targets`)."""

    torch = "torch"


class Dtype(StrEnum):
    """The dtypes that a loss is computed in (`lossc.compiler.formats.FORMATS`)."""

    float64 = "float64"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Eps(StrEnum):
    """What protects operands at the edge of a domain (`lossc.compiler.passes.policies`)."""

    none = "none"
    add = "add"
    clamp = "clamp"


class Kinks(StrEnum):
    """The slope at a kink (`lossc.compiler.passes.policies`)."""

    torch = "torch"
    zero = "zero"
    left = "left"
    right = "right"
    mid = "mid"


class Format(StrEnum):
    """The forms in which a loss is shown."""

    text = "text"
    tree = "tree"
    latex = "latex"
    json = "json"
    deap = "deap"
    source = "source"
    definition = "definition"
    grad = "grad"


def complete_loss(incomplete: str) -> list[str]:
    """Names of known losses, for the shell's completion."""
    from lossc.grammar.library import names

    return [name for name in names() if name.startswith(incomplete)]


LOSS_HELP = "A formula in y and f, a named loss (`lossc list`), a .loss or .json file, or `-` for standard input."

LossArgument = Annotated[
    str, typer.Argument(metavar="LOSS", help=LOSS_HELP, show_default=False, autocompletion=complete_loss)
]
YOption = Annotated[str | None, typer.Option("--y", metavar="ROLE", help="Role of the target: real, onehot, ...")]
FOption = Annotated[str | None, typer.Option("--f", metavar="ROLE", help="Role of the prediction: real, prob, ...")]
NameOption = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Name of the loss; of several in a file, which one.")
]
ParamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="NAME=VALUE", help="Declare a hyper-parameter of a formula: delta=1, or delta:positive=1."
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change the default of a hyper-parameter.")
]
DialectOption = Annotated[
    Dialect, typer.Option("--dialect", help="What names mean; evomal: protected log, sqrt and division.")
]
FusedOption = Annotated[
    bool | None,
    typer.Option(
        "--fused/--no-fused",
        help="A gradient in closed form, block by block; by default where it wins.",
        show_default=False,
    ),
]
EpsOption = Annotated[Eps, typer.Option("--eps", help="Protect log, sqrt, / and powers at the edge of their domain.")]
KinksOption = Annotated[Kinks, typer.Option("--kinks", help="The slope at kinks; torch: as torch has it.")]
DtypeOption = Annotated[
    Dtype | None,
    typer.Option("--dtype", help="Compute in this dtype, and refuse constants that vanish in it.", show_default=False),
]
FromLogitsOption = Annotated[
    bool,
    typer.Option("--from-logits/--from-probabilities", help="What the model gives, for a loss of probabilities."),
]
OutputOption = Annotated[
    str | None, typer.Option("-o", "--output", metavar="FILE", help="Write here; `-` is standard output.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object: the result, or what was wrong.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No warnings, notes or progress.")]
