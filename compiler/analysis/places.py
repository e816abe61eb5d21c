"""Where the sign of an expression changes, solved for one hyper-parameter or for C, if that is easy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossc.compiler.ir import ONE, PARAM, ZERO, Expr, const, param, postorder, substitute
from lossc.compiler.ops import call
from lossc.compiler.passes.simplex import CLASSES

if TYPE_CHECKING:
    from lossc.compiler.analysis.world import World


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sign changes: `of` is positive where name > at (sense 1) or name < at (sense -1)."""

    name: Expr
    at: Expr
    sense: int


def place_of(world: World, of: Expr) -> Place | None:
    """Where `of` changes its sign in a world; None if that is not found."""
    return _solve(world, of, 0)


def _solve(world: World, of: Expr, depth: int) -> Place | None:
    """Where the numerator is 0, if it is straight in a name, or in a logarithm of something that can be solved."""
    found = world.tidy.quotient(of)
    if found is None or depth > 4:
        return None
    sense = 1
    for factor in found.below:
        sign = world.sign_if_known(world.tidy.expression(factor))
        if not sign:
            return None
        sense *= sign
    above = world.tidy.expression(found.above)
    atoms = sorted({a for m in found.above for a, _ in m}, key=lambda a: (a is CLASSES, a.op != PARAM, a.digest))
    for atom in atoms:
        if not (atom.op in (PARAM, "log") or atom is CLASSES) or (atom is CLASSES and world.domain.classes is not None):
            continue
        place = _solved_for(world, above, atom, sense, depth)
        if place is not None:
            return place
    return _one_factor(world, above, atoms, sense, depth)


def _solved_for(world: World, above: Expr, atom: Expr, sense: int, depth: int) -> Place | None:
    """above = slope*atom + start, with a slope of known sign that the atom does not enter."""
    unknown = param("?solve")
    straight = substitute(above, {atom: unknown})
    start = world(substitute(straight, {unknown: ZERO}))
    slope = world(substitute(straight, {unknown: ONE}) - start)
    rest = world(straight - slope * unknown - start)
    inside = postorder(start, slope)
    if rest is not ZERO or ((atom.op == PARAM or atom is CLASSES) and atom in inside):
        return None
    sign = world.sign_if_known(slope)
    if not sign:
        return None
    at = world(-start / slope)
    if atom.op == "log":
        return _solve(world, world(sense * sign * (atom.args[0] - call("exp", at))), depth + 1)
    return Place(atom, at, sense * sign)


def _one_factor(world: World, above: Expr, atoms: Sequence[Expr], sense: int, depth: int) -> Place | None:
    """Of a product whose factors all have known signs but one, that one."""
    found = world.tidy.quotient(above)
    if found is None or len(found.above) != 1:
        return None
    ((powers, factor),) = found.above.items()
    open_atoms = [(a, k) for a, k in powers if not world.sign_if_known(a)]
    if len(open_atoms) != 1 or open_atoms[0][1] % 2 == 0 or len(powers) == len(open_atoms) == len(atoms) == 1:
        return None
    sense *= 1 if factor > 0 else -1
    for a, k in powers:
        if a is not open_atoms[0][0] and k % 2:
            sense *= world.sign(a)
    return _solve(world, world(const(sense) * open_atoms[0][0]), depth + 1)
