"""Assigns photos to the training, validation and test splits. Pure functions.

Groups (photos of one product, near-duplicates) stay together. Iterative stratification, the rarest label first, keeps
the shares for every label of every attribute as far as groups allow.
Source: Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.arrays import Integers

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
DEFAULT_SHARES = (0.7, 0.15, 0.15)

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Split:
    """The split of each row.

    Attributes:
        assigned: for each row, one of `SPLITS`.
        moved: rows that were moved to the split of their near-duplicates.
    """

    assigned: tuple[str, ...]
    moved: tuple[int, ...] = ()

    def rows(self, split: str) -> Integers:
        """int64[*], the rows of one split."""
        return np.array([row for row, one in enumerate(self.assigned) if one == split], np.int64)


def split_rows(
    labels: Sequence[Labels],
    groups: Sequence[int],
    shares: Sequence[float] = DEFAULT_SHARES,
    seed: int = 0,
    fixed: Mapping[int, str] | None = None,
) -> tuple[str, ...]:
    """A split for each row; deterministic for the same arguments.

    Args:
        labels: attribute -> label, for each row.
        groups: rows with the same number stay together.
        shares: of training, validation and test rows.
        seed: of the order in which groups of the same size are assigned.
        fixed: row -> split that is given; a group follows its first fixed row. The shares apply to the other rows.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[int(group)].append(row)
    assigned: dict[int, str] = {}
    for row, split in (fixed or {}).items():
        assigned.setdefault(int(groups[row]), split)
    free = {group: rows for group, rows in members.items() if group not in assigned}
    assigned |= _Stratifier(labels, free, shares, seed).assign()
    return tuple(assigned[int(group)] for group in groups)


class _Stratifier:
    def __init__(
        self, labels: Sequence[Labels], members: Mapping[int, list[int]], shares: Sequence[float], seed: int
    ) -> None:
        self.members = members
        self.counts = {
            group: Counter(pair for row in rows for pair in labels[row].items()) for group, rows in members.items()
        }
        totals: Counter[tuple[str, str]] = sum(self.counts.values(), Counter())
        rows = sum(map(len, members.values()))
        self.wanted: dict[str, dict[tuple[str, str] | None, float]] = {
            split: {pair: share * count for pair, count in totals.items()} | {None: share * rows}
            for split, share in zip(SPLITS, shares, strict=True)
        }
        order = np.random.default_rng(seed).permutation(len(members))
        self.rank = dict(zip(sorted(members), map(int, order), strict=True))

    def assign(self) -> dict[int, str]:
        """Group -> split."""
        assigned: dict[int, str] = {}
        groups_of: dict[tuple[str, str], set[int]] = defaultdict(set)
        for group in self.members:
            for pair in self.counts[group]:
                groups_of[pair].add(group)
        while groups_of:
            # Start with the label with the fewest remaining groups: later it could not be distributed any more.
            pair = min(groups_of, key=lambda one: (len(groups_of[one]), one))
            for group in sorted(groups_of[pair], key=lambda one: (-len(self.members[one]), self.rank[one])):
                assigned[group] = self._neediest(pair)
                self._take(group, assigned[group])
                for other in self.counts[group]:
                    if other != pair:
                        groups_of[other].discard(group)
                        if not groups_of[other]:
                            del groups_of[other]
            del groups_of[pair]
        return assigned

    def _neediest(self, pair: tuple[str, str]) -> str:
        """The split that lacks most of this label; the first group of a label goes into training."""
        return max(SPLITS, key=lambda split: (self.wanted[split][pair], self.wanted[split][None], -SPLITS.index(split)))

    def _take(self, group: int, split: str) -> None:
        for pair, count in self.counts[group].items():
            self.wanted[split][pair] -= count
        self.wanted[split][None] -= len(self.members[group])


def count_straddling(pairs: Integers, assigned: Sequence[str]) -> int:
    """Number of pairs whose rows are in different splits."""
    return sum(assigned[int(left)] != assigned[int(right)] for left, right in pairs)
