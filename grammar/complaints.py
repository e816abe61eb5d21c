"""What to say when a name, a call or a header means nothing: the place, what was expected, what would help.

Reached only when something is wrong, so nothing here needs to be fast. What the grammar itself refuses is explained in
`lossc.grammar.syntax_complaints`.
"""

from __future__ import annotations

from collections.abc import Iterable

from lossc.compiler import ops
from lossc.compiler.errors import LosscError, LossSyntaxError, LossTypeError, Source, Span, UsageError
from lossc.compiler.loss import Loss
from lossc.compiler.roles import roles_for
from lossc.grammar.dialects import DIALECTS
from lossc.grammar.scope import Scope
from lossc.grammar.tokens import Tok

HEADER_FORM = "loss name(y: role, f: role; delta: positive = 1.0):"
CHOICE = "write where(condition, a, b)"

PYTHON = {
    "if": CHOICE,
    "else": CHOICE,
    "elif": CHOICE,
    "and": "nest where(condition, a, b)",
    "or": "nest where(condition, a, b)",
    "not": "exchange the two branches of where(condition, a, b)",
    "return": "the last line is the formula: leave `return` out",
    "def": "write `name(a, b) = ...` on a line of its own",
    "lambda": "write `name(a, b) = ...` on a line of its own",
    "let": "write `name = ...` on a line of its own",
    "for": "sums over the classes are sum_c(...)",
    "import": "nothing is imported: functions are called by their plain names",
    "None": "every value is a number",
    "True": "conditions are comparisons such as y > 0",
    "False": "conditions are comparisons such as y > 0",
}
"""Words of Python that people try, and what to write here."""

_ELSEWHERE = {
    "sum": "sum_c(x) sums over the classes; the batch is reduced by the loss's `reduction`",
    "mean": "mean_c(x) is the mean over the classes; the batch is reduced by the loss's `reduction`",
    "norm": "write hypot(x, y), or sqrt(sum_c(x^2)) over the classes",
    "if": CHOICE,
    "cross_entropy": "write -sum_c(y*log(f)) with f: prob, or -sum_c(y*log_softmax(f)) with f: logit",
    "gamma": "lgamma(x) is the logarithm of the gamma function",
    "factorial": "log(n!) is lgamma(n + 1)",
    "logit": "write log(x/(1 - x))",
    "round": "rounding has no useful slope: it is not offered",
    "floor": "rounding has no useful slope: it is not offered",
    "ceil": "rounding has no useful slope: it is not offered",
    "cbrt": "write sign(x)*abs(x)^(1/3)",
    "exp2": "write 2^x",
    "min_c": "write -max_c(-x)",
    "argmax": "it has no useful slope: it is not offered",
    "detach": "a formula is a function: nothing in it can be left out of its derivative",
}
"""Functions of other libraries, and what to write here."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that this one was probably meant to be, or an empty text."""
    import difflib

    names = sorted(set(known))
    for candidate in names:
        if candidate.lower() == name.lower():
            return candidate
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.65)
    return found[0] if found else ""


