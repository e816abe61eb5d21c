"""The report of a search: a whole and closed page, the numbers of the run in it, and sentences that are true."""

from __future__ import annotations

import json
import math
import re
import shlex
import statistics
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from lossc.compiler.ir import preorder
from lossc.runtime.page.drawing import formula
from lossc.runtime.page.markup import Markup, escaped, number, probability, spread, tag
from lossc.runtime.search import finals as end
from lossc.runtime.search.config import make_search_config
from lossc.runtime.search.folder import Run, read_run
from lossc.runtime.search.found import found_losses, front
from lossc.runtime.search.report import curves, facts, render_report, repeat
from lossc.runtime.search.report.lineage import Rail, rails
from lossc.runtime.search.report.verdict import article, verdict
from lossc.runtime.search.session import search
from lossc.runtime.tasks import TaskSpec

SMALL: dict[str, Any] = {
    "population": 6, "generations": 2, "fitness_steps": 10, "meta_steps": 4, "reject_steps": 30, "reject_rows": 20,
    "rerank": 2, "rerank_steps": 10, "test_seeds": 2,
}  # fmt: skip
TASK = TaskSpec("diabetes", steps=60)
HOSTILE = """<script>alert(1)</script>"' & $x_{1}$ \x07\x00 </svg></style> 漢"""
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
VOID = {"meta"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that is over."""
    path = tmp_path_factory.mktemp("report") / "run"
    search(TASK, run=path, **SMALL)
    return path


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """That search, read back."""
    return read_run(folder)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    """Its report."""
    return (folder / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Tags that are balanced, ids, what is linked to, and the text of every table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags[tag] += 1
        self.attributes.append((tag, found))
        self.ids += [v for k, v in attrs if k == "id" and v]
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href", "action", "srcset", "data") and v]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open) and "table" in self.open:
            self.tables[-1][-1][-1] += data
        if not {"script", "style"} & set(self.open):
            self.text += data


def check_whole(text: str) -> Page:
    """A page is well-formed, closed in itself, and every id is there once and for every link."""
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n<html")
    assert (page.wrong, page.open) == ([], [])
    assert not [i for i, n in Counter(page.ids).items() if n > 1]
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert set(re.findall(r"url\((.*?)\)", text)) <= {f"#{i}" for i in page.ids}
    assert set(re.findall(r"https?://[^\"\s<)]*", text)) <= NAMESPACES
    assert "@import" not in text and "@font-face" not in text
    return page


# -- the page ----------------------------------------------------------------------------------------------------------


def test_a_report_is_a_whole_page_that_needs_nothing_else(page: str) -> None:
    """Balanced tags, unique ids, no resource from anywhere, below the budget of 2 MB."""
    found = check_whole(page)
    assert found.tags["section"] == 9
    assert len(page.encode()) < 2_000_000


def test_drawings_and_tables_are_accessible(page: str) -> None:
    """Every drawing has the role of an image and says what it shows, or is hidden; every table has a caption."""
    found = Page(page)
    drawings = [a for t, a in found.attributes if t == "svg"]
    assert len(drawings) > 9
    assert all(a.get("aria-hidden") == "true" or (a["role"] == "img" and a["aria-label"]) for a in drawings)
    assert found.tags["caption"] == found.tags["table"] > 4
    assert all(a.get("scope") in ("col", "row") for t, a in found.attributes if t == "th")


def test_the_same_run_gives_the_same_bytes(folder: Path, page: str) -> None:
    """Nothing of the clock or of a random salt is in the page; the run's folder has the same page."""
    assert render_report(read_run(folder)) == page


def test_hostile_texts_stay_texts(run: Run, folder: Path) -> None:
    """A name of a task, a metric, a reason or an operator is text wherever it turns up, also in drawings."""
    ours = read_run(folder)
    for i, here in enumerate(ours.search.population):
        if here.outcome is not None and not here.fitness.valid:
            here.outcome["why"] = f"{HOSTILE} {i % 2}"
            here.outcome["status"] = "failed" if i % 2 else "rejected"
        here.operator = HOSTILE
    assert ours.finals is not None
    rows = [replace(r, failures=(HOSTILE, "")) for r in ours.finals.table]
    about = {**ours.about, "name": HOSTILE, "model": HOSTILE, "metric": HOSTILE, "baseline": HOSTILE}
    bad = replace(
        ours,
        about=about,
        spec=TaskSpec(HOSTILE),
        environment={"torch": HOSTILE},
        finals=end.Finals(ours.finals.finalists, rows),
    )

    text = render_report(bad)

    found = check_whole(text)
    assert text.lower().count("<script") == text.lower().count("</script") == 1
    assert "<script>alert(1)</script>" in found.text
    assert "\x00" not in text and "\x07" not in text


def test_an_unfinished_run_has_a_report(tmp_path: Path) -> None:
    """It says that the search is not at its end, how far it has come and how to go on, and shows what there is."""
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 12

    search(TASK, run=tmp_path / "a run", stop=stop, **SMALL)
    half = read_run(tmp_path / "a run")
    assert not half.over and 0 < half.search.committed < 20

    found = check_whole(render_report(half))

    (said,) = verdict(half)
    assert said in found.text
    assert said.startswith(f"The search is not at its end: {half.search.committed} losses were bred")
    assert f"lossc resume {shlex.quote(str(tmp_path / 'a run'))}" in found.text


def test_a_run_that_has_only_begun_has_a_report(folder: Path, tmp_path: Path) -> None:
    """A journal without a line: nothing was bred, and the page says so."""
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    begun = read_run(tmp_path)
    assert begun.search.committed == 0
    check_whole(render_report(begun))
    assert "0 losses were bred" in verdict(begun)[0]


def test_a_run_without_any_valid_loss_has_a_report(tmp_path: Path) -> None:
    """Where the filters reject everything the page says that there is no loss, and what became of them."""
    search(TASK, run=tmp_path, **{**SMALL, "population": 3}, reject_least=1e9, audit=0)
    none = read_run(tmp_path)
    assert not none.search.best

    found = check_whole(render_report(none))

    bred = f"{none.search.committed} losses were bred"
    assert verdict(none) == [f"No loss was found: {bred}, and none has a fitness. There is nothing to compare."]
    assert "audit = 0" in found.text


@pytest.mark.parametrize(
    ("task", "preset", "changes"),
    [
        ("digits", "quick", {}),
        ("diabetes", "quick", {"method": "gp-lfl", "control": False}),
        ("diabetes", "quick", {"method": "random", "test_seeds": 0}),
        ("diabetes", "thesis", {"rerank": 0}),
        ("diabetes", "public-2022", {"rerank": 0}),
        ("diabetes", "robust", {"test_seeds": 1}),
    ],
)
def test_every_kind_of_search_has_a_report(tmp_path: Path, task: str, preset: str, changes: dict[str, Any]) -> None:
    """Classes, no learning, no control, no test, one seed, and the presets that reproduce."""
    search(TaskSpec(task, steps=60), preset=preset, run=tmp_path, **{**SMALL, **changes})
    there = read_run(tmp_path)
    found = check_whole((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert all(said in found.text for said in verdict(there))


# -- numbers -----------------------------------------------------------------------------------------------------------


def table_with(page: str, *heads: str) -> list[list[str]]:
    """The rows of the one table that has these heads."""
    clean = [[[c.strip("↕") for c in row] for row in t] for t in Page(page).tables]
    (found,) = [t for t in clean if t[0][: len(heads)] == list(heads)]
    return found[1:]


def test_the_table_of_the_best_losses_is_that_of_the_run(run: Run, page: str) -> None:
    """Rank, fitness, value of judging again, size, front, formula, operator and ticket, row by row."""
    found = found_losses(run.search, run.finals)[:20]
    on_front = {i.ticket for i in front(run.search)}
    rows = table_with(page, "rank", "fitness", "again")
    assert rows == [
        [
            str(i), number(f.fitness), number(f.again), str(f.size), "●" if f.ticket in on_front else "", f.formula,
            f.operator, f"#{f.ticket}",
        ]
        for i, f in enumerate(found, start=1)
    ]  # fmt: skip
    assert len(rows) > 2


def test_the_table_of_the_test_part_is_that_of_the_run(run: Run, page: str) -> None:
    """Mean, deviation, gain and p as they follow from the values in the journal, and each of these."""
    assert run.finals is not None
    values = {r.name: [float(v or math.nan) for v in r.values] for r in run.finals.table}
    rows = {r[0]: r[1:] for r in table_with(page, "loss", "test MSE")}
    for name, shown in (("search", "found loss"), ("control", "random search"), ("baseline", "mse")):
        assert rows[shown][0] == spread(statistics.fmean(values[name]), statistics.stdev(values[name]))
        assert rows[shown][3:] == [number(v) for v in values[name]]
        if name != "search":
            gains = [b - a for a, b in zip(values["search"], values[name], strict=True)]
            p = stats.ttest_rel(values[name], values["search"]).pvalue
            assert rows[shown][1:3] == [spread(statistics.fmean(gains), statistics.stdev(gains)), probability(p)]


def test_costs_are_the_sums_of_the_journal(run: Run, folder: Path, page: str) -> None:
    """Jobs, seconds and steps by stage, counted from the lines of the journal again."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    outcomes = [line for line in lines if line["is"] == "outcome"]
    found = facts.costs(run)
    assert sum(c.jobs for c in found.values()) == len(outcomes)
    assert sum(c.steps for c in found.values()) == sum(line["outcome"].get("steps", 0) for line in outcomes)
    assert math.isclose(sum(c.seconds for c in found.values()), sum(line["outcome"]["seconds"] for line in outcomes))
    judged = [line for line in outcomes if line["stage"].startswith("judge:control")]
    assert found["control", "judge"].jobs == len(judged) > 0
    whole = next(r for r in table_with(page, "whose", "stage") if r[0] == "all")
    assert whole[2] == f"{len(outcomes):,}"


def test_every_loss_has_one_fate(run: Run) -> None:
    """Fates add up to the losses, and agree with the counts that the search keeps itself."""
    for there in (run.search, run.control):
        assert there is not None
        found = facts.fates(there)
        assert sum(found.values()) == there.committed
        kept = sum(n for (kind, _), n in found.items() if kind == facts.AGAIN)
        cached = sum(n for (kind, _), n in found.items() if kind == facts.CACHED)
        same = there.counts.get("same formula", 0) + there.counts.get("same gradient", 0)
        assert kept + cached == same
        assert sum(n for (kind, _), n in found.items() if kind == facts.TRAINED) == there.counts.get("ok", 0)
        assert len(facts.trainings(there)) == there.trainings


def test_operators_are_counted_in_trees(run: Run) -> None:
    """Every occurrence counts, shared parts too: with the leaves they are all nodes."""
    losses = run.search.population
    leaves = sum(not n.args for i in losses for n in preorder(i.expr))
    assert facts.operators(losses).total() + leaves == sum(len(i) for i in losses)


def test_the_audit_counts_what_was_audited(folder: Path) -> None:
    """With everything audited: all early rejects, and those that did better than the median of the others."""
    there = read_run(folder).search
    trained = [i for _, i in facts.trainings(there) if i.fitness.valid]
    best, *others = sorted(trained, key=lambda i: i.value)
    for here, late in ((best, ""), (others[-1], "unpromising")):
        assert here.outcome is not None
        here.outcome |= {"audited": "unpromising", "late": late}
    found = facts.audit(there, None)
    middle = statistics.median(i.value for i in others[:-1])
    assert (found.audited, found.passed, found.fit, found.good, found.median) == (2, 1, 2, 1, middle)


def test_ancestors_are_all_parents_of_parents(run: Run) -> None:
    """Each once, children first, and copies are seen through; what does not fit is counted."""
    there = run.search
    for here in there.population:
        found = facts.ancestors(there, here.ticket)
        tickets = [i.ticket for i in found.rows]
        assert tickets == sorted(tickets, reverse=True) and tickets[0] == here.ticket
        assert {p for t in tickets for p in facts.parents_of(there, t)} <= set(tickets)
        cut = facts.ancestors(there, here.ticket, most=1)
        assert len(cut.rows) == 1 and cut.left == len(tickets) - 1


def test_rails_lead_from_children_to_parents() -> None:
    """Every ticket has one lane at a time; the lane that a parent is entered by is the one that it is met in."""
    graph = [(9, (7, 4)), (7, (4, 3)), (4, (1,)), (3, (1, 0)), (1, ()), (0, ())]
    made = rails(graph)
    assert made[0] == Rail(0, (), False, (0, 1))
    lanes: dict[int, int] = {}
    for (ticket, parents), rail in zip(graph, made, strict=True):
        assert rail.above == (ticket in lanes)
        assert lanes.pop(ticket, rail.mine) == rail.mine
        assert set(rail.passing) == set(lanes.values())
        for parent, lane in zip(parents, rail.below, strict=True):
            assert lanes.setdefault(parent, lane) == lane
    assert not lanes
    assert rails([(5, (2, 1))]) == [Rail(0, (), False, ())]


def test_curves_are_the_loss_and_its_slope(run: Run) -> None:
    """The drawn values are those of the found loss by its own module, the slopes those of autograd."""
    best = found_losses(run.search, run.finals)[0]
    module = best.loss.to_torch(reduction="none")
    for curve in curves.curves_of(run, best):
        y = 0.0 if curve.label == "any y" else float(curve.label.removeprefix("y = ").replace("−", "-"))
        f = torch.tensor(curve.at + y, requires_grad=True)
        value = module(f, torch.full_like(f, y))
        (slope,) = torch.autograd.grad(value.sum(), f)
        np.testing.assert_allclose(curve.value, value.detach(), rtol=1e-9, atol=1e-9)
        smooth = np.abs(curve.at) > 0.05
        np.testing.assert_allclose(curve.slope[smooth], slope[torch.tensor(smooth)], rtol=1e-4, atol=1e-6)


def test_the_usual_loss_is_drawn_in_the_range_of_the_found_one() -> None:
    """Factor and shift bring a parabola onto itself, whatever its height, and survive values that are not finite."""
    at = np.linspace(-2, 2, 101)
    scale, shift = curves.scaling(3 * at**2 + 5, at**2)
    assert (scale, shift) == (pytest.approx(3), pytest.approx(5))
    assert curves.scaling(np.full(5, np.nan), at[:5] ** 2) == (1.0, 0.0)


# -- sentences ---------------------------------------------------------------------------------------------------------


def said(
    run: Run, ours: Sequence[float | None], usual: Sequence[float | None], theirs: Sequence[float | None]
) -> list[str]:
    """The verdict on values of the test part."""
    assert run.finals is not None
    rows = [end.Tested(n, tuple(v)) for n, v in (("baseline", usual), ("search", ours), ("control", theirs))]
    return verdict(replace(run, finals=end.Finals(run.finals.finalists, rows)))


def test_a_clear_gain_is_said_to_be_one(run: Run) -> None:
    """Mean, deviation, number, gain and p in a sentence; the numbers are scipy's and the standard library's."""
    ours, usual, theirs = [0.44, 0.45, 0.47, 0.44], [0.48, 0.49, 0.50, 0.49], [0.45, 0.44, 0.48, 0.45]
    p = stats.ttest_rel(usual, ours).pvalue
    q = stats.ttest_rel(theirs, ours).pvalue
    assert p < 0.05 < q
    first, second, *rest = said(run, ours, usual, theirs)
    assert first == (
        "On the test part the found loss has an MSE of 0.4500 ± 0.0141 (4 trainings), mse 0.4900 ± 0.0082: better by "
        f"0.0400 ± 0.0082, which clears the noise (paired t-test, p = {probability(p)})."
    )
    assert "has 0.4550 ± 0.0173: the gain of 0.0050 ± 0.0100 does not clear" in second
    assert second.endswith(f"the noise (paired t-test, p = {probability(q)}).")
    assert "share one split" in rest[0]


def test_a_loss_that_is_worse_is_said_to_be_worse(run: Run) -> None:
    """Also where it is worse than random search."""
    first, second, *_ = said(run, [0.6, 0.61, 0.62], [0.5, 0.512, 0.521], [0.4, 0.41, 0.43])
    assert ": worse by 0.0990 ± 0.0010, which clears the noise (paired t-test, p < 0.0001)." in first
    assert ": the found loss is worse by 0.1967 ± 0.0058, which clears the noise" in second


@pytest.mark.parametrize(
    ("ours", "usual", "part"),
    [
        (
            [0.5],
            [0.6],
            "an MSE of 0.5000 (1 training), mse 0.6000: better by 0.1000; one training says nothing of the noise.",
        ),
        ([0.5, 0.6], [0.5, 0.6], ": equal to it in every training."),
        ([0.5, 0.75], [0.75, 1.0], ": better by 0.2500 ± 0.0000, which clears the noise (paired t-test, p < 0.0001)."),
        ([0.5, None], [0.5, 0.6], "the found loss has no finite MSE: 1 of 2 trainings came to nothing."),
        ([0.5, 0.6], [None, 0.6], "; mse has none that is finite: 1 of 2 trainings came to nothing."),
        ([5000.0, 5100.0], [5300.0, 5200.0], "an MSE of 5050 ± 70.7107 (2 trainings)"),
        ([0.5, 0.6], [0.7, 0.6], "the gain of 0.1000 ± 0.1414 does not clear the noise"),
    ],
)
def test_closed_cases_of_the_first_sentence(
    run: Run, ours: list[float | None], usual: list[float | None], part: str
) -> None:
    """One training, no difference, one difference, trainings that came to nothing, large numbers."""
    assert part in said(run, ours, usual, usual)[0]


def test_what_is_not_known_is_said_to_be_so(run: Run) -> None:
    """No control, a random search, no test, and a control that found nothing."""
    assert run.finals is not None
    assert "No random search ran beside it" in verdict(replace(run, control=None))[1]
    random = replace(run, config=run.config.model_copy(update={"method": "random"}))
    assert "found by random search itself" in verdict(random)[1]
    untested = replace(run, finals=end.Finals(run.finals.finalists, []))
    assert verdict(untested) == [
        "The test part was not looked at (test_seeds = 0): fitnesses alone say little, they are partly luck."
    ]
    rows = [r for r in run.finals.table if r.name != "control"]
    assert "Random search found no loss" in verdict(replace(run, finals=end.Finals(run.finals.finalists, rows)))[1]
    published = replace(run, about={**run.about, "split": "as-published"})
    assert "Test rows were also trained on" in verdict(published)[-1]


def test_articles() -> None:
    """As one says the noun: letters of an abbreviation one by one."""
    nouns = {
        "MSE": "an",
        "error rate": "an",
        "loss": "a",
        "F1": "an",
        "RMSE": "an",
        "BLEU": "a",
        "accuracy": "an",
        "": "a",
    }
    assert {n: article(n) for n in nouns} == nouns


# -- parts -------------------------------------------------------------------------------------------------------------


def test_texts_are_escaped_unless_they_are_markup() -> None:
    """In content and in attributes; what HTML may not hold becomes U+FFFD."""
    assert tag("p", "<b>", Markup("<i></i>"), title='"&') == '<p title="&quot;&amp;">&lt;b&gt;<i></i></p>'
    assert tag("td", class_=None, hidden=True, data_key=1) == '<td hidden data-key="1"></td>'
    assert escaped("a\x00b\ud800c\td") == "a\ufffdb\ufffdc\td"


def test_numbers_are_written_to_be_read() -> None:
    """Four decimals, or four digits where these would say nothing; a true minus; infinity and none."""
    values = [0.0, 0.5, -0.25, 999.9, 12345.6, 1.5e-7, math.inf, -math.inf, math.nan, None]
    shown = ["0.0000", "0.5000", "−0.2500", "999.9000", "1.235e+04", "1.5e−07", "∞", "−∞", "–", "–"]
    assert [number(v) for v in values] == shown
    assert [probability(p) for p in (None, 0.0, 0.00012, 0.0123, 0.5)] == ["–", "< 0.0001", "0.0001", "0.012", "0.5"]


def test_formulas_are_typeset_where_that_can_be() -> None:
    """What Matplotlib cannot parse, and what is too long to read, is left to the text."""
    drawing = formula(r"\frac{1}{2} \left|y - f\right|", "one", "half |y - f|")
    assert drawing is not None and 'aria-label="half |y - f|"' in drawing and "<text" not in drawing
    assert formula(r"\begin{cases} 1 & \text{if } y \end{cases}", "two", "") is None
    assert formula("x + " * 400 + "x", "three", "") is None
    assert formula("x$ $", "four", "") is None


def test_the_command_repeats_the_settings(run: Run) -> None:
    """The preset, the options that differ, and the file for what has no option make the same settings again."""
    changed = make_search_config(
        "quick",
        population=7,
        seeds=("mse", "max(y, f)"),
        functions=("add", "sub"),
        audit=0.2,
        control=False,
        fill=False,
    )
    spec = TaskSpec("diabetes", lr=0.02)
    line, file = repeat.command(replace(run, config=changed, spec=spec))
    words = shlex.split(line)
    assert words[:6] == ["lossc", "search", "--task", "diabetes", "--preset", "quick"]
    assert "--no-control" in words
    shown = {name: words[words.index(name) + 1] for name in ("--population", "--ops", "--lr", "--config")}
    assert shown == {"--population": "7", "--ops": "add,sub", "--lr": "0.02", "--config": "search.toml"}
    assert tomllib.loads(file) == {"seeds": ["mse", "max(y, f)"], "audit": 0.2, "fill": False}


def test_the_command_in_the_page_is_that_of_the_run(run: Run, page: str) -> None:
    """What is copied from the page has the settings of the run."""
    line, file = repeat.command(run)
    found = Page(page).text
    assert line in found and file.strip() in found
    options = shlex.split(line)
    assert options[options.index("--population") + 1] == str(run.config.population)
    assert tomllib.loads(file)["rerank"] == run.config.rerank
