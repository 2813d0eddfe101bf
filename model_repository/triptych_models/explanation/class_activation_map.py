"""Class activation maps: which places of a photo raise the score of a class. Pure.

Zhou et al., "Learning deep features for discriminative localization", CVPR 2016: where features are the mean of a
feature map over its places, the logit of a linear head is the mean of the contributions of the places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych_models.errors import Code, InvalidRequest, quoted

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A linear head: weight float32[C,F], bias float32[C], one label for each class."""

    weight: Floats
    bias: Floats
    labels: Sequence[str]


@dataclass(frozen=True)
class Explanation:
    """The explanation of one photo.

    Attributes:
        heat_map: float32[H,W]; its sum is the logit of the class minus the mean logit of all classes, without biases.
        explained: index of the class.
        score: probability of the class.
        label: name of the class.
    """

    heat_map: Floats
    explained: int
    score: float
    label: str


def explain(feature_map: Floats, heads: Mapping[str, Head], attribute: str, class_index: int | None) -> Explanation:
    """The class activation map of a class, or of the best class where none is named.

    Args:
        feature_map: float32[F,H,W].
        heads: heads by attribute.
        attribute: an attribute of `heads`.
        class_index: index of a class of the attribute.

    Raises:
        InvalidRequest: the attribute or the class does not exist.
    """
    if attribute not in heads:
        raise InvalidRequest(
            f"`attribute` is {quoted(attribute)}; expected one of {', '.join(heads)}.", Code.CLASS_UNKNOWN
        )
    head = heads[attribute]
    classes = len(head.labels)
    logits = head.weight @ feature_map.mean(axis=(1, 2)) + head.bias
    chosen = int(logits.argmax()) if class_index is None else class_index
    if not 0 <= chosen < classes:
        raise InvalidRequest(
            f"`class_index` is {chosen}; expected 0 to {classes - 1}, a class of {attribute}.", Code.CLASS_UNKNOWN
        )
    scores = np.exp(logits - logits.max())
    # Softmax depends only on differences between classes: a contribution to every class favours none.
    direction = head.weight[chosen] - head.weight.mean(axis=0)
    places = feature_map.shape[1] * feature_map.shape[2]
    heat: Any = np.einsum("f,fhw->hw", direction, feature_map) / places
    return Explanation(heat.astype(np.float32), chosen, float(scores[chosen] / scores.sum()), head.labels[chosen])