def cut(text: str, limit: int = 24) -> str:
    """A text of the user, short enough for a message."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


# -- names and calls ----------------------------------------------------------------------------------------------


def unknown_name(token: Tok, scope: Scope, tokens: list[Tok]) -> LosscError:
    """A name that stands for nothing at its place."""
    name, span = token.text, token.span
    helper, record = scope.helper(name), ops.lookup(name)
    if helper is not None or record is not None:
        signature = helper.signature if helper is not None else record.signature if record is not None else ""
        return LossTypeError("L312", f"`{name}` is a function: it needs its arguments", span, expected=signature)
    if name in PYTHON and name != "lambda":
        return LossSyntaxError("L010", f"`{name}` is not part of the language", span, hint=PYTHON[name])
    if any(name in d.arguments for d in DIALECTS.values()):
        hint = "this looks like a DEAP string: read it with the dialect `evomal` (--dialect evomal)"
        return LossTypeError("L308", f"`{name}` is not defined", span, hint=hint)
    if any(t.type == "LOCAL" and t.text == name for t in tokens):
        hint = "a name is defined before it is used, in the same definition: move its line up"
        return LossTypeError("L308", f"`{name}` is not defined here", span, hint=hint)
    guess = nearest(name, scope.value_names())
    declare = f"declare it as a hyper-parameter: `; {name} = 1.0` in the header, or --param {name}=1.0"
    hint = f"did you mean `{guess}`? otherwise {declare}" if guess else declare
    return LossTypeError("L308", f"`{name}` is not defined", span, hint=hint)


def unknown_function(token: Tok, scope: Scope, tokens: list[Tok]) -> LosscError:
    """A call of something that is no function."""
    name, span = token.text, token.span
    if scope.value(name) is not None:
        hint = f"to multiply, write `{name}*(...)`"
        return LossTypeError("L312", f"`{name}` is a value, not a function", span, hint=hint)
    if name == "loss":
        return header_without_name(token)
    if name in PYTHON:
        return LossSyntaxError("L010", f"`{name}` is not part of the language", span, hint=PYTHON[name])
    if any(t.type == "HELPER" and t.text == name for t in tokens):
        hint = "a helper function is defined before it is used, so two cannot call each other"
        return LossTypeError("L316", f"`{name}` is not defined here", span, hint=hint)
    hint = _ELSEWHERE.get(name, "")
    guess = "" if hint else nearest(name, scope.function_names())
    if guess:
        record = ops.lookup(guess)
        shown = record.signature.replace(record.name, guess, 1) if record is not None else f"{guess}(...)"
        hint = f"did you mean `{shown}`?"
    hint = hint or "docs/language.md lists all functions"
    return LossTypeError("L301", f"there is no function `{cut(name)}`", span, hint=hint)


def recursion(token: Tok) -> LosscError:
    """A helper function that calls itself."""
    hint = "a helper function is expanded where it is called, so it cannot be recursive"
    return LossTypeError("L316", f"`{token.text}` calls itself", token.span, hint=hint)


def wrong_arity(name: str, arity: int, given: int, signature: str, span: Span) -> LosscError:
    """A call with too few or too many arguments."""
    wanted = "no arguments" if not arity else "1 argument" if arity == 1 else f"{arity} arguments"
    return LossTypeError("L302", f"`{name}` takes {wanted}, got {given}", span, expected=signature)


def condition_misplaced(span: Span) -> LosscError:
    """A comparison where a number belongs."""
    hint = "a comparison is the first argument of where(condition, a, b); where(c, 1, 0) makes it a number"
    return LossTypeError("L303", "a condition stands where a number is needed", span, expected="a number", hint=hint)


def condition_needed(record: ops.OpRecord, index: int, span: Span) -> LosscError:
    """A number where a comparison belongs."""
    message = f"argument {index + 1} of `{record.name}` must be a condition"
    return LossTypeError("L303", message, span, expected="a comparison, as in where(y > f, a, b)")


# -- definitions --------------------------------------------------------------------------------------------------


def check_role(role: str, user: str, token: Tok | None) -> None:
    """Raise LossTypeError (L305) if `y`, `f` or a `hyper-parameter` cannot have that role."""
    if role not in roles_for(user):
        whose = "a hyper-parameter" if user == "hyper-parameter" else user
        expected, hint = _role_help(role, user)
        span = token.span if token is not None else None
        raise LossTypeError("L305", f"`{cut(role)}` is not a role of {whose}", span, expected=expected, hint=hint)


def unknown_role_option(role: str, which: str) -> LosscError:
    """A role given beside the text."""
    expected, hint = _role_help(role, which)
    return UsageError("L211", f"`{cut(role)}` is not a role of {which}", expected=expected, hint=hint)


def _role_help(role: str, user: str) -> tuple[str, str]:
    guess = nearest(role.replace("_", "").replace("-", ""), roles_for(user))
    return "one of: " + ", ".join(roles_for(user)), f"did you mean `{guess}`?" if guess else ""


def header_without_name(token: Tok) -> LosscError:
    """`loss (y, f):`"""
    return LossSyntaxError("L009", "the definition has no name", token.span, hint=f"a header reads `{HEADER_FORM}`")


def header_without(missing: list[str], span: Span) -> LosscError:
    """A header that does not name y or f."""
    names = " and ".join(f"`{m}`" for m in missing)
    return LossSyntaxError("L009", f"the header does not name {names}", span, hint=f"a header reads `{HEADER_FORM}`")


def parameter_before_semicolon(token: Tok) -> LosscError:
    """A hyper-parameter among the arguments."""
    hint = f"hyper-parameters come after a `;`: `{HEADER_FORM}`"
    return LossSyntaxError("L009", f"`{token.text}` is not an argument: those are y and f", token.span, hint=hint)


def argument_among_parameters(token: Tok, which: str) -> LosscError:
    """y or f after the `;`."""
    message = f"`{token.text}` means {which}: it cannot be a hyper-parameter"
    return LossSyntaxError("L009", message, token.span, hint="the arguments y and f come before the `;`")


def argument_with_default(token: Tok) -> LosscError:
    """`y = 1` in a header."""
    return LossSyntaxError("L009", f"the argument `{token.text}` cannot have a default", token.span)


def argument_twice(token: Tok, which: str) -> LosscError:
    """`loss name(y, target)`."""
    return LossSyntaxError("L009", f"the header names {which} twice", token.span)


def not_one_loss(found: list[Loss], source: Source) -> LosscError:
    """`parse` was given a text with several definitions, or with none."""
    if not found:
        problem: LosscError = LossSyntaxError("L011", "the text defines no loss", expected=HEADER_FORM)
    else:
        names = cut(", ".join(loss.name for loss in found), 60)
        hint = "lossc.parse_file and lossc.grammar.parse_losses read them all"
        problem = UsageError("L214", f"the text defines {len(found)} losses, not one: {names}", hint=hint)
    return problem.located(source)
