"""Boosting files in XGBoost, LightGBM and CatBoost. Each library is skipped where it is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossc.compiler.errors import LossTypeError
from lossc.compiler.targets import emit
from lossc.compiler.targets.boosting.constant import best_constant
from lossc.compiler.targets.boosting.file import SYNTAX
from lossc.compiler.targets.boosting.policy import choose, in_scores
from lossc.compiler.targets.derivatives import roots
from lossc.grammar.library import named
from tests.targets.cases import named_case, named_losses
from tests.targets.parity import compare, load

LIBRARIES = ("xgboost", "lightgbm", "catboost")
REFUSED = {"multilabel_soft_margin"}

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 4))
Y = 2 * X[:, 0] + np.sin(2 * X[:, 1]) + 0.1 * rng.normal(size=600)
LABELS = np.digitize(Y, [-1.0, 1.0])
WEIGHTS = rng.uniform(0.5, 2.0, 600)


def module(name: str, library: str, folder: Path) -> Any:
    path = folder / f"{name}_{library}.py"
    path.write_text(str(emit(named(name), library)), encoding="utf-8")
    return load(path)


@pytest.mark.parametrize("name", [n for n in named_losses() if n not in REFUSED])
def test_named_losses_equal_mpmath(name: str, tmp_path: Path) -> None:
    """Value, gradient, and the Hessian where it is exact."""
    case = named_case(name)
    if case.points:
        found = compare("xgboost", case, "float64", tmp_path)
        assert found.share <= 1.1, found


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["pseudo_huber", "tukey", "hinge", "cross_entropy", "poisson_rate", "quantile"])
def test_the_self_tests_pass_with_numpy_alone(name: str, library: str, tmp_path: Path) -> None:
    """In a process where the library cannot be imported."""
    path = tmp_path / "loss.py"
    path.write_text(str(emit(named(name), library)), encoding="utf-8")
    block = (
        f"import sys; sys.modules['{library}'] = None; import runpy; runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("ok"), done.stderr


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("pseudo_huber", "exact"), ("huber", "majoriser"), ("savage", "majoriser"), ("mae", "clip"), ("hinge", "clip"),
        ("cauchy", "half-quadratic"), ("welsch", "half-quadratic"), ("cross_entropy", "exact"), ("focal", "clip"),
    ],
)  # fmt: skip
def test_the_policy_follows_from_what_is_proved(name: str, policy: str) -> None:
    """One loss for each rule; a majoriser has the bound that is known for it."""
    loss = named(name)
    found = choose(loss, roots(in_scores(loss), SYNTAX.key))
    assert found.name == policy
    if name == "huber":
        assert found.constant == 1.0


@pytest.mark.parametrize("name", ["huber", "cauchy", "savage", "tukey", "squared_hinge"])
def test_a_step_with_the_curvature_never_raises_the_loss(name: str, tmp_path: Path) -> None:
    """What majorisers promise: L(f - L'/h) <= L(f), also far out."""
    made = module(name, "xgboost", tmp_path).LOSS
    y = np.where(rng.random(4000) < 0.5, -1.0, 1.0)
    f = rng.normal(size=4000) * np.exp(rng.normal(size=4000) * 2)
    slope, bend = made.derivatives(y, f)
    assert np.all(bend > 0)
    before, after = made.losses(y, f), made.losses(y, f - slope / bend)
    assert np.all(after <= before + 1e-9 * (1 + before))


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("mse", np.average(Y, weights=WEIGHTS)), ("l2", np.average(Y, weights=WEIGHTS)),
        ("expectile", np.average(Y, weights=WEIGHTS)),
    ],
)  # fmt: skip
def test_the_best_constant_of_numbers(name: str, start: float, tmp_path: Path) -> None:
    """Closed forms and the search agree with what is known."""
    assert module(name, "xgboost", tmp_path).LOSS.init_score(Y, WEIGHTS) == pytest.approx(start, rel=1e-6)


