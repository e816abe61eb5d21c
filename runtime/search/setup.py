"""What a search starts from: the roles of its losses, its seeds, and the searches that run beside each other."""

from __future__ import annotations

from lossc.compiler.errors import UsageError
from lossc.compiler.ir import Expr
from lossc.grammar import parse
from lossc.runtime.search.config import SearchConfig
from lossc.runtime.search.evaluators import check_engine
from lossc.runtime.search.journal import CONTROL, SEARCH, Known
from lossc.runtime.search.loop import Search
from lossc.runtime.search.strategies import primitives_of
from lossc.runtime.tasks import Task


def roles_of(task: Task) -> tuple[str, str]:
    """The roles of y and f in losses for a task."""
    return ("onehot", "prob") if task.kind == "classification" else ("real", "real")


def seed_expressions(config: SearchConfig, roles: tuple[str, str]) -> tuple[Expr, ...]:
    """The formulas that begin in the population, or named losses: parsed as any other. LosscError if one is wrong."""
    from lossc.grammar.library import named, names

    out = []
    for text in config.seeds:
        loss = named(text) if text in names() else parse(text, y=roles[0], f=roles[1])
        if loss.uses_class_axis or loss.params:
            raise UsageError(
                "L270", f"`{text}` works along the classes or has hyper-parameters, and losses of a search do not"
            )
        out.append(loss.body)
    return tuple(out)


def check_settings(config: SearchConfig, task: Task, engine: str) -> None:
    """What can be said before anything is begun: UsageError for functions (L270) and the engine (L255), and LosscError
    for seeds."""
    primitives_of(config)
    seed_expressions(config, roles_of(task))
    check_engine(engine)


def make_searches(
    config: SearchConfig, roles: tuple[str, str], seeds: tuple[Expr, ...] = (), known: Known | None = None
) -> list[Search]:
    """The search, and if the settings say so the random one beside it, with what a journal knows of them."""
    known = known or Known()
    out = [Search(config, roles, seeds, SEARCH, known.births.get(SEARCH, {}), known.outcomes.get(SEARCH, {}))]
    if config.control and config.method != "random":
        beside = config.model_copy(
            update={"method": "random", "schedule": "generations", "trainings": 0, "patience": 0}
        )
        out.append(Search(beside, roles, (), CONTROL, known.births.get(CONTROL, {}), known.outcomes.get(CONTROL, {})))
    return out
