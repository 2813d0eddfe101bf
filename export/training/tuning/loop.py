"""The fine-tuning loop: trains the last blocks of a backbone together with its heads; resumes after interruption.

The frozen layers process a few augmented views of each photo once; their activations are cached on disk, so that an
epoch runs only the tuned layers. If all layers are tuned, each epoch uses new views.
Source for starting from fitted heads: Kumar et al., "Fine-tuning can distort pretrained features and underperform
out-of-distribution", ICLR 2022.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from export.arrays import Integers
from export.errors import TrainingError
from export.evaluation.retrieval import recall_at
from export.sources.network_cut import make_linear
from export.training.tuning.frozen_layers import PartlyFrozenTrunk
from export.training.tuning.mixup import has_rows_and_columns, mix_batch

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TuningSettings:
    """Settings of the fine-tuning.

    Attributes:
        unfreeze: number of last blocks to tune; None is all.
        patience: epochs without a better validation result before training stops.
        mixup, cutmix: strengths, as in `mixup.mix_batch`; 0 disables them.
        ema: decay per step of the averaged weights, which are validated and kept.
        embedding_loss: "supcon" or "proxy-anchor" beside the classification loss; None is none. With one, the best
            epoch has the highest Recall@1 among the validation photos, by the first attribute.
        mixed_precision: multiplications in bfloat16, sums and weights in float32.
    """

    unfreeze: int | None
    epochs: int = 12
    views: int = 5
    batch: int = 32
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    mixup: float = 0.2
    cutmix: float = 0.0
    warm_up: float = 0.1
    clip: float = 1.0
    ema: float = 0.99
    patience: int = 4
    minutes: float = 60.0
    embedding_loss: str | None = None
    embedding_weight: float = 0.3
    mixed_precision: bool = False
    seed: int = 0


@dataclass(frozen=True)
class TuningData:
    """Training and validation photos.

    Attributes:
        activations: rows, epoch (None: as served) -> inputs of the tuned layers, one view per row.
        targets: attribute -> int64[N]; -1 if unknown.
        train, validation: rows.
        fingerprint: of all photos and labels.
    """

    activations: Callable[[Integers, int | None], torch.Tensor]
    targets: Mapping[str, Integers]
    train: Integers
    validation: Integers
    fingerprint: str


class TunedModel(nn.Module):
    """The tuned layers with their heads; its parameters are theirs alone.

    Args:
        trunk: the trunk with its frozen layers.
        heads: attribute -> (weight, bias), fitted on the features of the untuned backbone.
    """

    def __init__(self, trunk: PartlyFrozenTrunk, heads: Mapping[str, tuple[Any, Any]]) -> None:
        super().__init__()
        self.trunk = trunk
        self.tuned = nn.ModuleList(trunk.tuned)
        self.heads = nn.ModuleList(make_linear(weight, bias).requires_grad_() for weight, bias in heads.values())

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features = self.trunk.run_tuned(inputs)
        return features, [head(features) for head in self.heads]


def tune(
    trunk: PartlyFrozenTrunk,
    heads: Mapping[str, tuple[Any, Any]],
    photos: TuningData,
    tuning: TuningSettings,
    folder: Path,
    on_epoch: Callable[[dict[str, Any]], None] = lambda figures: None,
) -> dict[str, Any]:
    """Tunes `trunk` in place; its final weights are those of the best validation epoch.

    Training resumes from a checkpoint in `folder` of the same photos and settings. `on_epoch` gets the figures of each
    epoch.

    Returns:
        The figures of every epoch, and the number of the best one.

    Raises:
        TrainingError: the loss is not finite, the checkpoint cannot be written, or CutMix is not possible because the
            inputs of the tuned layers have no image axes.
    """
    return _TuningRun(trunk, heads, photos, tuning, folder).run(on_epoch)


class _TuningRun:
    def __init__(
        self,
        trunk: PartlyFrozenTrunk,
        heads: Mapping[str, tuple[Any, Any]],
        photos: TuningData,
        tuning: TuningSettings,
        folder: Path,
    ) -> None:
        torch.manual_seed(tuning.seed)
        trunk.freeze()
        self.photos, self.tuning = photos, tuning
        self.file = folder / CHECKPOINT
        self.device = next(trunk.module.parameters()).device
        self.model = TunedModel(trunk, heads).to(self.device)
        self.names = list(photos.targets)
        self.embedding_loss = _embedding_loss(tuning.embedding_loss, photos, next(iter(heads.values()))[0].shape[1])
        tuned = [weight for weight in self.model.tuned.parameters() if weight.requires_grad]
        others = [*self.model.heads.parameters()]
        if self.embedding_loss is not None:
            others += self.embedding_loss.to(self.device).parameters()
        self.optimizer = torch.optim.AdamW(
            [{"params": tuned, "lr": tuning.learning_rate}, {"params": others, "lr": tuning.head_learning_rate}],
            weight_decay=tuning.weight_decay,
        )
        self.steps = max(1, math.ceil(len(photos.train) / tuning.batch))
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._learning_rate_factor)
        self.average = _copy_weights(self.model)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] = copy.deepcopy(self.average)
        self.spent_s = 0.0

    def _learning_rate_factor(self, step: int) -> float:
        """Linear warm-up, then cosine decay."""
        total = self.tuning.epochs * self.steps
        warm_up = max(1.0, self.tuning.warm_up * total)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1.0, total - warm_up))))

    def run(self, on_epoch: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        if self.tuning.cutmix:
            self._refuse_cutmix()
        self._resume()
        if not self.history:
            self._record({"epoch": 0, **self._validate()}, on_epoch)
        while not self._is_over():
            started = time.monotonic()
            epoch = len(self.history)
            loss = self._train_epoch(epoch)
            figures = {"epoch": epoch, "train_loss": loss, **self._validate()}
            self.spent_s += time.monotonic() - started
            self._record(figures | {"seconds": round(self.spent_s, 1)}, on_epoch)
        _load_weights(self.model, self.best)
        self.model.eval()
        return {"epochs": self.history, "best": self._best_epoch(), "settings": asdict(self.tuning)}

    def _refuse_cutmix(self) -> None:
        shape = self.photos.activations(self.photos.train[:1], 0).shape
        if not has_rows_and_columns(shape):
            raise TrainingError(
                f"--cutmix needs inputs of the tuned layers with height and width as last axes, got the shape "
                f"{list(shape[1:])}. Leave --cutmix out, or tune all layers with --unfreeze all."
            )

    def _is_over(self) -> bool:
        epoch = len(self.history) - 1
        is_stale = epoch - self._best_epoch() >= self.tuning.patience
        return epoch >= self.tuning.epochs or is_stale or self.spent_s > 60 * self.tuning.minutes

    def _best_epoch(self) -> int:
        return max(range(len(self.history)), key=lambda epoch: _rank_epoch(self.history[epoch]))

    def _record(self, figures: dict[str, Any], on_epoch: Callable[[dict[str, Any]], None]) -> None:
        self.history.append(figures)
        if self._best_epoch() == len(self.history) - 1:
            self.best = copy.deepcopy(self.average)
        self._save()
        on_epoch(figures)

    def _train_epoch(self, epoch: int) -> float:
        random = np.random.default_rng([self.tuning.seed, epoch])
        order = random.permutation(self.photos.train)
        total = 0.0
        for start in range(0, len(order), self.tuning.batch):
            rows = order[start : start + self.tuning.batch]
            loss = self._loss(rows, epoch, random)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"The loss is {loss.item()} in epoch {epoch}. Lower --learning-rate; earlier epochs are kept."
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([w for w in self.model.parameters() if w.requires_grad], self.tuning.clip)
            self.optimizer.step()
            self.scheduler.step()
            for name, weight in _copy_weights(self.model).items():
                self.average[name].lerp_(weight, 1 - self.tuning.ema)
            total += loss.item() * len(rows)
        return total / max(1, len(order))

    def _loss(self, rows: Integers, epoch: int, random: np.random.Generator) -> torch.Tensor:
        inputs = self.photos.activations(rows, epoch).to(self.device)
        mixed = mix_batch(inputs, self.tuning.mixup, self.tuning.cutmix, random)
        with self._autocast():
            features, logits = self.model(mixed.inputs)
            plain = (
                self.model.trunk.run_tuned(inputs) if self.embedding_loss is not None and mixed.share < 1 else features
            )
        losses = []
        for name, scores in zip(self.names, logits, strict=True):
            targets = self._targets(name, rows)
            for target, weight in ((targets, mixed.share), (targets[mixed.partner], 1 - mixed.share)):
                if weight and (target >= 0).any():
                    losses.append(weight * self._cross_entropy(scores.float(), target))
        loss = torch.stack(losses).sum() / len(self.names) if losses else features.sum() * 0
        if self.embedding_loss is not None:
            targets = self._targets(self.names[0], rows)
            loss = loss + self.tuning.embedding_weight * self.embedding_loss(
                plain.float()[targets >= 0], targets[targets >= 0]
            )
        return loss

    def _targets(self, attribute: str, rows: Integers) -> torch.Tensor:
        return torch.from_numpy(self.photos.targets[attribute][rows]).to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.tuning.mixed_precision)

    def _cross_entropy(self, scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(scores, target, ignore_index=-1, label_smoothing=self.tuning.label_smoothing)

    def _validate(self) -> dict[str, Any]:
        """Accuracy and loss of the averaged weights on validation photos as served, over all attributes."""
        now = {name: weight.clone() for name, weight in _copy_weights(self.model).items()}
        _load_weights(self.model, self.average)
        right, known, loss = 0, 0, 0.0
        collected = []
        with torch.inference_mode():
            for start in range(0, len(self.photos.validation), 64):
                rows = self.photos.validation[start : start + 64]
                with self._autocast():
                    features, logits = self.model(self.photos.activations(rows, None).to(self.device))
                collected.append(features.float())
                for name, scores in zip(self.names, logits, strict=True):
                    targets = self._targets(name, rows)
                    known += int((targets >= 0).sum())
                    right += int((scores.argmax(dim=1) == targets).sum())
                    loss += float(
                        nn.functional.cross_entropy(scores.float(), targets, ignore_index=-1, reduction="sum")
                    )
        _load_weights(self.model, now)
        figures = {"accuracy": right / known if known else 0.0, "loss": loss / known if known else 0.0}
        truth = self.photos.targets[self.names[0]][self.photos.validation]
        if self.embedding_loss is None or not (truth >= 0).any():
            return figures
        return {**figures, "recall_1": recall_1(torch.cat(collected).cpu().numpy()[truth >= 0], truth[truth >= 0])}

    def _save(self) -> None:
        state = {
            "fingerprint": self._fingerprint(),
            "now": _copy_weights(self.model),
            "average": self.average,
            "best": self.best,
            "extra": self.embedding_loss.state_dict() if self.embedding_loss is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "history": self.history,
            "spent_s": self.spent_s,
        }
        part = self.file.with_suffix(".part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.file)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise TrainingError(
                f"The checkpoint {self.file} cannot be written ({error}). Free some disk space, or name another "
                "folder with --cache, and run the command again: it resumes after the last written epoch."
            ) from error

    def _resume(self) -> None:
        if not self.file.is_file():
            return
        try:
            state = torch.load(self.file, self.device, weights_only=True)
        except Exception:  # truncated, or written by another program: start from the beginning
            return
        if state.get("fingerprint") != self._fingerprint():
            return
        _load_weights(self.model, state["now"])
        self.average, self.best, self.history = state["average"], state["best"], state["history"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.embedding_loss is not None:
            self.embedding_loss.load_state_dict(state["extra"])
        self.spent_s = state["spent_s"]

    def _fingerprint(self) -> str:
        return f"{self.photos.fingerprint} {sorted(asdict(self.tuning).items())}"


def recall_1(features: Any, targets: Any) -> float:
    """Recall@1 among the photos, float32[N,F] and int64[N]; 0 if no class has two photos."""
    return recall_at(features, targets, ks=(1,))[1].value or 0.0


def _rank_epoch(figures: Mapping[str, Any]) -> tuple[float, float, float]:
    return figures.get("recall_1", 0.0), figures["accuracy"], -figures["loss"]


def _copy_weights(model: TunedModel) -> dict[str, torch.Tensor]:
    """Copies of the trained weights by name."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def _load_weights(model: TunedModel, weights: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(weights[name])


def _embedding_loss(name: str | None, photos: TuningData, features: int) -> nn.Module | None:
    if name is None:
        return None
    from pytorch_metric_learning import losses

    classes = int(next(iter(photos.targets.values())).max()) + 1
    loss: nn.Module = losses.SupConLoss() if name == "supcon" else losses.ProxyAnchorLoss(classes, features)
    return loss
