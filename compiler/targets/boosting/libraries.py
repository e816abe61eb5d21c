"""What differs between the boosters: the methods that a library calls, and how a file says that it is used.

Conventions were read and tried in XGBoost 3, LightGBM 4 and CatBoost 1.2. Objectives get raw scores, never
probabilities; over classes (n_samples, n_classes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lossc.compiler.targets.torch_layout import indent, signature

_DEFINITION = re.compile(r"def (\w+)\((.*)\) -> (.*):")


@dataclass(frozen=True, slots=True)
class Library:
    """A booster: its title, the methods of the class, the names that the module offers, and its usage, as text.

    `usage_of_two` is for targets of two values, where that is another. A library that sets attributes of the object
    gets a class that is not frozen. `{metric}` stands for the name of the loss, which is that of the metric in the log.
    """

    title: str
    methods: str
    offers: tuple[tuple[str, str], ...]
    usage: tuple[str, ...]
    usage_of_classes: tuple[str, ...]
    methods_of_classes: str = ""
    usage_of_two: tuple[str, ...] = ()
    frozen: bool = True


_XGBOOST = '''
def objective(self, y_true: object, y_pred: object, sample_weight: object = None) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian, for `XGBRegressor(objective=...)` or `XGBClassifier(objective=...)`."""
    return self.derivatives(y_true, y_pred, sample_weight)

