"""What a task is: data, a base model, the inner optimiser's settings, a metric, and the loss to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.runtime.data import CLASSIFICATION, HONEST, STANDARD, Dataset, Split, generator, split


class ModelFactory(Protocol):
    """Builds a base model from a random stream: the same stream, the same weights."""

    def __call__(self, stream: torch.Generator, dtype: torch.dtype = torch.float32) -> nn.Module: ...


Augment = Callable[[Tensor, torch.Generator], Tensor]
"""`(batch, stream) -> batch`: what is done to the inputs of a training batch; random by the stream alone."""


@dataclass(frozen=True, slots=True)
class SGD:
    """Settings of stochastic gradient descent, with the meaning that `torch.optim.SGD` gives them.

    At each of the steps in `milestones` the learning rate is multiplied by `decay` (torch's MultiStepLR).
    """

    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()
    decay: float = 0.1

    def at(self, step: int) -> SGD:
        """The settings without a schedule that hold for the step after `step` others."""
        if not self.milestones:
            return self
        passed = sum(step >= milestone for milestone in self.milestones)
        return replace(self, lr=self.lr * self.decay**passed, milestones=())


@dataclass(frozen=True, slots=True)
class Metric:
    """What a trained model is judged by: `measure(outputs, targets)` is a mean over the rows; smaller is better."""

    name: str
    doc: str
    measure: Callable[[Tensor, Tensor], Tensor]


def error_rate(logits: Tensor, targets: Tensor) -> Tensor:
    """The share of wrong rows; logits [n, C], targets [n]. A row whose logits are not all finite is wrong."""
    wrong = (logits.argmax(dim=1) != targets) | ~torch.isfinite(logits).all(dim=1)
    return wrong.double().mean()


MSE = Metric("MSE", "mean squared error in standardised units (predicting the mean gives about 1)", functional.mse_loss)
MSE_RANGE = Metric("MSE", "mean squared error in units of the targets' range in training", functional.mse_loss)
MSE_RAW = Metric("MSE", "mean squared error in the units of the targets", functional.mse_loss)
ERROR_RATE = Metric("error rate", "share of wrongly classified rows", error_rate)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A problem to train a base model on with any loss.

    name, model     for messages and tables: "diabetes", "MLP 10-64-64-1"
    data            the raw data set; `split(seed)` deals and scales it
    build           the model factory
    sgd, batch_size, steps   the inner optimiser: SGD, `steps` gradient steps
    metric          what counts in the end; `baseline` names the loss that is usually trained for it
    meta_loss       the differentiable stand-in for the metric that a meta-learner minimises
    dealing         how rows are dealt: "honest", or "as-published" (test rows are trained on)
    target_scale    how regression targets are scaled: "standard", "minmax" or "raw"
    augment         what is done to the inputs of a training batch, or None
    curve_rows      points of a learning curve between start and end see so many validation rows; 0: all
    dealt           the parts, where they are the same whatever the seed; None: every seed deals its own

    Models give [n, 1] for regression (as are the targets) and logits [n, C] for classification (targets: indices [n]).
    """

    name: str
    model: str
    data: Dataset
    build: ModelFactory
    sgd: SGD
    batch_size: int
    steps: int
    metric: Metric
    baseline: str
    meta_loss: Callable[[Tensor, Tensor], Tensor]
    dealing: str = HONEST
    target_scale: str = STANDARD
    augment: Augment | None = None
    curve_rows: int = 0
    dealt: Callable[[torch.dtype], Split] | None = None

    @property
    def kind(self) -> str:
        """ "regression" or "classification"."""
        return self.data.kind

    def split(self, seed: int, dtype: torch.dtype = torch.float32) -> Split:
        """The parts of the data for this seed, the same for every loss."""
        if self.dealt is not None:
            return self.dealt(dtype)
        return split(self.data, seed, dtype, how=self.dealing, target_scale=self.target_scale)

    def augmented(self, x: Tensor, seed: int, step: int) -> Tensor:
        """The inputs of the training batch after `step` steps, augmented: a function of x, the seed and the step."""
        return x if self.augment is None else self.augment(x, generator(seed, "augment", step))

    def fresh_model(self, seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The untrained model for this seed, the same for every loss."""
        return self.build(generator(seed, "init"), dtype)

    def baseline_loss(self) -> nn.Module:
        """Torch's own module of the baseline."""
        return nn.CrossEntropyLoss() if self.kind == CLASSIFICATION else nn.MSELoss()

    def check(self, loss: Loss) -> None:
        """UsageError (L222) if the loss cannot be what it is asked to be here, judged by its roles."""
        classes = self.kind == CLASSIFICATION
        if classes and loss.layout != CLASSWISE:
            raise UsageError(
                "L222", f"{loss.name} is elementwise (`y: {loss.y}, f: {loss.f}`), but {self.name} has classes",
                expected="a loss with `y: onehot` (and `f: prob` or `f: logit`)",
                hint="say so in its header, or with --y onehot --f prob",
            )  # fmt: skip
        if not classes and (loss.layout == CLASSWISE or loss.y != "real" or loss.f != "real"):
            raise UsageError(
                "L222", f"{loss.name} has `y: {loss.y}, f: {loss.f}`, but {self.name} has real targets and predictions",
                expected="an elementwise loss with `y: real, f: real`",
            )  # fmt: skip

    def with_settings(
        self,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        momentum: float | None = None,
    ) -> Task:
        """The same task with other settings of the inner optimiser; UsageError (L223) if one is out of range.

        A momentum of 0 is plain SGD; the task's own choice between heavy ball and Nesterov is kept otherwise.
        """
        changes: dict[str, Any] = {}
        for name, value in (("steps", steps), ("batch_size", batch_size)):
            if value is not None:
                changes[name] = value
                if value < 1:
                    raise UsageError("L223", f"`{name}` must be 1 or more, got {value}")
        sgd = self.sgd
        if lr is not None:
            sgd = replace(sgd, lr=lr)
            if not 0 < lr < float("inf"):
                raise UsageError("L223", f"the learning rate must be a positive number, got {lr}")
        if momentum is not None:
            sgd = replace(sgd, momentum=momentum, nesterov=sgd.nesterov and momentum > 0)
            if not 0 <= momentum < 1:
                raise UsageError("L223", f"the momentum must be at least 0 and below 1, got {momentum}")
        changes["sgd"] = sgd
        return replace(self, **changes)
