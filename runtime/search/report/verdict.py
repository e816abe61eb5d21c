"""What a search has shown, in plain sentences: is the found loss better than the usual one, and than random search?"""

from __future__ import annotations

import math

from lossc.runtime.page.markup import count, probability, spread
from lossc.runtime.search.finals import BASELINE, Difference, Finals, Tested
from lossc.runtime.search.folder import Run
from lossc.runtime.search.journal import CONTROL, SEARCH


def verdict(run: Run) -> list[str]:
    """The sentences, the most important first; what cannot be said is said to be so."""
    if run.finals is None:
        return [_unfinished(run)]
    if run.finals.winner() is None:
        bred = count(run.search.committed, "loss was bred", "losses were bred")
        return [f"No loss was found: {bred}, and none has a fitness. There is nothing to compare."]
    ours = run.finals.row(SEARCH)
    if ours is None:
        return ["The test part was not looked at (test_seeds = 0): fitnesses alone say little, they are partly luck."]
    metric, usual = str(run.about.get("metric", "metric")), str(run.about.get("baseline", BASELINE))
    return [_beside_usual(run.finals, ours, metric, usual), _beside_random(run, run.finals), *_caveats(ours, run)]


def _unfinished(run: Run) -> str:
    done = count(run.search.committed, "loss was bred", "losses were bred")
    trained = f"{run.search.trainings:,} of them trained"
    if run.search.over and (run.control is None or run.control.over):
        return f"The search is over ({done}, {trained}), but the best were not judged on the test part yet."
    best = run.search.best[:1]
    shown = f"; the best fitness so far is {spread(best[0].value, None)}" if best else "; none has a fitness yet"
    return f"The search is not at its end: {done}, {trained}{shown}. Nothing is known of the test part yet."


def _beside_usual(finals: Finals, ours: Tested, metric: str, usual: str) -> str:
    begin = f"On the test part the found loss has {article(metric)} {metric}"
    seeds = count(len(ours.values), "training")
    if not math.isfinite(ours.spread.mean):
        return f"On the test part the found loss has no finite {metric}: {_lost(ours)} came to nothing."
    shown = f"{begin} of {spread(ours.spread.mean, ours.spread.std)} ({seeds})"
    theirs, found = finals.row(BASELINE), finals.against(BASELINE)
    if theirs is None or found is None:
        return f"{shown}."
    if not math.isfinite(theirs.spread.mean):
        return f"{shown}; {usual} has none that is finite: {_lost(theirs)} came to nothing."
    return f"{shown}, {usual} {spread(theirs.spread.mean, theirs.spread.std)}: {compared(found)}."


def _beside_random(run: Run, finals: Finals) -> str:
    if run.config.method == "random":
        return "It was found by random search itself: there is no other search to compare it with."
    if run.control is None:
        return "No random search ran beside it: whether the search is better than chance is not known."
    trained = count(run.control.trainings, "training")
    ours, theirs, found = finals.row(SEARCH), finals.row(CONTROL), finals.against(CONTROL)
    if ours is None or theirs is None or found is None:
        return f"Random search found no loss with {trained}."
    begin = f"The best loss of random search, which had {trained},"
    if not math.isfinite(theirs.spread.mean):
        return f"{begin} has no finite value: {_lost(theirs)} came to nothing."
    shown = f"{begin} has {spread(theirs.spread.mean, theirs.spread.std)}"
    if not math.isfinite(ours.spread.mean):
        return f"{shown}."
    return f"{shown}: {compared(found, 'the found loss is ')}."


def compared(found: Difference, who: str = "") -> str:
    """A paired difference in words: better or worse, by how much, and whether that clears the noise."""
    gain = found.gain
    if not math.isfinite(gain.mean):
        return "they cannot be compared seed by seed"
    if gain.mean == 0 and not gain.std:
        return f"{who}equal to it in every training" if gain.n > 1 else f"{who}equal to it"
    which = f"{who}{'better' if gain.mean > 0 else 'worse'} by {spread(abs(gain.mean), gain.std)}"
    if found.p is None or math.isnan(found.p):
        unknown = "one training says nothing of the noise" if gain.n < 2 else "nothing is known of the noise"
        return f"{which}; {unknown}"
    p = probability(found.p)
    test = f"(paired t-test, p {p})" if p.startswith("<") else f"(paired t-test, p = {p})"
    if found.clear:
        return f"{which}, which clears the noise {test}"
    return f"the gain of {spread(gain.mean, gain.std)} does not clear the noise {test}"


def _caveats(ours: Tested, run: Run) -> list[str]:
    """What the numbers do not say."""
    if len(ours.values) < 2:
        return ["One training on one split of the data: the difference may be luck."]
    said = ["All trainings share one split of the data: ± is over initial weights and batches, not over splits."]
    if run.about.get("split") == "as-published":
        said.append("Test rows were also trained on (the as-published split): this says nothing about new rows.")
    return said


def _lost(row: Tested) -> str:
    lost = sum(v is None or not math.isfinite(v) for v in row.values)
    return f"{lost} of {count(len(row.values), 'training')}"


def article(noun: str) -> str:
    """a or an, as one says the noun: an MSE, an error rate, a loss."""
    spelled = len(noun) > 1 and noun[:2].isupper()
    return "an" if noun and noun[0].upper() in ("AEFHILMNORSX" if spelled else "AEIO") else "a"