def test_the_best_constants_of_other_losses(tmp_path: Path) -> None:
    """A median, a quantile, the logarithm of a mean, half a logit, the logarithms of frequencies."""
    assert module("mae", "xgboost", tmp_path).LOSS.init_score([1.0, 9.0, 2.0]) == 2.0
    assert module("mae", "xgboost", tmp_path).LOSS.init_score([1.0, 9.0, 2.0], [1.0, 5.0, 1.0]) == 9.0
    quantile = module("quantile", "xgboost", tmp_path).QuantileLoss(tau=0.9)
    assert quantile.init_score(np.arange(101.0)) == pytest.approx(90.0, abs=1.0)
    assert module("poisson", "xgboost", tmp_path).LOSS.init_score([1.0, 3.0, 0.0]) == pytest.approx(np.log(4 / 3))
    share = module("exponential", "xgboost", tmp_path).LOSS.init_score([1, 0, 1, 1])
    assert share == pytest.approx(0.5 * np.log(3.0))
    assert best_constant(named("bce")).how == "mean"
    np.testing.assert_allclose(
        np.exp(module("cross_entropy", "xgboost", tmp_path).LOSS.init_score([0, 1, 1, 2])), [0.25, 0.5, 0.25]
    )


def test_other_hyper_parameters_lose_the_proof_and_clip(tmp_path: Path) -> None:
    """What was proved at the defaults is not used elsewhere."""
    made = module("huber", "xgboost", tmp_path)
    _, bend = made.HuberLoss(delta=2.0).derivatives([0.0, 0.0], [1.0, 9.0])
    np.testing.assert_allclose(bend, [1.0, 2.0])
    _, bend = made.LOSS.derivatives([0.0, 0.0], [1.0, 9.0])
    np.testing.assert_allclose(bend, [1.0, 1.0])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_loss_of_many_labels_is_refused(library: str) -> None:
    """One label an example is what a booster has."""
    with pytest.raises(LossTypeError, match="booster"):
        emit(named("multilabel_soft_margin"), library)


def test_wrong_shapes_and_labels_are_errors(tmp_path: Path) -> None:
    """With the shapes in the message."""
    with pytest.raises(ValueError, match="shape"):
        module("huber", "xgboost", tmp_path).LOSS.losses([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="class indices"):
        module("cross_entropy", "xgboost", tmp_path).LOSS.losses([3], np.zeros((1, 3)))


# -- in the libraries -------------------------------------------------------------------------------------------------


def test_xgboost(tmp_path: Path) -> None:
    """The exported pseudo-Huber gives the trees of XGBoost's own; weights, metric, both interfaces, pickling."""
    xgboost = pytest.importorskip("xgboost")
    made = module("pseudo_huber", "xgboost", tmp_path)
    start = made.LOSS.init_score(Y)
    settings: dict[str, Any] = {"n_estimators": 30, "base_score": start, "n_jobs": 1}
    ours = xgboost.XGBRegressor(objective=made.objective, eval_metric=made.metric, **settings)
    ours.fit(X, Y, sample_weight=WEIGHTS, eval_set=[(X, Y)], verbose=False)
    theirs = xgboost.XGBRegressor(objective="reg:pseudohubererror", **settings).fit(X, Y, sample_weight=WEIGHTS)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3, atol=1e-3)
    shown = ours.evals_result()["validation_0"]["pseudo_huber_loss"][-1]
    assert shown == pytest.approx(np.mean(made.LOSS.losses(Y, ours.predict(X))), rel=1e-4)
    data, log = xgboost.DMatrix(X, Y, weight=WEIGHTS), {}
    parameters = {"base_score": start, "disable_default_eval_metric": True, "nthread": 1}
    booster = xgboost.train(parameters, data, 30, obj=made.native_objective, custom_metric=made.native_metric,
                            evals=[(data, "t")], evals_result=log, verbose_eval=False)  # fmt: skip
    np.testing.assert_allclose(booster.predict(data), ours.predict(X), rtol=1e-4, atol=1e-4)
    assert log["t"]["pseudo_huber_loss"][-1] < log["t"]["pseudo_huber_loss"][0]


def test_xgboost_classes(tmp_path: Path) -> None:
    """Two classes and three: as good as the library's own on the training data."""
    xgboost = pytest.importorskip("xgboost")
    made, two = module("bce", "xgboost", tmp_path), (Y > 0).astype(int)
    start = made.LOSS.init_score(two)
    model = xgboost.XGBClassifier(
        objective=made.objective, n_estimators=20, n_jobs=1, base_score=1 / (1 + np.exp(-start))
    )
    np.testing.assert_allclose(
        model.fit(X, two).predict_proba(X)[:, 1], made.LOSS.predict(model.predict(X, output_margin=True)), rtol=1e-4
    )
    made = module("cross_entropy", "xgboost", tmp_path)
    data = xgboost.DMatrix(X, LABELS)
    parameters = {"num_class": 3, "disable_default_eval_metric": True, "nthread": 1,
                  "base_score": made.LOSS.init_score(LABELS).tolist()}  # fmt: skip
    booster = xgboost.train(parameters, data, 20, obj=made.native_objective, custom_metric=made.native_metric)
    ours = np.mean(made.LOSS.losses(LABELS, booster.predict(data, output_margin=True)))
    theirs = xgboost.XGBClassifier(n_estimators=20, n_jobs=1).fit(X, LABELS).predict_proba(X)
    assert ours <= 1.2 * -np.mean(np.log(theirs[np.arange(len(LABELS)), LABELS]))


