"""Simplify: the canonical form, and then whatever SymPy finds that passes the accept test.

SymPy works in a process that can be killed and nothing that it says is believed: each proposal is brought to canonical
form, held against the formula by `lossc.compiler.passes.accept`, and reported with the reason of the verdict. The
whole formula is handed over, and its parts (one `log(f)/log(f)` that SymPy wrongly cancels must not spoil the rest),
first to SymPy's quick methods and then to the slow ones, until nothing more is accepted. Every accepted step costs
strictly less, so this ends; the result is its own simplification.

    >>> print(simplify(lossc.parse("y^2 - 2*y*f + f^2")).explain())
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from lossc.compiler import ops
from lossc.compiler.cost import Cost, cost
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.facts import Facts
from lossc.compiler.ir import Expr, node, postorder, substitute
from lossc.compiler.loss import CLASSWISE, Loss, varies
from lossc.compiler.passes.accept import AcceptTest, OutOfTime, Verdict
from lossc.compiler.passes.canonicalize import canonical_expr
from lossc.compiler.passes.sympy_client import WORKER, WorkerProblem
from lossc.compiler.passes.sympy_worker import QUICK, THOROUGH
from lossc.compiler.sympy_bridge import MAX_SYMPY_DEPTH, MAX_SYMPY_NODES
from lossc.compiler.verify import verify

SYMPY_SHARE = 0.7
"""Share of the time left that SymPy may take for one formula; the rest is for testing what it said."""
MIN_WORK = 2
"""Formulas and parts with no more work than this are as simple as they get in canonical form."""
MAX_PARTS = 24
"""Parts of a formula that are handed to SymPy on their own: the largest ones."""


@dataclass(frozen=True)
class Step:
    """One rewrite that was considered: of the whole body, or of a part of it.

    origin is "canonical" or "sympy:METHOD"; `reason` says why it was accepted or refused, `numbers` what was measured.
    """

    origin: str
    before: Expr
    after: Expr
    accepted: bool
    reason: str
    check: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Simplification:
    """A simplified loss, and how it came about. `before` and `after` are costs (`lossc.compiler.cost`)."""

    loss: Loss
    before: Cost
    after: Cost
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    def explain(self) -> str:
        """The report of `lossc simplify --explain`: each accepted rewrite, why others were refused, and the notes."""
        from lossc.compiler.printing import to_text

        lines = [f"result     {to_text(self.loss.body)}", f"cost       {self.before} -> {self.after}"]
        for step in self.steps:
            if step.check != "cost":
                verdict = "accepted" if step.accepted else "refused"
                lines.append(f"{verdict:<10} {step.origin}: {to_text(step.before)}  ->  {to_text(step.after)}")
                lines.append(f"{'':<10} {step.reason}")
        dear = sum(step.check == "cost" for step in self.steps)
        if dear:
            more = "1 more proposal, which costs" if dear == 1 else f"{dear} more proposals, which cost"
            lines.append(f"refused    {more} no less")
        lines += [f"note       {note}" for note in self.notes]
        return "\n".join(lines)


def simplify(loss: Loss, *, sympy: bool = True, timeout: float = 10.0) -> Simplification:
    """The simplest loss found that is equal to `loss` on its declared domain, within `timeout` seconds.

    Without `sympy` (or with a timeout of 0) it is the canonical form. The result never costs more than the input.
    Raises LossTypeError if the loss is not well formed, UsageError (L204) for a timeout that is not a number of
    seconds; a SymPy that fails or hangs is a note, not an error.
    """
    if not 0 <= timeout <= 3600:
        raise UsageError("L204", f"the time limit must be between 0 and 3600 seconds, got {timeout}")
    start = time.monotonic()
    search = _Search(verify(loss), start + timeout)
    search.canonicalize()
    if sympy and timeout > 0:
        search.ask_sympy()
    after = cost(search.loss.body)
    return Simplification(
        search.loss, cost(loss.body), after, tuple(search.steps), tuple(search.notes), time.monotonic() - start
    )


class _Search:
    """The state of one simplification."""

    def __init__(self, loss: Loss, deadline: float) -> None:
        self.loss, self.deadline = loss, deadline
        self.facts = Facts(loss)
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.problems: dict[str, dict[str, None]] = {}
        """Why SymPy's methods had nothing to say of the whole, and which ones, in order."""
        self.settled: dict[tuple[Expr, str], bool] = {}
        """Parts that a stage has nothing for; True if that is because its proposals were unfit, not dear."""
        self.refused: dict[tuple[Expr, Expr], str] = {}
        """Proposals for parts, and the check that refused them: whatever the rest of the formula is."""
        self.sympy_usable = True

    def canonicalize(self) -> None:
        """Our own form, unless it costs more than what was written."""
        before = self.loss.body
        after = self._canonical(before)
        if after is before:
            return
        old, new = cost(before), cost(after)
        accepted = new.work <= old.work
        reason = f"cost {old} -> {new}" if accepted else f"costs {new}, more than {old} as written"
        self.steps.append(Step("canonical", before, after, accepted, reason, "all" if accepted else "cost"))
        if accepted:
            self.loss = self.loss.with_body(after)

    def ask_sympy(self) -> None:
        """Rounds of proposals until nothing is accepted or the time is over: quick methods first, on every part."""
        if not _suits_sympy(self.loss.body):
            self.notes.append("the formula is too large for SymPy, which is asked for its parts only")
        try:
            while self.sympy_usable and (self._quickly() or self._thoroughly()):
                pass
        except OutOfTime:
            self.notes.append("the time was over before all of SymPy's proposals were tested")
        self.notes += [f"no proposal of SymPy's {', '.join(m)}: {problem}" for problem, m in self.problems.items()]

    def _quickly(self) -> bool:
        """The quick methods on the whole and its larger parts, largest first; True as soon as something is accepted."""
        parts = [n for n in postorder(self.loss.body) if _suits_sympy(n)]
        parts.sort(key=lambda n: -n.tree_size)  # stable: equal sizes stay in the order of the DAG
        worth = islice((n for n in parts if cost(n).work > MIN_WORK), MAX_PARTS)
        return any(self._improve(part, QUICK) for part in worth)

    def _thoroughly(self) -> bool:
        """The slow methods on the whole; on the operands of a part only where proposals for the part were unfit."""
        level = [self.loss.body]
        seen: set[Expr] = set()
        while level:
            below: list[Expr] = []
            for part in level:
                if part in seen or cost(part).work <= MIN_WORK:
                    continue
                seen.add(part)
                if _suits_sympy(part) and self._improve(part, THOROUGH):
                    return True
                if self.settled.get((part, THOROUGH), True) and len(seen) < MAX_PARTS:
                    below += part.args
            level = below
        return False

    def _canonical(self, body: Expr) -> Expr:
        """Canonical, and still summed over the classes if the body was (one that stops varying is not)."""
        made = canonical_expr(body, self.facts)
        if self.loss.layout == CLASSWISE and varies(body) and not varies(made):
            return canonical_expr(made * node("num_classes"), self.facts)
        return made

    def _improve(self, part: Expr, stage: str) -> bool:
        """Put the best accepted proposal for one part (or the whole) in its place; False if there is none."""
        if (part, stage) in self.settled or not self.sympy_usable:
            return False
        if time.monotonic() > self.deadline:
            raise OutOfTime
        test = AcceptTest(self.loss.with_body(part), deadline=self.deadline)
        candidates, unfit = self._candidates(part, stage)
        again = False  # a proposal that only the whole refused may fit when the whole has changed
        for origin, candidate in candidates:
            if (part, candidate) in self.refused:
                unfit = unfit or self.refused[part, candidate] != "cost"
                continue
            verdict, body = test.judge(candidate), candidate
            if not verdict.accepted:
                self.refused[part, candidate] = verdict.check
            if verdict.accepted and part is not self.loss.body:
                verdict, body = self._in_place(part, candidate, verdict)
                again = again or not verdict.accepted
            self.steps.append(
                Step(origin, part, candidate, verdict.accepted, str(verdict), verdict.check, verdict.numbers)
            )
            if verdict.accepted:
                self.loss = self.loss.with_body(body)
                return True
            unfit = unfit or verdict.check != "cost"
        if self.sympy_usable and not again:
            self.settled[part, stage] = unfit
        return False

    def _in_place(self, part: Expr, better: Expr, verdict: Verdict) -> tuple[Verdict, Expr]:
        """The test again, on the whole: there a part may share nodes with others, and canonical forms may differ.

        Not of the domain: replacing a part by one with the same domain, and canonicalising, keep it.
        """
        body = self._canonical(substitute(self.loss.body, {part: better}))
        if not cost(body) < cost(self.loss.body):
            return Verdict(False, "cost", "does not make the whole formula cost less"), body
        on_whole = AcceptTest(self.loss, deadline=self.deadline).judge(body, same_domain=True)
        return (verdict if on_whole.accepted else on_whole), body

    def _candidates(self, part: Expr, stage: str) -> tuple[list[tuple[str, Expr]], bool]:
        """SymPy's proposals in canonical form, each once, cheapest first (then in the order of the methods).

        The second value says whether some method gave nothing that could be used at all.
        """
        found: dict[Expr, str] = {}
        proposals, unfit = self._proposals(part, stage)
        for method, proposal in proposals:
            try:
                made = canonical_expr(proposal, self.facts)
            except (ValueError, LosscError):  # constants that fold beyond the limits of the language
                unfit = True
                continue
            if made is not part:
                found.setdefault(made, f"sympy:{method}")
        return sorted(((origin, made) for made, origin in found.items()), key=lambda item: cost(item[1])), unfit

    def _proposals(self, part: Expr, stage: str) -> tuple[list[tuple[str, Expr]], bool]:
        now = time.monotonic()
        out: list[tuple[str, Expr]] = []
        unfit = False
        try:
            for proposal in WORKER.proposals(
                self.loss.with_body(part), now + SYMPY_SHARE * (self.deadline - now), stage
            ):
                if proposal.expr is not None:
                    out.append((proposal.method, proposal.expr))
                    continue
                unfit = True
                if part is self.loss.body:
                    self.problems.setdefault(proposal.problem, {})[f"`{proposal.method}`"] = None
        except WorkerProblem as problem:
            self.sympy_usable = False
            self.notes.append(f"{problem}: kept what was found before")
        return out, unfit


def _suits_sympy(part: Expr) -> bool:
    return part.tree_size <= MAX_SYMPY_NODES and part.depth <= MAX_SYMPY_DEPTH and ops.kind_of(part) == ops.REAL_KIND
