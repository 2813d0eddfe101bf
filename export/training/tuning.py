"""Tunes the last blocks of a backbone together with its heads; a killed run goes on at the epoch it was in.

The frozen part sees each photo in a few augmented views once; what it gives is kept on disk, and an epoch costs the
tuned part alone. Where everything is tuned, views are drawn anew each epoch.
Source of starting from fitted heads: Kumar et al., "Fine-tuning can distort pretrained features and underperform
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

from export.evaluation.retrieval import recall_at
from export.training.errors import TrainingError
from export.training.mixing import has_rows_and_columns, mix
from export.training.partition import Partition

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Tuning:
    """How the backbone is tuned.

    Attributes:
        unfreeze: the last so many blocks; None is all.
        patience: epochs without a better validation before it ends.
        mixup, cutmix: strength of the mixing of two photos, as in `mixing.mix`; 0 is none.
        ema: of the weights, a step. Those averaged are judged and kept.
        embedding_loss: "supcon" or "proxy-anchor" beside the classes' loss; None is none. With one, the best epoch has
            the highest Recall@1 among the validation photos, by the first attribute.
        mixed_precision: products in bfloat16, sums and weights in float32.
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


# Photo numbers -> what enters the tuned part, one view each: of this epoch, or as served.
Entries = Callable[[np.ndarray[Any, Any], "int | None"], torch.Tensor]


@dataclass(frozen=True)
class Photos:
    """What is learned from, and what chooses.

    Attributes:
        entries: rows, epoch (None: as served) -> what enters the tuned part.
        targets: attribute -> int64[N], -1 where not known.
        train, validation: rows.
        fingerprint: of all photos and labels.
    """

    entries: Entries
    targets: Mapping[str, np.ndarray[Any, Any]]
    train: np.ndarray[Any, Any]
    validation: np.ndarray[Any, Any]
    fingerprint: str


