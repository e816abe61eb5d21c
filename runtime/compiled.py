"""Losses as PyTorch modules in this process: the emitted file itself, loaded; there is no second implementation.

    >>> module = to_torch(loss, reduction="mean", delta=2.0)
    >>> module(predictions, targets).backward()

Only source that lossc printed is run from memory, and it is audited first (`lossc.compiler.targets.audit`). A file that
the user names is the user's own code (`load_file`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import linecache
import sys
import threading
from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.compiler.roles import ROLES
from lossc.compiler.targets.audit import audit
from lossc.compiler.targets.options import DEFAULT, NAMES, Options
from lossc.compiler.targets.torch import emit
from lossc.compiler.targets.torch_names import names_of

REDUCTIONS = ("mean", "sum", "none")
MAX_LOADED = 1024
"""Emitted modules that are kept by name, for pickle and tracebacks; older ones live on only where they are used."""

_loaded: OrderedDict[str, ModuleType] = OrderedDict()
_lock = threading.RLock()


def to_torch(loss: Loss, /, reduction: str = "mean", **settings: Any) -> nn.Module:
    """The loss as an `nn.Module`.

    `settings` are hyper-parameters, by the names that the loss gives them; the options of compilation
    (`lossc.compiler.targets.options.Options`: fused, dtype, eps, kinks, from_logits, or `options` as a whole); and what
    the module takes beside (weight, ignore_index, label_smoothing, pos_weight), where no hyper-parameter has that name.

    Raises UsageError for an unknown reduction (L241), an unknown setting (L201), a value that does not suit its role
    (L202) or a missing one (L242), and what `emit` raises for a loss that cannot be compiled.
    """
    if reduction not in REDUCTIONS:
        raise UsageError("L241", f"`{reduction}` is not a reduction", expected="one of: " + ", ".join(REDUCTIONS))
    known = {p.name for p in loss.params}
    chosen = {k: settings.pop(k) for k in NAMES if k in settings and k not in known}
    options = replace(settings.pop("options", DEFAULT) if "options" not in known else DEFAULT, **chosen)
    cls = load_source(_source(loss, options), loss.name).Loss
    taken = set(inspect.signature(cls).parameters)
    beside = {k: settings.pop(k) for k in _CALL if k in settings and k not in known and k in taken}
    given = {name: _checked(loss, name, value) for name, value in settings.items()}
    missing = [p.name for p in loss.params if p.default is None and p.name not in given]
    if missing:
        raise UsageError("L242", f"{loss.name} needs a value for `{missing[0]}`", hint=f"{missing[0]}=1.0")
    names = names_of(loss).hyperparameters
    return cast(nn.Module, cls(reduction, **beside, **{names[name]: value for name, value in given.items()}))


@lru_cache(maxsize=MAX_LOADED)
def _source(loss: Loss, options: Options) -> str:
    """The text of the module; asked for again, with other settings of the module say, it is not emitted again."""
    return emit(loss, selftest=False, options=options)


def to_network(loss: Loss, *, seed: int = 0, output: str = "identity") -> nn.Module:
    """The loss as a `LossNetwork`: what `Loss.to_network` hands on to."""
    from lossc.runtime.meta.network import LossNetwork
    from lossc.runtime.meta.symbolic import Symbolic

    family = Symbolic(loss, output=output)
    return LossNetwork(family, family.initial(seed))


_CALL = ("weight", "pos_weight", "ignore_index", "label_smoothing")
"""What the module of a loss takes beside its hyper-parameters, where that applies."""


def _checked(loss: Loss, name: str, value: float) -> float:
    """The value as a float, if it suits the role of the hyper-parameter."""
    role = ROLES[loss.parameter(name).role]
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError("L202", f"`{name}` must be a number, got {value!r}") from None
    if not role.range.lo <= number <= role.range.hi or abs(number) == float("inf"):
        raise UsageError("L202", f"`{name}` must be {role.doc}, got {value}", expected=f"a {role.name} number")
    return number


def load_source(source: str, name: str) -> ModuleType:
    """The module that emitted source text defines; the same module for the same text.

    It is registered under a private name, so that its classes can be pickled and copied within the process, and shows
    its lines in tracebacks. Raises UsageError (L244) for source that lossc cannot have emitted.
    """
    digest = hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    with _lock:
        found = _loaded.get(digest)
        if found is None:
            found = _loaded[digest] = _load(source, name, digest)
            while len(_loaded) > MAX_LOADED:
                _forget(_loaded.popitem(last=False)[1])
        _loaded.move_to_end(digest)
        return found


def _load(source: str, name: str, digest: str) -> ModuleType:
    tree = audit(source)
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)[:40]
    module = ModuleType(f"_lossc_{plain}_{digest}")
    module.__file__ = f"<lossc {plain} {digest}>"
    linecache.cache[module.__file__] = (len(source), None, source.splitlines(keepends=True), module.__file__)
    sys.modules[module.__name__] = module
    exec(compile(tree, module.__file__, "exec"), module.__dict__)  # noqa: S102  audited, and printed by us from the IR
    return module


def _forget(module: ModuleType) -> None:
    sys.modules.pop(module.__name__, None)
    linecache.cache.pop(str(module.__file__), None)


def load_file(path: str | Path) -> type[nn.Module]:
    """The loss class of a Python file on disk: its `Loss`, or the only nn.Module that it defines.

    The file is run as the user's own code, like any import. Raises UsageError (L243) if it cannot be read or run, or
    holds no such class.
    """
    module = run_file(path)
    try:
        return _loss_class(module, Path(path))
    except UsageError:
        sys.modules.pop(module.__name__, None)
        raise


def run_file(path: str | Path) -> ModuleType:
    """A Python file that the user names, run as a module: the user's own code, like any import.

    While it runs it may import the files beside it. Raises UsageError (L243) if it cannot be read or run.
    """
    file = Path(path)
    digest = hashlib.blake2b(str(file.resolve()).encode(), digest_size=8).hexdigest()
    spec = importlib.util.spec_from_file_location(f"_lossc_file_{digest}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise UsageError("L243", f"`{file}` is not a Python file that can be read")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    beside = str(file.resolve().parent)
    sys.path.append(beside)
    try:
        spec.loader.exec_module(module)
    except UsageError:
        sys.modules.pop(spec.name, None)
        raise
    except (Exception, SystemExit) as problem:
        sys.modules.pop(spec.name, None)
        raise UsageError("L243", f"`{file}` does not run: {type(problem).__name__}: {problem}") from problem
    finally:
        sys.path.remove(beside)
    return module


def _loss_class(module: ModuleType, file: Path) -> type[nn.Module]:
    own = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, nn.Module)]
    own = [v for v in dict.fromkeys(own) if v.__module__ == module.__name__]
    chosen = getattr(module, "Loss", own[0] if len(own) == 1 else None)
    if not (isinstance(chosen, type) and issubclass(chosen, nn.Module)):
        raise UsageError(
            "L243", f"`{file}` defines no loss", expected="a class `Loss`, or one subclass of torch.nn.Module"
        )
    return chosen
