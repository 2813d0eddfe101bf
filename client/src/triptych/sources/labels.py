"""The spelling of labels and of the names of splits: what is the same although it is written differently."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), VALIDATION),
    **dict.fromkeys(("test", "tests", "testing"), TEST),
}
_SPLIT_ENDING = re.compile(r"[\s_-]*(set|data|dataset)$")
_WORDS = re.compile(r"[^\W\d_]+|\d+")
# What copying, exporting and sorting adds to a name: "Shoes (120)", "shoes - Copy", "Kopie von shoes", "01_shoes".
_COPIED = re.compile(
    r"^(copy of|kopie von|copie de)\s+|[\s_-]+(copy|kopie|copie|copia)(\s*\d+)?$|\s*[(\[]\d+[)\]]$|^\d+[._-]\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Unified:
    """One spelling for each label.

    Attributes:
        spellings: label as found -> the spelling that is used.
        notices: a sentence for each label that was found in several spellings.
    """

    spellings: Mapping[str, str]
    notices: tuple[str, ...]


@lru_cache(maxsize=1 << 12)
def split_of(word: str) -> str | None:
    """TRAIN, VALIDATION or TEST for a name such as "Train", "val" or "test_set"; None for another one."""
    plain = label_of(word).casefold().strip("_-")
    return SPLIT_WORDS.get(plain) or SPLIT_WORDS.get(_SPLIT_ENDING.sub("", plain))


def splits_of(names: Iterable[str]) -> Mapping[str, str]:
    """The split of each name that is one, such as "val"; or of all, as "seg_train" and "seg_test", which differ by it.

    Names with a word in common are splits only if each has one and one of them is that of training.
    """
    names = list(names)
    plain = {name: split for name in names if (split := split_of(name)) is not None}
    if plain or len(names) < 2:
        return plain
    found, rests = {}, set()
    for name in names:
        words = _WORDS.findall(label_of(name).casefold())
        splits = [word for word in words if word in SPLIT_WORDS]
        if len(splits) != 1:
            return {}
        found[name] = SPLIT_WORDS[splits[0]]
        rests.add(tuple(word for word in words if word not in SPLIT_WORDS))
    is_one_set = len(rests) == 1 and len(set(found.values())) == len(names)
    return found if is_one_set and TRAIN in found.values() else {}


def alike_labels(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Labels that differ only by a number or by a word of copying, such as "shoes", "Shoes (120)", "shoes - Copy"."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        bare = label_of(label)
        while (rest := _COPIED.sub("", bare, count=1)) not in ("", bare):
            bare = rest
        groups.setdefault(key_of(bare), []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def label_of(text: str) -> str:
    """The text as a label: composed Unicode (NFC), single blanks within, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@lru_cache(maxsize=1 << 12)
def folder_text(name: str) -> tuple[str, bool]:
    """The name of a folder as text, and whether its bytes are UTF-8; other bytes are read as Windows-1252."""
    raw = os.fsencode(name)
    try:
        return raw.decode(), True
    except UnicodeDecodeError:
        return raw.decode("cp1252", "backslashreplace"), False


@lru_cache(maxsize=1 << 12)
def key_of(label: str) -> str:
    """A key that is equal for labels that differ only by case, blanks, Unicode form or invisible characters."""
    visible = "".join(sign for sign in unicodedata.normalize("NFC", label) if unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFC", "".join(visible.casefold().split()))


def unify_spellings(labels: Iterable[str]) -> Unified:
    """The most frequent spelling of each label; of equally frequent ones, the first in the order of characters."""
    by_key: dict[str, Counter[str]] = {}
    for label, count in Counter(labels).items():
        by_key.setdefault(key_of(label), Counter())[label] = count
    spellings: dict[str, str] = {}
    notices = []
    for counts in by_key.values():
        best = label_of(min(counts, key=lambda spelling: (-counts[spelling], spelling)))
        spellings |= dict.fromkeys(counts, best)
        if len(counts) > 1:
            seen = ", ".join(f"{_quoted(spelling)} ({count})" for spelling, count in counts.most_common())
            notices.append(f"{seen} differ only by {_difference(list(counts))} and are unified to {best!r}.")
    return Unified(spellings, tuple(notices))


def _difference(spellings: list[str]) -> str:
    is_plain = len({"".join(spelling.casefold().split()) for spelling in spellings}) == 1
    return "case or spaces" if is_plain else "Unicode form, case or spaces"


def _quoted(label: str) -> str:
    """In quotes; with escapes where two spellings would look the same."""
    is_plain = unicodedata.is_normalized("NFC", label) and label.isprintable()
    return repr(label) if is_plain else ascii(label)