class Tuned(nn.Module):
    """The tuned part under its heads.

    Args:
        part: the trunk and where it is entered.
        heads: attribute -> (weight, bias), fitted on the features as they are.
    """

    def __init__(self, part: Partition, heads: Mapping[str, tuple[Any, Any]]) -> None:
        super().__init__()
        self.part = part
        self.modules_tuned = nn.ModuleList(part.tuned)
        self.heads = nn.ModuleList()
        for weight, bias in heads.values():
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            with torch.no_grad():
                linear.weight.copy_(torch.as_tensor(weight))
                linear.bias.copy_(torch.as_tensor(bias))
            self.heads.append(linear)

    def forward(self, entered: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features = self.part.leave(entered)
        return features, [head(features) for head in self.heads]


def tune(
    part: Partition,
    heads: Mapping[str, tuple[Any, Any]],
    photos: Photos,
    tuning: Tuning,
    folder: Path,
    on_epoch: Callable[[dict[str, Any]], None] = lambda figures: None,
) -> dict[str, Any]:
    """Tunes `part` in place, to the best epoch on validation.

    Args:
        part: what is tuned.
        heads: to start from.
        photos: what is learned from.
        tuning: how.
        folder: of checkpoints; one of the same photos and settings is gone on from.
        on_epoch: told the figures of each epoch.

    Returns:
        The figures of every epoch, and which was best.

    Raises:
        TrainingError: the loss is no number any more, the checkpoint cannot be written, or a part of what enters is no
            part of the picture, for `cutmix`.
    """
    return _Run(part, heads, photos, tuning, folder).go(on_epoch)


class _Run:
    def __init__(
        self, part: Partition, heads: Mapping[str, tuple[Any, Any]], photos: Photos, tuning: Tuning, folder: Path
    ) -> None:
        torch.manual_seed(tuning.seed)
        part.freeze()
        self.photos, self.tuning = photos, tuning
        self.file = folder / CHECKPOINT
        self.device = next(part.trunk.parameters()).device
        self.model = Tuned(part, heads).to(self.device)
        self.names = list(photos.targets)
        self.extra = _embedding_loss(tuning.embedding_loss, photos, next(iter(heads.values()))[0].shape[1])
        if self.extra is not None:
            self.extra.to(self.device)
        tuned = [weight for weight in self.model.modules_tuned.parameters() if weight.requires_grad]
        others = [*self.model.heads.parameters(), *(self.extra.parameters() if self.extra is not None else ())]
        self.optimizer = torch.optim.AdamW(
            [{"params": tuned, "lr": tuning.learning_rate}, {"params": others, "lr": tuning.head_learning_rate}],
            weight_decay=tuning.weight_decay,
        )
        self.steps = max(1, math.ceil(len(photos.train) / tuning.batch))
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.average = _weights(self.model)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] = copy.deepcopy(self.average)
        self.spent_s = 0.0

    def _rate(self, step: int) -> float:
        """Up over the warm-up, then down along half a cosine."""
        total = self.tuning.epochs * self.steps
        warm_up = max(1.0, self.tuning.warm_up * total)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1.0, total - warm_up))))

    def go(self, on_epoch: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        if self.tuning.cutmix:
            self._refuse_cutmix()
        self._resume()
        if not self.history:
            self._note({"epoch": 0, **self._judge()}, on_epoch)
        while not self._is_over():
            started = time.monotonic()
            epoch = len(self.history)
            loss = self._learn(epoch)
            figures = {"epoch": epoch, "train_loss": loss, **self._judge()}
            self.spent_s += time.monotonic() - started
            self._note(figures | {"seconds": round(self.spent_s, 1)}, on_epoch)
        _put(self.model, self.best)
        self.model.eval()
        return {"epochs": self.history, "best": self._best_epoch(), "settings": asdict(self.tuning)}

    def _refuse_cutmix(self) -> None:
        shape = self.photos.entries(self.photos.train[:1], 0).shape
        if not has_rows_and_columns(shape):
            raise TrainingError(
                f"--cutmix: what enters the tuned part of a photo has the shape {list(shape[1:])}, not rows and "
                "columns last. Leave --cutmix out, or tune everything with --unfreeze all."
            )

    def _is_over(self) -> bool:
        epoch = len(self.history) - 1
        is_stale = epoch - self._best_epoch() >= self.tuning.patience
        return epoch >= self.tuning.epochs or is_stale or self.spent_s > 60 * self.tuning.minutes

    def _best_epoch(self) -> int:
        return max(range(len(self.history)), key=lambda epoch: _merit(self.history[epoch]))

    def _note(self, figures: dict[str, Any], on_epoch: Callable[[dict[str, Any]], None]) -> None:
        self.history.append(figures)
        if self._best_epoch() == len(self.history) - 1:
            self.best = copy.deepcopy(self.average)
        self._save()
        on_epoch(figures)

    def _learn(self, epoch: int) -> float:
        random = np.random.default_rng([self.tuning.seed, epoch])
        order = random.permutation(self.photos.train)
        total = 0.0
        for start in range(0, len(order), self.tuning.batch):
            rows = order[start : start + self.tuning.batch]
            loss = self._loss(rows, epoch, random)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"The loss is {loss.item()} in epoch {epoch}. Lower --learning-rate; the epochs before are kept."
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([w for w in self.model.parameters() if w.requires_grad], self.tuning.clip)
            self.optimizer.step()
            self.scheduler.step()
            for name, weight in _weights(self.model).items():
                self.average[name].lerp_(weight, 1 - self.tuning.ema)
            total += loss.item() * len(rows)
        return total / max(1, len(order))

    def _loss(self, rows: np.ndarray[Any, Any], epoch: int, random: np.random.Generator) -> torch.Tensor:
        entered = self.photos.entries(rows, epoch).to(self.device)
        mixed = mix(entered, self.tuning.mixup, self.tuning.cutmix, random)
        with self._autocast():
            features, logits = self.model(mixed.entered)
            plain = self.model.part.leave(entered) if self.extra is not None and mixed.share < 1 else features
        losses = []
        for name, scores in zip(self.names, logits, strict=True):
            targets = self._targets(name, rows)
            for target, weight in ((targets, mixed.share), (targets[mixed.partner], 1 - mixed.share)):
                if weight and (target >= 0).any():
                    losses.append(weight * self._cross_entropy(scores.float(), target))
        loss = torch.stack(losses).sum() / len(self.names) if losses else features.sum() * 0
        if self.extra is not None:
            targets = self._targets(self.names[0], rows)
            loss = loss + self.tuning.embedding_weight * self.extra(plain.float()[targets >= 0], targets[targets >= 0])
        return loss

    def _targets(self, attribute: str, rows: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(self.photos.targets[attribute][rows]).to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.tuning.mixed_precision)

    def _cross_entropy(self, scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(scores, target, ignore_index=-1, label_smoothing=self.tuning.label_smoothing)

    def _judge(self) -> dict[str, Any]:
        """Accuracy and loss of the averaged weights on the validation photos as served, over all attributes."""
        now = {name: weight.clone() for name, weight in _weights(self.model).items()}
        _put(self.model, self.average)
        right, known, loss = 0, 0, 0.0
        seen = []
        with torch.inference_mode():
            for start in range(0, len(self.photos.validation), 64):
                rows = self.photos.validation[start : start + 64]
                with self._autocast():
                    features, logits = self.model(self.photos.entries(rows, None).to(self.device))
                seen.append(features.float())
                for name, scores in zip(self.names, logits, strict=True):
                    targets = self._targets(name, rows)
                    known += int((targets >= 0).sum())
                    right += int((scores.argmax(dim=1) == targets).sum())
                    loss += float(
                        nn.functional.cross_entropy(scores.float(), targets, ignore_index=-1, reduction="sum")
                    )
        _put(self.model, now)
        judged = {"accuracy": right / known if known else 0.0, "loss": loss / known if known else 0.0}
        targets = self.photos.targets[self.names[0]][self.photos.validation]
        if self.extra is None or not (targets >= 0).any():
            return judged
        features = torch.cat(seen).cpu().numpy()[targets >= 0]
        return {**judged, "recall_1": recall_1(features, targets[targets >= 0])}

    def _save(self) -> None:
        state = {
            "fingerprint": self._fingerprint(),
            "now": _weights(self.model),
            "average": self.average,
            "best": self.best,
            "extra": self.extra.state_dict() if self.extra is not None else {},
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
                f"The checkpoint {self.file} cannot be written ({error}). Make room, or name another folder with "
                "--cache, and run the command again: it goes on after the last epoch that was written."
            ) from error

    def _resume(self) -> None:
        if not self.file.is_file():
            return
        try:
            state = torch.load(self.file, self.device, weights_only=True)
        except Exception:  # cut short or of another program: begin anew
            return
        if state.get("fingerprint") != self._fingerprint():
            return
        _put(self.model, state["now"])
        self.average, self.best, self.history = state["average"], state["best"], state["history"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.extra is not None:
            self.extra.load_state_dict(state["extra"])
        self.spent_s = state["spent_s"]

    def _fingerprint(self) -> str:
        return f"{self.photos.fingerprint} {sorted(asdict(self.tuning).items())}"


def recall_1(features: Any, targets: Any) -> float:
    """`recall_at` 1 among the photos themselves, float32[N,F] and int64[N]; 0 where no class has two of them."""
    return recall_at(features, targets, ks=(1,))[1].value or 0.0


def _merit(figures: Mapping[str, Any]) -> tuple[float, float, float]:
    return figures.get("recall_1", 0.0), figures["accuracy"], -figures["loss"]


def _weights(model: Tuned) -> dict[str, torch.Tensor]:
    """What is learned: name -> a copy."""
    named = [*_named("tuned", model.modules_tuned), *_named("heads", model.heads)]
    return {name: weight.detach().clone() for name, weight in named}


def _named(prefix: str, module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(f"{prefix}.{name}", weight) for name, weight in module.named_parameters()]


def _put(model: Tuned, weights: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, weight in (*_named("tuned", model.modules_tuned), *_named("heads", model.heads)):
            weight.copy_(weights[name])


def _embedding_loss(name: str | None, photos: Photos, features: int) -> nn.Module | None:
    if name is None:
        return None
    from pytorch_metric_learning import losses

    classes = int(next(iter(photos.targets.values())).max()) + 1
    loss: nn.Module = losses.SupConLoss() if name == "supcon" else losses.ProxyAnchorLoss(classes, features)
    return loss