def native_objective(self, predt: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian, for `xgboost.train(..., obj=...)`; `data` is a DMatrix."""
    return self.derivatives(data.get_label(), predt, data.get_weight())

def {metric}(self, y_true: object, y_pred: object, sample_weight: object = None) -> float:
    """The mean loss, for `XGBRegressor(eval_metric=...)`."""
    return _mean(self.losses(y_true, y_pred), sample_weight)

def native_metric(self, predt: np.ndarray, data: Any) -> tuple[str, float]:
    """The mean loss with its name, for `xgboost.train(..., custom_metric=...)`."""
    return "{metric}", _mean(self.losses(data.get_label(), predt), data.get_weight())
'''

_LIGHTGBM = '''
def objective(self, y_true: object, y_pred: object, sample_weight: object) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian, for `LGBMRegressor(objective=...)` or `LGBMClassifier(objective=...)`."""
    return self.derivatives(y_true, y_pred, sample_weight)

def native_objective(self, predt: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian, for `lightgbm.train({{"objective": ...}}, ...)`; `data` is a Dataset."""
    return self.derivatives(data.get_label(), predt, data.get_weight())

def {metric}(self, y_true: object, y_pred: object, sample_weight: object) -> tuple[str, float, bool]:
    """Name, mean loss, and that less is better, for `fit(..., eval_metric=...)`."""
    return "{metric}", _mean(self.losses(y_true, y_pred), sample_weight), False

def native_metric(self, predt: np.ndarray, data: Any) -> tuple[str, float, bool]:
    """The same for `lightgbm.train(..., feval=...)`."""
    return "{metric}", _mean(self.losses(data.get_label(), predt), data.get_weight()), False
'''

_CATBOOST_METRIC = '''
def is_max_optimal(self) -> bool:
    """Less is better."""
    return False

def evaluate(self, approxes: Any, target: object, weight: object) -> tuple[float, float]:
    """The sum of the weighted losses and of the weights, for `eval_metric=...`."""
    raw = {raw}
    found = self.losses(np.asarray(target, np.float64), raw)
    mass = np.ones(len(found)) if weight is None else np.asarray(weight, np.float64)
    return float(np.sum(mass * found)), float(np.sum(mass))

def get_final_error(self, error: float, weight: float) -> float:
    """The mean loss."""
    return error / (weight + 1e-38)
'''

_CATBOOST = '''
def calc_ders_range(self, approxes: Any, targets: object, weights: object) -> list[tuple[float, float]]:
    """First and second derivatives of minus the loss, which CatBoost maximises, for `loss_function=...`."""
    slope, bend = self.derivatives(np.asarray(targets), np.asarray(approxes), weights)
    return list(zip((-slope).tolist(), (-bend).tolist(), strict=True))
'''

_CATBOOST_CLASSES = '''
def calc_ders_multi(self, approxes: Any, target: float, weight: float) -> tuple[list[float], list[list[float]]]:
    """Gradient and (diagonal) Hessian of minus the loss of one example, for `loss_function=...`."""
    slope, bend = self.derivatives(np.asarray([target]), np.asarray([approxes]), [weight])
    return (-slope[0]).tolist(), np.diag(-bend[0]).tolist()
'''

_OFFERS = (
    ("objective", "objective"), ("native_objective", "native_objective"), ("metric", "{metric}"),
    ("native_metric", "native_metric"),
)  # fmt: skip

LIBRARIES: dict[str, Library] = {
    "xgboost": Library(
        title="XGBoost",
        methods=_XGBOOST,
        offers=_OFFERS,
        usage=(
            "start = LOSS.init_score(y)",
            "model = XGBRegressor(objective=objective, eval_metric=metric, base_score=start).fit(X, y)",
            "prediction = LOSS.predict(model.predict(X, output_margin=True))",
            'booster = xgboost.train({{"base_score": start}}, data, obj=native_objective, custom_metric=native_metric)',
        ),
        usage_of_two=(
            "start = LOSS.init_score(y)",
            "model = XGBClassifier(objective=objective, eval_metric=metric, base_score=1 / (1 + np.exp(-start)))",
            "raw = model.fit(X, y).predict(X, output_margin=True)",
            'booster = xgboost.train({{"base_score": start}}, data, obj=native_objective, custom_metric=native_metric)',
        ),
        usage_of_classes=(
            "model = XGBClassifier(objective=objective, eval_metric=metric)",
            "model.fit(X, y, base_margin=np.tile(LOSS.init_score(y), (len(y), 1)))",
            'booster = xgboost.train({{"num_class": C, "disable_default_eval_metric": True}}, data,',
            "                        obj=native_objective, custom_metric=native_metric)",
        ),
    ),
    "lightgbm": Library(
        title="LightGBM",
        methods=_LIGHTGBM,
        offers=_OFFERS,
        usage=(
            "start = np.full(len(y), LOSS.init_score(y))",
            "model = LGBMRegressor(objective=objective).fit(X, y, init_score=start, eval_metric=metric)",
            "prediction = LOSS.predict(model.predict(X, raw_score=True) + start[0])  # LightGBM forgets the start",
            'booster = lightgbm.train({{"objective": native_objective}}, Dataset(X, y, init_score=start),',
            "                         feval=native_metric)",
        ),
        usage_of_classes=(
            "start = np.tile(LOSS.init_score(y), (len(y), 1))",
            "model = LGBMClassifier(objective=objective).fit(X, y, init_score=start, eval_metric=metric)",
            "prediction = LOSS.predict(model.predict(X, raw_score=True) + start[0])  # LightGBM forgets the start",
        ),
    ),
    "catboost": Library(
        title="CatBoost",
        frozen=False,
        methods=_CATBOOST + _CATBOOST_METRIC.replace("{raw}", "np.asarray(approxes[0])"),
        methods_of_classes=_CATBOOST_CLASSES + _CATBOOST_METRIC.replace("{raw}", "np.asarray(approxes).T"),
        offers=(("objective", ""), ("metric", "")),
        usage=(
            "start = np.full(len(y), LOSS.init_score(y))",
            "model = CatBoostRegressor(loss_function=objective, eval_metric=metric).fit(Pool(X, y, baseline=start))",
            'raw = model.predict(X, prediction_type="RawFormulaVal") + start[0]  # CatBoost forgets the start',
            "prediction = LOSS.predict(raw)",
        ),
        usage_of_classes=(
            "start = np.tile(LOSS.init_score(y), (len(y), 1))",
            "model = CatBoostClassifier(loss_function=objective, eval_metric=metric, classes_count=C)",
            "model.fit(Pool(X, y, baseline=start))",
            'raw = model.predict(X, prediction_type="RawFormulaVal") + start[0]  # CatBoost forgets the start',
        ),
    ),
}
"""The boosters by the name of their target."""


def methods(library: Library, classwise: bool, metric: str) -> str:
    """The methods of the class that the library calls, indented."""
    text = library.methods_of_classes if classwise and library.methods_of_classes else library.methods
    filled = text.strip("\n").replace("{metric}", metric).replace("{{", "{").replace("}}", "}")
    return "\n".join(_signed(line) if line.startswith("def ") else indent([line]) for line in filled.split("\n"))


def _signed(line: str) -> str:
    """The `def` line of a method, broken where it would be too long."""
    found = _DEFINITION.fullmatch(line)
    if found is None:
        raise AssertionError(f"not a definition: {line}")
    return signature(found[1], found[2].split(", "), found[3], by=4)
