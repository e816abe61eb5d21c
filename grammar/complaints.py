"""What to say when a text is not a loss: the place, what was expected, and the one thing that would help.

Reached only when something is wrong, so nothing here needs to be fast.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

from lossc.compiler import ops
from lossc.compiler.errors import LosscError, LossSyntaxError, LossTypeError, Source, Span, UsageError
from lossc.compiler.loss import Loss
from lossc.compiler.roles import roles_for
from lossc.grammar.dialects import DIALECTS, Dialect
from lossc.grammar.scope import Scope
from lossc.grammar.tokens import OPERATORS, Tok

HEADER_FORM = "loss name(y: role, f: role; delta: positive = 1.0):"
_OPERAND = frozenset({"NUMBER", "NAME", "PHI", "LPAR"})
_SHOWN = {
    "RPAR": "`)`", "RSQB": "`]`", "COMMA": "`,`", "COLON": "`:`", "EQUAL": "`=`", "SEMI": "`;`", "LSQB": "`[`",
    "NL": "the end of the line", "$END": "the end of the text", "LOSS": "a definition", "DOC": "a docstring",
    "LOCAL": "a named value", "HELPER": "a helper function", "COMPARE": "a comparison",
}  # fmt: skip


# -- characters ---------------------------------------------------------------------------------------------------------

_INSTEAD = {
    "−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/", "²": "^2", "³": "^3",
    "√": "sqrt(...)", "π": "pi", "ε": "eps", "ϵ": "eps", "δ": "delta", "λ": "lambda", "α": "alpha", "β": "beta",
    "γ": "gamma", "σ": "sigmoid(...) or sigma", "φ": "phi[0]", "ϕ": "phi[0]", "θ": "theta", "≤": "<=", "≥": ">=",
    "≠": "!=", "ŷ": "f", "Σ": "sum_c(...)", "∑": "sum_c(...)", "½": "0.5", "∞": "a large number", "\u00a0": "a plain space",
    "“": "nothing: a formula holds no quotes", "”": "nothing: a formula holds no quotes",
}  # fmt: skip
_ASCII = {
    "|": "write abs(x) for |x|, max(a, b) for a choice",
    "!": "there is no factorial: log(n!) is lgamma(n + 1); `!=` compares",
    "&": "there are no `and`, `or`: nest where(condition, a, b)",
    "'": "a formula holds no text in quotes",
    '"': "a formula holds no text in quotes; a docstring stands between triple quotes, right after the header",
    "{": "use round brackets; LaTeX is not read",
    "}": "use round brackets; LaTeX is not read",
    "\\": "LaTeX is not read; a line goes on by itself inside brackets",
    "$": "LaTeX is not read: write the formula as plain text",
    "%": "there is no remainder",
    "@": "products of matrices are no part of a loss; `*` multiplies elementwise",
    "~": "there is no `not`: exchange the two branches of where(condition, a, b)",
    "?": "write where(condition, a, b)",
    "`": "a formula holds no quotes",
}


def bad_character(text: str, at: int, before: list[Tok]) -> LosscError:
    """The complaint about a character that begins no token."""
    character = text[at]
    span = Span(at, at + 1)
    if character == ".":
        return _stray_dot(text, at, before)
    if text.startswith('"""', at):
        return LossSyntaxError("L010", "the docstring is never closed", Span(at, at + 3), expected='`"""` at its end')
    if character in _ASCII:
        return LossSyntaxError("L001", f"`{character}` is not a sign of the language", span, hint=_ASCII[character])
    instead = _INSTEAD.get(character)
    if instead is None:
        plain = unicodedata.normalize("NFKC", character)
        instead = plain if plain != character and plain.isascii() and plain.isprintable() else None
    shown = f"`{character}`" if character.isprintable() else "this character"
    name = unicodedata.name(character, "")
    about = f" (U+{ord(character):04X}{', ' + name.lower() if name else ''})"
    hint = f"write {instead}" if instead else "formulas are written in ASCII; comments and docstrings may hold any text"
    return LossSyntaxError("L001", f"{shown} is not a sign of the language{about}", span, hint=hint)


