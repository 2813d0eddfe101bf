"""Which photos are learned from, which choose, which judge. Pure.

Groups (photos of one product, near-duplicates) stay whole. Shares are kept for every label of every attribute as nearly
as whole groups allow, by iterative stratification, the rarest label first.
Source: Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
DEFAULT_SHARES = (0.7, 0.15, 0.15)

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Split:
    """Attributes:
    sides: for each row its side, of `SPLITS`.
    moved: rows whose near-duplicates would have been on another side, and are not.
    """

    sides: tuple[str, ...]
    moved: tuple[int, ...] = ()

    def rows(self, side: str) -> npt.NDArray[np.int64]:
        """int64[*], the rows of one side."""
        return np.array([row for row, one in enumerate(self.sides) if one == side], np.int64)


def split_rows(
    labels: Sequence[Labels],
    groups: Sequence[int],
    shares: Sequence[float] = DEFAULT_SHARES,
    seed: int = 0,
    fixed: Mapping[int, str] | None = None,
) -> tuple[str, ...]:
    """A side for each row; the same arguments give the same sides.

    Args:
        labels: attribute -> label of each row.
        groups: rows of one number stay together.
        shares: of train, validation and test.
        seed: of the order in which groups of one size are dealt out.
        fixed: row -> side, where it is known beforehand; a group follows its first fixed row. Shares are of the others.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[int(group)].append(row)
    sides: dict[int, str] = {}
    for row, side in (fixed or {}).items():
        sides.setdefault(int(groups[row]), side)
    free = {group: rows for group, rows in members.items() if group not in sides}
    sides |= _Stratifier(labels, free, shares, seed).assign()
    return tuple(sides[int(group)] for group in groups)


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
            side: {pair: share * count for pair, count in totals.items()} | {None: share * rows}
            for side, share in zip(SPLITS, shares, strict=True)
        }
        order = np.random.default_rng(seed).permutation(len(members))
        self.rank = dict(zip(sorted(members), map(int, order), strict=True))

    def assign(self) -> dict[int, str]:
        """Group -> side."""
        sides: dict[int, str] = {}
        groups_of: dict[tuple[str, str], set[int]] = defaultdict(set)
        for group in self.members:
            for pair in self.counts[group]:
                groups_of[pair].add(group)
        while groups_of:
            # The label with the fewest groups left: later it could no longer be spread.
            pair = min(groups_of, key=lambda one: (len(groups_of[one]), one))
            for group in sorted(groups_of[pair], key=lambda one: (-len(self.members[one]), self.rank[one])):
                sides[group] = self._neediest(pair)
                self._take(group, sides[group])
                for other in self.counts[group]:
                    if other != pair:
                        groups_of[other].discard(group)
                        if not groups_of[other]:
                            del groups_of[other]
            del groups_of[pair]
        return sides

    def _neediest(self, pair: tuple[str, str]) -> str:
        """Where most of this label is missing; a label's first group is learned from."""
        return max(SPLITS, key=lambda side: (self.wanted[side][pair], self.wanted[side][None], -SPLITS.index(side)))

    def _take(self, group: int, side: str) -> None:
        for pair, count in self.counts[group].items():
            self.wanted[side][pair] -= count
        self.wanted[side][None] -= len(self.members[group])


def straddling(pairs: npt.NDArray[np.int64], sides: Sequence[str]) -> int:
    """How many pairs lie on two sides."""
    return sum(sides[int(left)] != sides[int(right)] for left, right in pairs)
