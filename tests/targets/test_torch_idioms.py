"""The PyTorch idioms in the libraries they are for: torch's compilers, Lightning, timm, the Trainer of transformers.

`make test-targets` runs these; what is not installed is skipped. The models are small and random, nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossc.grammar.library import named, names
from tests.targets.cases import named_case
from tests.targets.parity import compare, emitted, load

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(os.environ.get("LOSSC_TARGETS") != "all", reason="make test-targets runs it")

IDIOMS = ("torch-function", "lightning", "huggingface")


def loaded(target: str, name: str, folder: Path) -> Any:
    """The emitted file of a named loss, as a module."""
    return load(emitted(target, named(name), folder))


@pytest.mark.parametrize("target", IDIOMS)
def test_parity(target: str, tmp_path: Path) -> None:
    """Values are within 4 ulp; gradients are autograd's, whose slope of expm1 (its value plus 1) loses bits."""
    for name in names():
        for dtype in ("float64", "float32"):
            found = compare(target, named_case(name), dtype, tmp_path)
            assert found.share <= (5 if found.where.startswith("gradient") else 1), (target, name, dtype, found)


def test_every_function_compiles(tmp_path: Path) -> None:
    """torch.export takes every named loss whole, and torch.jit.script too: no graph breaks, no Python left."""
    for name in names():
        module = loaded("torch-function", name, tmp_path)
        function = getattr(module, module.__all__[0])
        loss = named(name)
        rows = (5, 3) if loss.layout == "classwise" else (5,)
        given, target = torch.rand(rows) + 0.25, torch.ones(rows)

        class Whole(torch.nn.Module):
            def forward(self, a: Any, b: Any) -> Any:
                return function(a, b)  # noqa: B023

        exported = torch.export.export(Whole(), (given, target)).module()
        torch.testing.assert_close(exported(given, target), function(given, target), equal_nan=True)
        scripted = torch.jit.script(function)
        torch.testing.assert_close(scripted(given, target), function(given, target), equal_nan=True)


def test_lightning_trains_with_the_module(tmp_path: Path) -> None:
    """A LightningModule with the loss as a part of it learns, and its checkpoint loads."""
    lightning = pytest.importorskip("lightning")
    loss = loaded("lightning", "focal", tmp_path).Loss(gamma=1.0, smoothing=0.05)

    class Classifier(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net, self.loss = torch.nn.Linear(4, 3), loss
            self.save_hyperparameters(dict(loss.hparams))
            self.seen: list[float] = []

        def training_step(self, batch: Any, _: int) -> Any:
            x, y = batch
            value = self.loss(self.net(x), y)
            self.seen.append(float(value.detach()))
            return value

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.05)

    torch.manual_seed(0)
    x = torch.randn(96, 4)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x[:, :3].argmax(1)), batch_size=32)
    model = Classifier()
    trainer = lightning.Trainer(
        max_epochs=20, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        default_root_dir=tmp_path, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    assert model.seen[-1] < 0.5 * model.seen[0]
    assert model.hparams["smoothing"] == 0.05


def _timm(file: str) -> Any:
    """A file of timm by its path: importing all of timm wants a torchvision that fits torch, which losses do not."""
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations:
        pytest.skip("timm is not installed")
    return load(Path(found.submodule_search_locations[0]) / f"{file}.py")


def test_timm_s_mixup_and_its_own_losses(tmp_path: Path) -> None:
    """The module stands where timm has SoftTargetCrossEntropy, LabelSmoothingCrossEntropy and BinaryCrossEntropy."""
    soft, binary_file, mixup = (_timm(p) for p in ("loss/cross_entropy", "loss/binary_cross_entropy", "data/mixup"))
    np.random.seed(0)
    ours = loaded("lightning", "cross_entropy", tmp_path).Loss
    z, y = torch.randn(8, 5), torch.randint(0, 5, (8,))
    _, mixed = mixup.Mixup(mixup_alpha=0.4, label_smoothing=0.1, num_classes=5)(torch.randn(8, 3, 4, 4), y)
    torch.testing.assert_close(ours()(z, mixed), soft.SoftTargetCrossEntropy()(z, mixed.float()))
    torch.testing.assert_close(ours(smoothing=0.1)(z, y), soft.LabelSmoothingCrossEntropy(smoothing=0.1)(z, y))
    binary = loaded("lightning", "bce", tmp_path).Loss
    torch.testing.assert_close(binary(smoothing=0.1)(z, y), binary_file.BinaryCrossEntropy(smoothing=0.1)(z, y))


def _trainer(model: Any, data: Any, folder: Path, steps: int, **more: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=4, learning_rate=1e-2, report_to=[],
        use_cpu=True, save_strategy="no", disable_tqdm=True, seed=0, logging_steps=1,
        gradient_accumulation_steps=more.pop("accumulate", 1),
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=data, **more)
    trainer.train()
    return trainer


def _losses(trainer: Any) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_trainer_trains_a_language_model_as_with_its_own_loss(tmp_path: Path, accumulate: int) -> None:
    """Our cross-entropy in `compute_loss_func` gives the losses of the Trainer's own, ignored labels included."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    config = transformers.GPT2Config(vocab_size=17, n_positions=12, n_embd=8, n_layer=1, n_head=1)
    generator = torch.Generator().manual_seed(1)
    data = []
    for i in range(24):
        ids = torch.randint(0, 17, (10,), generator=generator)
        labels = ids.clone()
        labels[: i % 5] = -100
        data.append({"input_ids": ids, "labels": labels})
    ours = partial(loaded("huggingface", "cross_entropy", tmp_path).compute_loss_func, causal=True)
    found = []
    for more in ({}, {"compute_loss_func": ours}):
        torch.manual_seed(3)
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
        model = transformers.GPT2LMHeadModel(config)
        found.append(_losses(_trainer(model, data, tmp_path, 4, accumulate=accumulate, **more)))
    assert found[1] == pytest.approx(found[0], rel=2e-4)


def test_the_trainer_learns_a_classification_with_a_loss_of_ours(tmp_path: Path) -> None:
    """Focal loss on a random BERT learns which token stands first."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    config = transformers.BertConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3,
        max_position_embeddings=8,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 3, (64, 6), generator=generator)
    data = [{"input_ids": row, "labels": row[0]} for row in rows]
    torch.manual_seed(0)
    focal = partial(loaded("huggingface", "focal", tmp_path).compute_loss_func, gamma=1.0)
    model = transformers.BertForSequenceClassification(config)
    losses = _losses(_trainer(model, data, tmp_path, 60, compute_loss_func=focal))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