def _stray_dot(text: str, at: int, before: list[Tok]) -> LosscError:
    left = before[-1] if before and before[-1].type == "NAME" and before[-1].end == at else None
    found = re.match(r"[A-Za-z_][A-Za-z0-9_.]*", text[at + 1 :])
    if left is None or found is None:
        hint = "elementwise operators need no dot: `*`, `/`, `^`" if text[at + 1 : at + 2] in ("*", "/", "^") else ""
        return LossSyntaxError("L001", "`.` stands only inside numbers", Span(at, at + 1), hint=hint)
    function = found.group().rpartition(".")[2]
    known = ops.lookup(function)
    hint = f"write {known.signature}" if known else "names stand alone: functions are called without a module"
    whole = f"{left.text}.{found.group()}"
    span = Span(left.start, at + 1 + found.end())
    return LossSyntaxError("L010", f"`{_cut(whole)}`: the language has no attributes and no modules", span, hint=hint)


# -- unexpected tokens --------------------------------------------------------------------------------------------------

_PYTHON = {
    "if": "write where(condition, a, b)", "else": "write where(condition, a, b)", "and": "nest where(condition, a, b)",
    "or": "nest where(condition, a, b)", "not": "exchange the branches of where(condition, a, b)",
    "return": "the last line is the formula: leave `return` out", "def": "write `name(a, b) = ...`",
    "lambda": "write `name(a, b) = ...` on a line of its own", "for": "sums over the classes are sum_c(...)",
    "import": "nothing is imported: functions are called by their names", "let": "write `name = ...`",
}  # fmt: skip


def unexpected(text: str, tokens: list[Tok], token: Tok | None, accepted: set[str], kind: str) -> LosscError:
    """The complaint about the token (None: the end) with which the grammar cannot go on."""
    at = tokens.index(token) if token is not None else len(tokens)
    before = tokens[at - 1] if at else None
    if token is None:
        return _at_end(text, tokens, accepted, kind)
    special = _pair(text, tokens, at, before, token) if before is not None else None
    if special is not None:
        return special
    if token.type == "EQUAL":
        hint = "`==` compares, inside where(...); `name = ...` at the start of a line names a value"
        return LossSyntaxError("L007", "`=` cannot stand here", token.span, hint=hint)
    if token.type == "NL" or (before is not None and before.type == "NL"):
        return _at_line_end(text, tokens, at, token, accepted)
    if token.type in OPERATORS and (before is None or before.type in OPERATORS or before.type in ("LPAR", "COMMA")):
        after = f" after `{before.text}`" if before is not None else ""
        return _operand_missing(f"`{token.text}`{after} has nothing on its left", token.span)
    if _in_header(tokens, at):
        return LossSyntaxError(
            "L009", f"`{_cut(token.text)}` does not fit in a header", token.span, expected=describe(accepted),
            hint=f"a header reads `{HEADER_FORM}`",
        )  # fmt: skip
    hint = ""
    if token.type == "COLON":
        hint = f"`:` belongs to a header: `{HEADER_FORM}`; for a choice write where(condition, a, b)"
    elif token.type == "COMPARE":
        hint = "comparisons do not chain: a < b < c is where(a < b, where(b < c, ...), ...)"
    elif token.type in ("LSQB", "RSQB"):
        hint = "there is no indexing; a coefficient is written phi[0]"
    elif token.type == "DOC":
        hint = "a docstring stands right after the header of a definition"
    return LossSyntaxError(
        "L003", f"`{_cut(token.text)}` cannot stand here", token.span, expected=describe(accepted), hint=hint
    )


def _pair(text: str, tokens: list[Tok], at: int, before: Tok, token: Tok) -> LosscError | None:
    """Mistakes that two neighbours show: a missing operator, a number gone wrong, an argument left out."""
    if before.type == "HELPER" or _in_header(tokens, at):
        return None
    starts = token.type in ("NAME", "NUMBER", "LPAR", "PHI")
    if starts and before.type in ("NAME", "NUMBER", "RPAR", "RSQB"):
        return _missing_operator(text, before, token)
    if token.type in ("COMMA", "RPAR") and before.type in ("COMMA", "LPAR", *OPERATORS):
        if before.type in OPERATORS:
            return _operand_missing(f"`{before.text}` has nothing on its right", before.span)
        if token.type == "COMMA":
            return _operand_missing("an argument is missing before this comma", token.span)
        if before.type == "COMMA":
            hint = "leave the last comma out"
            return LossSyntaxError("L003", "an argument is missing after this comma", before.span, expected="an expression", hint=hint)
        return _operand_missing("nothing stands between these brackets", Span(before.start, token.end))
    return None


