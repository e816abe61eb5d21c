"""What a trained classifier sees before its last layer, and how tightly its classes lie there (Fig. 4.7, 4.10).

The features are the input of the last layer with a weight matrix that runs: of a linear layer, or of a convolution that
gives a map for each class, the mean over its places. Their figures are invariant to the scale of the features:

    tightness    mean distance of a row to the mean of its class, over the mean distance between the means of the
                 classes: the smaller, the tighter
    silhouette   mean over the rows of (b - a) / max(a, b), where a is the mean distance to the other rows of its class,
                 and b that to the nearest other class (Rousseeuw, 1987): between -1 and 1, the larger the better apart

The picture is t-SNE's (van der Maaten and Hinton, 2008), which keeps neighbours and nothing else: sizes of clusters and
distances between them mean nothing there. So figures are taken from the features, never from the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossc.compiler.errors import UsageError
from lossc.runtime.data import Part, derive
from lossc.runtime.experiments.plain import plain
from lossc.runtime.experiments.view import View, chunks, sample
from lossc.runtime.tasks import Task
from lossc.runtime.training import Spread, TrainResult, compare

ROWS, PERPLEXITY = 1000, 30.0
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def features(view: View, part: Part) -> Tensor:
    """The penultimate representation [n, d] of the rows of a part.

    Raises UsageError (L222) if no layer has a weight matrix, or if the first one that runs is the last one as well: its
    input is the data.
    """
    ran: list[nn.Module] = []
    seen: dict[nn.Module, Tensor] = {}

    def hook(layer: nn.Module, given: tuple[Any, ...]) -> None:
        ran.append(layer)
        seen[layer] = given[0].detach()

    pieces = []
    with torch.no_grad(), ExitStack() as hooks:
        for layer in view.model.modules():
            if isinstance(layer, WEIGHTED):
                hooks.callback(layer.register_forward_pre_hook(hook).remove)
        for x, _ in chunks(part):
            ran.clear()
            view.outputs(x)
            if len(ran) < 2:
                raise UsageError("L222", "the model has no layer before its last: there is nothing to look at",
                                 hint="another --model")  # fmt: skip
            inside = seen[ran[-1]]
            pieces.append(inside if inside.ndim == 2 else inside.flatten(2).mean(2))
    return torch.cat(pieces)


def tightness(points: Tensor, classes: Tensor) -> float:
    """Mean distance to the mean of the own class over the mean distance between the means: points [n, d], classes [n].

    NaN if there are fewer than two classes, or all means are one point.
    """
    points = points.double()
    names = torch.unique(classes)
    if len(names) < 2:
        return float("nan")
    means = torch.stack([points[classes == c].mean(dim=0) for c in names])
    inside = (points - means[torch.searchsorted(names, classes)]).norm(dim=1).mean()
    return float(inside / torch.pdist(means).mean())


def silhouette(points: Tensor, classes: Tensor) -> float:
    """The mean silhouette of the classes: points [n, d], classes [n]; NaN where it is not defined."""
    from sklearn.metrics import silhouette_score

    if not 2 <= len(torch.unique(classes)) < len(classes) or not bool(torch.isfinite(points).all()):
        return float("nan")
    return float(silhouette_score(points.double().cpu().numpy(), classes.cpu().numpy()))


def embedded(points: Tensor, seed: int, perplexity: float = PERPLEXITY) -> np.ndarray:
    """t-SNE of points [n, d] to [n, 2]: from the first two principal components, so that runs can be compared.

    With fewer than three times as many rows as the perplexity, that is a third of the rows.
    """
    from sklearn.manifold import TSNE

    nearest = min(perplexity, max(1.0, (len(points) - 1) / 3))
    made = TSNE(perplexity=nearest, init="pca", random_state=derive(seed, "t-SNE") % 2**32)
    found: np.ndarray = made.fit_transform(points.double().cpu().numpy())
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Representation:
    """That of one loss, over the seeds whose runs did not diverge.

    test       the task's metric on the whole test part, over all seeds
    figures    "tightness" and "silhouette" by part ("train", "test"); empty if all runs diverged
    picture    t-SNE of the first seed's test sample [n, 2], if asked for; `classes` [n] are those of its rows
    """

    name: str
    test: Spread
    figures: Mapping[str, Mapping[str, Spread]]
    picture: np.ndarray | None
    classes: np.ndarray | None
    diverged: int

    def as_json(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        drawn: dict[str, Any] = {}
        if self.picture is not None and self.classes is not None:
            drawn = {"picture": self.picture.round(4).tolist(), "classes": self.classes.tolist()}
        figures = {part: {k: plain(s) for k, s in of.items()} for part, of in self.figures.items()}
        return {"name": self.name, "test": plain(self.test), "diverged": self.diverged, "figures": figures, **drawn}


def representations(
    task: Task,
    losses: Mapping[str, nn.Module],
    seeds: Sequence[int],
    *,
    rows: int = ROWS,
    picture: bool = False,
    progress: Callable[[str, int, int, int], None] | None = None,
    looking: Callable[[str, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Representation, ...]:
    """Train with the task's baseline and with each loss, once a seed, and look at at most `rows` rows of each part.

    With `picture`, the first seed's test rows are embedded in the plane. `progress` is as in
    `lossc.runtime.training.compare`; `looking(name, seed)` is called before each look. UsageError (L222) for a task
    without classes, and what `features` and `compare` raise.
    """
    if not task.data.classes:
        raise UsageError("L222", f"{task.name} has no classes, whose representations could lie apart",
                         expected="a classification task")  # fmt: skip
    found = []
    for row in compare(task, losses, seeds, progress=progress, device=device).rows:
        kept = [run for run in row.runs if not run.diverged]
        looks = []
        for run in kept:
            if looking is not None:
                looking(row.name, run.seed)
            looks.append(_look(task, run, rows))
        figures = {
            part: {k: Spread.of(f(*look[part]) for look in looks) for k, f in FIGURES.items()}
            for part in (("train", "test") if looks else ())
        }
        drawn = embedded(looks[0]["test"][0], kept[0].seed) if looks and picture else None
        classes = looks[0]["test"][1].cpu().numpy() if looks and picture else None
        found.append(Representation(row.name, row.test, figures, drawn, classes, len(row.runs) - len(kept)))
    return tuple(found)


FIGURES: Mapping[str, Callable[[Tensor, Tensor], float]] = {"tightness": tightness, "silhouette": silhouette}


def _look(task: Task, run: TrainResult, rows: int) -> dict[str, tuple[Tensor, Tensor]]:
    view = View.of(task, run.seed, run.state)
    some = next(iter(run.state.params.values()))
    split = task.split(run.seed, some.dtype)
    parts = {w: sample(p, rows, run.seed).to(some.device) for w, p in (("train", split.train), ("test", split.test))}
    return {w: (features(view, part), part.y) for w, part in parts.items()}
