"""The generator and the variation operators: limits, priors, DEAP's distribution, and the same trees everywhere."""

from __future__ import annotations

import collections
import random
import subprocess
import sys
from random import Random

import pytest
from deap import gp
from hypothesis import given, settings
from hypothesis import strategies as st

from lossc.compiler import ops
from lossc.compiler.errors import UsageError
from lossc.compiler.ir import ONE, Expr, F, Y, const, node, preorder
from lossc.runtime.search.generate import (
    NO_PRIORS,
    Priors,
    full_or_grow,
    half_and_half,
    has_both,
    is_plain,
    random_loss,
    with_both,
)
from lossc.runtime.search.primitives import PUBLIC, THESIS, Primitives, chosen
from lossc.runtime.search.trees import height, indices, replaced, subtree
from lossc.runtime.search.variation import MUTATIONS, Limits, Variation, mixed, one_point
from tests.cli.support import environment

SEEDS = st.integers(0, 10**9)


def trees(seed: int, count: int = 1) -> list[Expr]:
    """Random losses."""
    rng = Random(seed)
    return [random_loss(rng) for _ in range(count)]


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_nodes_are_numbered_in_prefix_order(seed: int) -> None:
    """Every number gives its subtree; replacing it by itself changes nothing; replacing another touches that alone."""
    (tree,) = trees(seed)
    listed = list(preorder(tree))

    assert len(listed) == tree.tree_size
    for i, here in enumerate(listed):
        assert subtree(tree, i) is here
        assert replaced(tree, i, here) is tree
        other = replaced(tree, i, ONE)
        assert list(preorder(other))[:i] == [
            n if n is m else m for n, m in zip(listed[:i], preorder(other), strict=False)
        ]
        assert other.tree_size == tree.tree_size - here.tree_size + 1
    for wrong in (-1, tree.tree_size):
        with pytest.raises(IndexError):
            subtree(tree, wrong)
        with pytest.raises(IndexError):
            replaced(tree, wrong, ONE)
    assert sorted(indices(tree, leaves=True) + indices(tree, leaves=False)) == indices(tree)