def test_lightgbm(tmp_path: Path) -> None:
    """Both interfaces, weights, the metric; over classes the trees are those of LightGBM's own multiclass."""
    lightgbm = pytest.importorskip("lightgbm")
    made = module("pseudo_huber", "lightgbm", tmp_path)
    start = np.full(len(Y), made.LOSS.init_score(Y))
    model = lightgbm.LGBMRegressor(objective=made.objective, n_estimators=30, verbose=-1, n_jobs=1)
    model.fit(X, Y, sample_weight=WEIGHTS, init_score=start, eval_metric=made.metric)
    got = model.predict(X, raw_score=True) + start
    assert np.mean(made.LOSS.losses(Y, got)) < 0.2 * np.mean(made.LOSS.losses(Y, start))
    data, log = lightgbm.Dataset(X, Y, weight=WEIGHTS, init_score=start), {}
    parameters = {"objective": made.native_objective, "verbose": -1, "metric": "none", "num_threads": 1}
    booster = lightgbm.train(parameters, data, 30, valid_sets=[data], feval=made.native_metric,
                             callbacks=[lightgbm.record_evaluation(log)])  # fmt: skip
    np.testing.assert_allclose(booster.predict(X) + start, got, rtol=1e-6, atol=1e-6)
    assert log["training"]["pseudo_huber_loss"][-1] < log["training"]["pseudo_huber_loss"][0]
    made = module("cross_entropy", "lightgbm", tmp_path)
    first = made.LOSS.init_score(LABELS)
    ours = lightgbm.LGBMClassifier(objective=made.objective, n_estimators=15, verbose=-1, n_jobs=1)
    ours.fit(X, LABELS, init_score=np.tile(first, (len(LABELS), 1)))
    theirs = lightgbm.LGBMClassifier(n_estimators=15, verbose=-1, n_jobs=1).fit(X, LABELS)
    probabilities = made.LOSS.predict(ours.predict(X, raw_score=True) + first)
    np.testing.assert_allclose(probabilities, theirs.predict_proba(X), rtol=1e-3, atol=1e-4)


def test_catboost(tmp_path: Path) -> None:
    """Numbers, and a few steps over classes, where CatBoost calls the objective for each example."""
    catboost = pytest.importorskip("catboost")
    made = module("pseudo_huber", "catboost", tmp_path)
    start = np.full(len(Y), made.LOSS.init_score(Y))
    settings: dict[str, Any] = {"verbose": False, "allow_writing_files": False, "learning_rate": 0.3, "thread_count": 1}
    model = catboost.CatBoostRegressor(loss_function=made.objective, eval_metric=made.metric, iterations=30, **settings)
    model.fit(catboost.Pool(X, Y, weight=WEIGHTS, baseline=start))
    got = model.predict(X, prediction_type="RawFormulaVal") + start
    assert np.mean(made.LOSS.losses(Y, got)) < 0.2 * np.mean(made.LOSS.losses(Y, start))
    shown = model.get_evals_result()["learn"]["PseudoHuberLoss"][-1]
    assert shown == pytest.approx(np.average(made.LOSS.losses(Y, got), weights=WEIGHTS), rel=1e-6)
    made = module("cross_entropy", "catboost", tmp_path)
    first = np.tile(made.LOSS.init_score(LABELS), (len(LABELS), 1))
    model = catboost.CatBoostClassifier(loss_function=made.objective, eval_metric=made.metric, classes_count=3,
                                        iterations=5, **settings)  # fmt: skip
    model.fit(catboost.Pool(X, LABELS, baseline=first))
    got = model.predict(X, prediction_type="RawFormulaVal") + first
    assert np.mean(made.LOSS.losses(LABELS, got)) < 0.5 * np.mean(made.LOSS.losses(LABELS, first))
