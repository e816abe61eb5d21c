"""What the options say about a loss, checked on its own: whatever is wrong here, the call is at fault."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.ir import ZERO
from lossc.compiler.literals import read_number
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.names import check_name
from lossc.compiler.roles import roles_for

_PARAM = re.compile(r"(?P<name>[^:=\s]+)(?::(?P<role>[^=\s]+))?(?:=(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Given:
    """What the options say about the loss: roles, name, hyper-parameters to declare, defaults to change, dialect."""

    y: str | None = None
    f: str | None = None
    name: str | None = None
    params: Sequence[str] = ()
    sets: Sequence[str] = ()
    dialect: str = "lossc"


def check_options(given: Given) -> None:
    """Complain about the options alone, whatever the loss is. Raises UsageError."""
    for which, role in (("y", given.y), ("f", given.f)):
        if role is not None and role not in roles_for(which):
            close = difflib.get_close_matches(role, roles_for(which), n=1)
            raise UsageError(
                "L235", f"`{role}` is not a role of {which}", expected="one of: " + ", ".join(roles_for(which)),
                hint=f"did you mean --{which} {close[0]}?" if close else "",
            )  # fmt: skip
    if given.name is not None:
        _as_usage(check_name, given.name, "a loss")


def declared_names(params: Sequence[str]) -> set[str]:
    """The names that `--param` arguments declare, right or wrong as they may be otherwise."""
    return {re.split("[:=]", p, maxsplit=1)[0].strip() for p in params}


def declared(params: Sequence[str]) -> dict[str, Parameter]:
    """Hyper-parameters of a formula from `NAME`, `NAME=VALUE` or `NAME:ROLE=VALUE`. Raises UsageError."""
    out: dict[str, Parameter] = {}
    for written in params:
        found = _PARAM.fullmatch(written.strip())
        if found is None:
            raise _malformed(written, "--param", "NAME=VALUE, or NAME:ROLE=VALUE")
        name, role = found["name"], found["role"] or "real"
        _as_usage(check_name, name, "a hyper-parameter")
        if role not in roles_for("hyper-parameter"):
            allowed = "one of: " + ", ".join(roles_for("hyper-parameter"))
            raise UsageError("L235", f"`{role}` is not a role of a hyper-parameter", expected=allowed)
        out[name] = Parameter(name, role)
        if found["value"] is not None:
            probe = Loss(ZERO, params=(out[name],)).with_defaults(**{name: _value(name, found["value"])})
            out[name] = probe.params[0]
    return out


def assignments(written: Sequence[str], option: str) -> dict[str, Fraction]:
    """`{name: value}` of `NAME=VALUE` (or `NAME:ROLE=VALUE`) arguments. Raises UsageError (L202, L236)."""
    out: dict[str, Fraction] = {}
    for one in written:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise _malformed(one, option, "NAME=VALUE")
        name = name.partition(":")[0].strip()
        out[name] = _value(name, value)
    return out


def _value(name: str, text: str) -> Fraction:
    try:
        return read_number(text.strip())
    except LosscError as problem:
        known = problem.diagnostic
        expected = known.expected or "a number such as 2, 0.5, 1e-7 or -1/3"
        raise UsageError("L202", f"the value of `{name}`: {known.message}", expected=expected) from None


def _malformed(text: str, option: str, form: str) -> UsageError:
    return UsageError("L236", f"{option} {text!r} cannot be read", expected=form, hint=f"for example: {option} delta=2")


def _as_usage(check: Callable[[str, str], object], *args: str) -> None:
    """Run a check whose complaint is about an option, not about the loss."""
    try:
        check(*args)
    except UsageError:
        raise
    except LosscError as problem:
        known = problem.diagnostic
        raise UsageError(known.code, known.message, expected=known.expected, hint=known.hint) from None
