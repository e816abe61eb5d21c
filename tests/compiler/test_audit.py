"""The audit of emitted code: what lossc writes passes, anything else is refused."""

from __future__ import annotations

import pytest

from lossc.compiler.errors import UsageError
from lossc.compiler.ir import F, Y
from lossc.compiler.targets.audit import audit
from lossc.compiler.targets.torch import emit
from lossc.grammar.library import named, names
from tests.compiler.torch_support import loss_of

SOURCE = emit(loss_of((Y - F) ** 2))
HOSTILE = [
    "import os",
    "import torch.hub",
    "from os import system",
    "import torch as math",
    "from torch import *",
    "__import__('os')",
    "eval('1')",
    "exec('1')",
    "open('x')",
    "getattr(torch, 'load')",
    "torch.load('x')",
    "torch.hub.load('x', 'y')",
    "torch.ops.aten.add(1, 2)",
    "x = torch.utils",
    "x = ().__class__.__bases__[0].__subclasses__()",
    "x = _value.__globals__",
    "x = __builtins__",
    "x = lambda: 1",
    "x = [i for i in (1, 2)]",
    "print(x := 1)",
    "with open('x'): pass",
    "def f(): global y",
    "async def f(): pass",
    "@staticmethod\ndef f(): pass",
    "class A(torch.Tensor): pass",
    "class A(nn.Module, metaclass=type): pass\nA.register_forward_hook(print)",
    "try:\n    pass\nexcept ValueError:\n    pass",
    "while True: pass",
    "for x in (1, 2): pass",
    "del torch",
    "assert torch",
    "f'{().__class__}'",
    "x = f'{eval(1)}'",
    "(print)(print)('x')",
    "print.__call__('x')",
    "this is no Python",
    "x = 1\x00",
    "x = " + "(" * 300 + ")" * 300,
]


@pytest.mark.parametrize("name", names())
def test_every_named_loss_passes(name: str) -> None:
    """With the self-test and without it."""
    audit(emit(named(name)))
    audit(emit(named(name), selftest=False))


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_anything_else_is_refused(line: str) -> None:
    """Behind an otherwise good file, and alone: L244, with the line where it stands."""
    for source in (f"{SOURCE}\n{line}\n", line):
        with pytest.raises(UsageError, match="L244"):
            audit(source)