def _missing_operator(text: str, before: Tok, token: Tok) -> LosscError:
    together = before.end == token.start
    both = Span(before.start, token.end)
    written = text[before.start : token.end]
    if before.type == "NUMBER" and together and token.type in ("NUMBER", "NAME"):
        if token.type == "NUMBER" or before.text == "0" or re.fullmatch(r"[eE]|_[0-9_]*", token.text):
            return LossSyntaxError("L008", f"`{_cut(written)}` is not a number", both, expected="a number such as 2, .5 or 1e-7")
    for word in (before, token):
        if word.type == "NAME" and word.text in _PYTHON:
            return LossSyntaxError("L010", f"`{word.text}` is not part of the language", word.span, hint=_PYTHON[word.text])
    if token.type == "LPAR":
        hint = f"to multiply, write `{_cut(before.text)}*(...)`"
    else:
        hint = f"to multiply, write `{_cut(before.text)}*{_cut(token.text)}`"
    return LossSyntaxError(
        "L005", f"an operator is missing between `{_cut(before.text)}` and `{_cut(token.text)}`", token.span,
        expected="an operator", hint=hint,
    )  # fmt: skip


def _operand_missing(message: str, span: Span) -> LosscError:
    return LossSyntaxError("L006", message, span, expected="an expression")


def _at_end(text: str, tokens: list[Tok], accepted: set[str], kind: str) -> LosscError:
    last = tokens[-1]
    span = last.span
    if last.type in OPERATORS or last.type == "COMMA":
        return _operand_missing(f"the text ends after `{last.text}`: something is missing on its right", span)
    if last.type in ("COLON", "DOC"):
        return LossSyntaxError("L006", "the definition has no formula", span, expected="a formula after the header")
    if _in_header(tokens, len(tokens)):
        hint = f"a header reads `{HEADER_FORM}`"
        return LossSyntaxError("L009", "the header is not finished", span, expected=describe(accepted), hint=hint)
    if accepted == {"NL"} or (kind == "file" and accepted <= {"NL", *OPERATORS}):
        return LossSyntaxError(
            "L006", "the text names values, but has no formula", span, expected="the formula, on the last line"
        )
    return LossSyntaxError("L006", "the text ends too early", span, expected=describe(accepted))


def _at_line_end(text: str, tokens: list[Tok], at: int, token: Tok, accepted: set[str]) -> LosscError:
    """A line has ended: what comes next is an operator, or a second formula."""
    follower = tokens[at + 1] if token.type == "NL" and at + 1 < len(tokens) else token
    if follower.type in OPERATORS:
        hint = "a line ends a statement: put the operator at the end of the line before, or brackets around it all"
        return LossSyntaxError("L013", f"a line cannot begin with `{follower.text}` here", follower.span, hint=hint)
    if follower.type in ("LOCAL", "HELPER"):
        hint = "name values and helper functions before the formula"
        return LossSyntaxError("L013", f"`{_cut(follower.text)}` is defined after the formula", follower.span, hint=hint)
    if token.type == "NL" or follower.type in _OPERAND:
        hint = "one formula ends a definition; brackets let it go on over several lines"
        return LossSyntaxError("L013", "a second formula begins here", follower.span, hint=hint)
    return LossSyntaxError("L003", f"`{_cut(token.text)}` cannot stand here", token.span, expected=describe(accepted))


def _in_header(tokens: list[Tok], at: int) -> bool:
    """Whether a header is open at this token."""
    for i in range(min(at, len(tokens)) - 1, -1, -1):
        if tokens[i].type == "LOSS":
            closed = [j for j in range(i, at) if tokens[j].type == "RPAR" and j + 1 < at and tokens[j + 1].type == "COLON"]
            return not closed
        if tokens[i].type == "NL":
            return False
    return False


