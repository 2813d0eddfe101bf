"""Where in a photo the network saw what speaks for a class. Pure.

A class activation map (Zhou et al., "Learning deep features for discriminative localization", CVPR 2016): where
features are the mean of a map over places, a linear head's logit is the mean of what each place adds to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych_models.errors import Code, InvalidRequest

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """weight float32[C,F], bias float32[C]; a label a class."""

    weight: Floats
    bias: Floats
    labels: Sequence[str]


@dataclass(frozen=True)
class Explanation:
    """Of one photo.

    Attributes:
        heat_map: float32[H,W]; its sum is the class's logit above the mean logit, biases left out.
    """

    heat_map: Floats
    explained: int
    score: float
    label: str


def explain(feature_map: Floats, heads: Mapping[str, Head], attribute: str, class_index: int | None) -> Explanation:
    """What speaks for a class, or for the best one where none is named.

    Args:
        feature_map: float32[F,H,W].
        heads: by attribute.
        attribute: one of them.
        class_index: of the attribute's classes.

    Raises:
        InvalidRequest: there is no such attribute or class.
    """
    if attribute not in heads:
        raise InvalidRequest(f"`attribute` is {attribute!r}, expected one of {', '.join(heads)}.", Code.CLASS_UNKNOWN)
    head = heads[attribute]
    classes = len(head.labels)
    logits = head.weight @ feature_map.mean(axis=(1, 2)) + head.bias
    chosen = int(logits.argmax()) if class_index is None else class_index
    if not 0 <= chosen < classes:
        raise InvalidRequest(
            f"`class_index` is {chosen}, expected 0 to {classes - 1}, a class of {attribute}.", Code.CLASS_UNKNOWN
        )
    scores = np.exp(logits - logits.max())
    # Softmax sees differences between classes alone: what speaks for all of them speaks for none.
    direction = head.weight[chosen] - head.weight.mean(axis=0)
    places = feature_map.shape[1] * feature_map.shape[2]
    heat: Any = np.einsum("f,fhw->hw", direction, feature_map) / places
    return Explanation(heat.astype(np.float32), chosen, float(scores[chosen] / scores.sum()), head.labels[chosen])