@given(seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_generated_losses_keep_the_priors(seed: int) -> None:
    """y and f both occur, nothing is pointless, heights and sizes are within the limits."""
    for tree in trees(seed, 3):
        assert has_both(tree) and is_plain(tree)
        assert 1 <= height(tree) <= 5 and tree.tree_size <= 60
        assert {n.op for n in preorder(tree) if n.args} <= set(THESIS.functions)


@pytest.mark.parametrize(
    ("tree", "plain"),
    [
        (node("abs", node("abs", Y - F)), False),
        (node("square", node("psqrt", Y - F)), False),
        (node("tanh", node("sign", Y - F)), False),
        (F - F, False),
        (node("max", Y, Y), False),
        (ONE + const(-1), False),
        (node("mul", F, F), True),
        (node("abs", Y - F), True),
        (node("plog", node("square", Y - F)), True),
    ],
    ids=repr,
)
def test_what_is_pointless(tree: Expr, plain: bool) -> None:
    """Pairs that undo each other, operations on numbers, operands combined with themselves."""
    assert is_plain(tree) == plain


def test_full_and_grow_are_koza_s() -> None:
    """A full tree has all its leaves at one depth; a grown one is no higher than its limit, and is a leaf at 0."""
    rng = Random(3)
    for limit in range(5):
        whole = full_or_grow(rng, THESIS, limit, limit, full=True)
        assert {depth for depth, n in _depths(whole) if not n.args} == {limit}
        assert height(full_or_grow(rng, THESIS, 0, limit, full=False)) <= limit


def _depths(tree: Expr) -> list[tuple[int, Expr]]:
    out, stack = [], [(0, tree)]
    while stack:
        depth, here = stack.pop()
        out.append((depth, here))
        stack += [(depth + 1, a) for a in here.args]
    return out


def test_half_and_half_has_the_distribution_of_deap() -> None:
    """Sizes and heights of 4,000 trees without priors are those of DEAP's genHalfAndHalf on the same primitives."""
    pset = gp.PrimitiveSet("main", 0)
    for name in THESIS.functions:
        pset.addPrimitive(abs, ops.OPS[name].arity, name=name)
    for i in range(len(THESIS.terminals)):
        pset.addTerminal(i, name=f"t{i}")
    state = random.getstate()
    random.seed(0)
    theirs = [gp.PrimitiveTree(gp.genHalfAndHalf(pset, 2, 4)) for _ in range(4000)]
    random.setstate(state)
    rng = Random(0)
    ours = [half_and_half(rng) for _ in range(4000)]

    heights = collections.Counter(t.height for t in theirs), collections.Counter(height(t) for t in ours)
    for h in (2, 3, 4):
        assert abs(heights[0][h] - heights[1][h]) < 200
    means = sum(map(len, theirs)) / 4000, sum(t.tree_size for t in ours) / 4000
    assert abs(means[0] - means[1]) < 0.05 * means[0]


@pytest.mark.parametrize("name", MUTATIONS)
@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_mutations_keep_limits_and_priors(name: str, seed: int) -> None:
    """A child fits, or is its parent; it is the same for the same stream; the global stream is not touched."""
    how = Variation(limits=Limits(height=5, nodes=20))
    parent = trees(seed)[0]
    before = random.getstate()

    children = [MUTATIONS[name](Random(seed), parent, how) for _ in range(2)]

    assert children[0] is children[1] and random.getstate() == before
    child = children[0]
    assert child is parent or (how.limits.allow(child) and has_both(child))


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_crossover_is_of_two_parents(seed: int) -> None:
    """The child is the first parent with one subtree of the second in it."""
    first, second = trees(seed, 2)
    how = Variation(priors=NO_PRIORS)

    child = one_point(Random(seed), first, second, how)

    parts = {subtree(second, i) for i in range(1, second.tree_size)}
    assert child is first or any(replaced(first, i, part) is child for i in range(1, first.tree_size) for part in parts)
    assert one_point(Random(seed), Y, second, how) is Y


def test_insert_hoist_and_shrink_do_what_they_say() -> None:
    """Insert grows, hoist gives a subtree, shrink removes an operation."""
    rng, how = Random(0), Variation(priors=NO_PRIORS)
    for tree in trees(5, 30):
        assert MUTATIONS["insert"](rng, tree, how).tree_size > tree.tree_size
        assert MUTATIONS["hoist"](rng, tree, how) in set(preorder(tree))
        assert MUTATIONS["shrink"](rng, tree, how).tree_size < tree.tree_size
        assert MUTATIONS["point"](rng, tree, how).tree_size == tree.tree_size
        assert mixed(rng, tree, how)[0] in MUTATIONS


def test_required_argument_repair() -> None:
    """Fig. 3.2 (b): one leaf becomes a binary node of y and f, in both orders over many draws; a whole tree stays."""
    tree = node("abs", node("tanh", F))
    seen = {with_both(tree, Random(i)) for i in range(60)}

    assert all(has_both(t) and t.tree_size == 5 for t in seen)
    assert node("abs", node("tanh", Y - F)) in seen and node("abs", node("tanh", F - Y)) in seen
    assert with_both(Y - F, Random(0)) is Y - F
    few = {with_both(tree, Random(i), names=("add", "sub")) for i in range(40)}
    assert {subtree(t, 2).op for t in few} == {"add", "sub"}


def test_soft_length_thins_out_long_trees() -> None:
    """With a soft length of 3, trees are shorter on average than without."""
    rng = Random(1)
    long = [random_loss(rng, priors=Priors()).tree_size for _ in range(300)]
    short = [random_loss(rng, priors=Priors(soft_length=3)).tree_size for _ in range(300)]

    assert sum(short) < 0.9 * sum(long)


def test_sets_of_functions() -> None:
    """Table 3.1 has twelve; a user's names mean the protected ones; what cannot be is refused with a code."""
    assert len(THESIS.functions) == len(PUBLIC.functions) == 12
    assert chosen(["add", "log", "sqrt", "div", "add"]).functions == ("add", "plog", "psqrt", "aq")
    for names in (["add", "lgo"], ["sum_c", "add"], ["lt", "add"], ["where"], ["tanh"]):
        with pytest.raises(UsageError) as caught:
            chosen(names)
        assert caught.value.diagnostic.code == "L270"


def test_weights_of_functions() -> None:
    """A function of weight 0 is never drawn."""
    rng = Random(0)
    rare = Primitives(("add", "sub"), weights={"sub": 0.0})
    assert {rare.draw_function(rng) for _ in range(100)} == {"add"}


def test_the_same_trees_in_every_process() -> None:
    """Another interpreter with another hash seed breeds the same children from the same seed."""
    code = (
        "from random import Random\n"
        "from lossc.runtime.search.generate import random_loss\n"
        "from lossc.runtime.search.variation import Variation, mixed, one_point\n"
        "rng, how = Random(7), Variation()\n"
        "a = [random_loss(rng) for _ in range(20)]\n"
        "a += [one_point(rng, a[i], a[-i - 1], how) for i in range(10)] + [mixed(rng, t, how)[1] for t in a]\n"
        "print(''.join(t.digest.hex() for t in a))\n"
    )
    found = set()
    for seed in ("0", "1", "random"):
        env = {**environment(), "PYTHONHASHSEED": seed}
        found.add(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
    assert len(found) == 1