def describe(accepted: Iterable[str]) -> str:
    """The terminals that would fit, in words."""
    left = set(accepted)
    out: list[str] = []
    if left >= _OPERAND:
        out.append("an expression")
        left -= _OPERAND | {"PLUS", "MINUS"}
    if {"PLUS", "MINUS"} & left:
        out.append("an operator")
        left -= OPERATORS - {"EQUAL"}
    if "NAME" in left:
        out.append("a name")
    if "NUMBER" in left:
        out.append("a number")
    out += [_SHOWN[t] for t in _SHOWN if t in left]
    return " or ".join(out) if len(out) < 3 else ", ".join(out[:-1]) + " or " + out[-1]


# -- names and calls ----------------------------------------------------------------------------------------------------


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that this one was probably meant to be, or ""."""
    names = sorted(set(known))
    by_lower = {n.lower(): n for n in reversed(names)}
    if name.lower() in by_lower and by_lower[name.lower()] != name:
        return by_lower[name.lower()]
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.65)
    return found[0] if found else ""


def unknown_name(token: Tok, scope: Scope, tokens: list[Tok], dialect: Dialect) -> LosscError:
    """A name that stands for nothing here."""
    name = token.text
    if name in _PYTHON and name != "lambda":
        return LossSyntaxError("L010", f"`{name}` is not part of the language", token.span, hint=_PYTHON[name])
    function = ops.lookup(name)
    helper = scope.helper(name)
    if function is not None or helper is not None:
        signature = helper.signature if helper else function.signature if function else name
        return LossTypeError("L312", f"`{name}` is a function: it needs its arguments", token.span, expected=signature)
    if any(name in d.arguments for d in DIALECTS.values()):
        hint = "this looks like a DEAP string: read it with the dialect `evomal` (--dialect evomal)"
        return LossTypeError("L308", f"`{name}` is not defined", token.span, hint=hint)
    later = next((t for t in tokens if t.type == "LOCAL" and t.text == name), None)
    if later is not None:
        return LossTypeError(
            "L308", f"`{name}` is used before it is defined", token.span, hint="move its definition up, before this line"
        )
    guess = nearest(name, scope.value_names())
    declare = f"declare it as a hyper-parameter: `; {name} = 1.0` in the header, params={{'{name}': 1.0}}, or --param {name}=1.0"
    hint = f"did you mean `{guess}`? otherwise {declare}" if guess else declare
    return LossTypeError("L308", f"`{name}` is not defined", token.span, hint=hint)


def unknown_function(token: Tok, scope: Scope, tokens: list[Tok]) -> LosscError:
    """A call of something that is no function."""
    name = token.text
    if scope.value(name) is not None:
        return LossTypeError(
            "L312", f"`{name}` is a value, not a function", token.span, hint=f"to multiply, write `{name}*(...)`"
        )
    if name == "loss":
        return LossSyntaxError("L009", "the definition has no name", token.span, hint=f"a header reads `{HEADER_FORM}`")
    if name in _PYTHON:
        return LossSyntaxError("L010", f"`{name}` is not part of the language", token.span, hint=_PYTHON[name])
    if any(t.type == "HELPER" and t.text == name for t in tokens):
        hint = "helper functions are defined before they are used, so they cannot call each other in a circle"
        return LossTypeError("L316", f"`{name}` is used before it is defined", token.span, hint=hint)
    guess = nearest(name, scope.function_names())
    record = ops.lookup(guess) if guess else None
    hint = _ELSEWHERE.get(name) or (f"did you mean `{record.signature if record and record.name == guess else guess}`?" if guess else "")
    return LossTypeError(
        "L301", f"there is no function `{_cut(name)}`", token.span, hint=hint or "docs/language.md lists all functions"
    )


_ELSEWHERE = {
    "sum": "sum_c(x) sums over the classes; the batch is reduced by the loss's `reduction`",
    "mean": "mean_c(x) is the mean over the classes; the batch is reduced by the loss's `reduction`",
    "norm": "hypot(x, y) or sqrt(sum_c(x^2))",
    "if": "write where(condition, a, b)",
    "cross_entropy": "write -sum_c(y*log(f)) with f: prob, or -sum_c(y*log_softmax(f)) with f: logit",
    "gamma": "lgamma(x) is the logarithm of the gamma function",
    "factorial": "log(n!) is lgamma(n + 1)",
    "logit": "write log(x/(1 - x))",
    "round": "rounding has no useful slope: it is not offered",
    "floor": "rounding has no useful slope: it is not offered",
    "cbrt": "write sign(x)*abs(x)^(1/3)",
    "exp2": "write 2^x",
}


def wrong_arity(name: str, arity: int, given: int, signature: str, span: Span) -> LosscError:
    """A call with too few or too many arguments."""
    wanted = "no arguments" if not arity else "1 argument" if arity == 1 else f"{arity} arguments"
    return LossTypeError("L302", f"`{name}` takes {wanted}, got {given}", span, expected=signature)


def condition_misplaced(span: Span) -> LosscError:
    """A comparison where a number belongs."""
    hint = "a comparison is the first argument of where(condition, a, b); where(c, 1, 0) makes it a number"
    return LossTypeError("L303", "a condition stands where a number is needed", span, expected="a number", hint=hint)


# -- definitions --------------------------------------------------------------------------------------------------------


def check_role(role: str, user: str, token: Tok | None) -> None:
    """Raise LossTypeError (L305) if `y`, `f` or a `hyper-parameter` cannot have that role."""
    known = roles_for(user)
    if role in known:
        return
    guess = nearest(role, known)
    raise LossTypeError(
        "L305", f"`{_cut(role)}` is not a role of {_article(user)}", token.span if token else None,
        expected="one of: " + ", ".join(known), hint=f"did you mean `{guess}`?" if guess else "",
    )  # fmt: skip


def _article(user: str) -> str:
    return f"a {user}" if user == "hyper-parameter" else user


def unknown_role_option(role: str, which: str) -> LosscError:
    """A role given beside the formula that y or f cannot have."""
    known = roles_for(which)
    guess = nearest(role, known)
    return UsageError(
        "L211", f"`{_cut(role)}` is not a role of {which}", expected="one of: " + ", ".join(known),
        hint=f"did you mean `{guess}`?" if guess else "",
    )  # fmt: skip


def header_without(missing: list[str], span: Span) -> LosscError:
    """A header that leaves out y or f."""
    names = " and ".join(f"`{m}`" for m in missing)
    return LossSyntaxError("L009", f"the header does not name {names}", span, hint=f"a header reads `{HEADER_FORM}`")


def parameter_before_semicolon(token: Tok) -> LosscError:
    """A name among the arguments that is neither y nor f."""
    hint = f"hyper-parameters come after a `;`: `{HEADER_FORM}`"
    return LossSyntaxError("L009", f"`{token.text}` is not an argument: a loss has the arguments y and f", token.span, hint=hint)


def argument_misused(token: Tok, which: str, after_semicolon: bool, has_default: bool) -> LosscError:
    """A name for y or f that has a default, stands after the semicolon, or comes twice."""
    if has_default:
        return LossSyntaxError("L009", f"the argument `{token.text}` cannot have a default", token.span)
    if after_semicolon:
        message = f"`{token.text}` means {which}, an argument: it cannot be a hyper-parameter"
        return LossSyntaxError("L009", message, token.span, hint="arguments come before the `;`")
    return LossSyntaxError("L009", f"the header names {which} twice", token.span)


def several_losses(found: list[Loss], source: Source) -> LosscError:
    """`parse` was given a text with several definitions, or with none."""
    if not found:
        problem: LosscError = LossSyntaxError("L011", "the text defines no loss", expected=f"a definition: {HEADER_FORM}")
    else:
        names = ", ".join(loss.name for loss in found)
        hint = "lossc.parse_file and lossc.grammar.parse_losses read them all"
        problem = UsageError("L214", f"the text defines {len(found)} losses, not one: {_cut(names, 60)}", hint=hint)
    return problem.located(source)


def _cut(text: str, limit: int = 24) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
