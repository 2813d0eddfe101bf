"""Reads a folder of class folders: the class, the split and the product of each photo, and what was understood.

The rule: the first folder below the root, or below a split folder (train, val, test), is the class; the folders below a
class are its products or views. Opens no photo whose name has a known suffix.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from triptych.errors import InvalidInput
from triptych.sources.labels import alike_labels, folder_text, key_of, split_of, splits_of, unify_spellings
from triptych.sources.photo_files import (
    PHOTO_SUFFIXES,
    EnteredFolder,
    Skip,
    SkippedFile,
    SkippedFiles,
    printable_path,
    walk_folder,
)

FIRST_LEVEL = 1
LAST_LEVEL = 0

# A folder with a larger share of its class's photos is a view ("front"): in one split it would take the class away.
_MAX_PRODUCT_SHARE = 0.1
# Folders around the split folders: an archive unpacked into a folder of its name.
_MOST_WRAPPERS = 3
_SHOWN = 5
# Numbers of products (EAN 8 to 14, an SKU) rather than of classes.
_PRODUCT_DIGITS = 5

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassPhoto:
    """One photo of a class folder.

    Attributes:
        path: below the folder as it was named.
        label: the class, in the spelling that is used for all its photos.
        product: the folder below the class that holds the photos of one product; None if it is not known.
        split: "train", "validation" or "test" where the folders say so.
    """

    path: str
    label: str
    product: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class ClassFolder:
    """A folder of class folders.

    Attributes:
        photos: in the order of the walk.
        empty: class folders without photos.
        understood: a sentence for each thing that was decided.
        skipped: everything else, counted by reason.
        unclassed: the photos that are in no class folder.
        refused: links and folders that may hide photos which the user meant.
        tables: paths of the first tables in it, which are not read.
        wrapper: the folder, below the root, that holds all photos and more than one folder; "" for the root itself.
    """

    photos: tuple[ClassPhoto, ...]
    empty: tuple[str, ...]
    understood: tuple[str, ...]
    skipped: SkippedFiles
    unclassed: tuple[str, ...]
    refused: tuple[SkippedFile, ...]
    tables: tuple[str, ...] = ()
    wrapper: str = ""

    @property
    def classes(self) -> Mapping[str, int]:
        """Class -> number of photos, by name."""
        return dict(sorted(Counter(photo.label for photo in self.photos).items()))

    @property
    def splits(self) -> Mapping[str, int]:
        """Split -> number of photos; empty where the folders name no splits."""
        return dict(Counter(photo.split for photo in self.photos if photo.split is not None))


def open_class_folder(
    folder: str | os.PathLike[str], class_level: int = FIRST_LEVEL, *, has_split_folders: bool = True
) -> ClassFolder:
    """Reads a folder of class folders.

    Args:
        folder: the root.
        class_level: level of the folder that names the class, from 1 below the root or the split folder; `LAST_LEVEL`
            is the folder that holds the photo.
        has_split_folders: whether folders named train, val or test are splits; False takes them as classes.

    Raises:
        InvalidInput: it is no folder, cannot be read, holds no photo or no class folder, or mixes splits with classes.
    """
    root = os.fspath(folder)
    tree = _list(root)
    if not tree.photos:
        _refuse_empty(root, tree)
    layout = _Layout(root, tree, class_level, has_split_folders)
    return layout.read()


@dataclass
class _Tree:
    """Paths relative to the root as their parts; a photo's last part is its name."""

    photos: list[Parts] = field(default_factory=list)
    folders: list[Parts] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    faults: list[SkippedFile] = field(default_factory=list)
    skipped: SkippedFiles = field(default_factory=SkippedFiles)


def _list(root: str) -> _Tree:
    tree = _Tree()
    for found in walk_folder(root):
        if isinstance(found, str):
            tree.photos.append(_parts(root, found))
        elif isinstance(found, EnteredFolder):
            if found.path != root:
                tree.folders.append(_parts(root, found.path))
        elif found.path == root:
            raise InvalidInput(f"The folder {printable_path(root)!r} cannot be read: {found.detail}. Check its name.")
        else:
            tree.skipped.add(found)
            if found.reason.is_fault:
                tree.faults.append(found)
            if found.detail in (".csv", ".tsv", ".jsonl", ".xlsx", ".parquet") and len(tree.tables) < _SHOWN:
                tree.tables.append(printable_path(found.path))
    return tree


def _parts(root: str, path: str) -> Parts:
    return tuple(path.removeprefix(os.path.join(root, "")).split(os.sep))


def _refuse_empty(root: str, tree: _Tree) -> None:
    table = f" It holds the table {tree.tables[0]}: name that." if tree.tables else ""
    raise InvalidInput(
        f"{printable_path(root)} holds no photo; expected FOLDER/<class>/*{{{','.join(PHOTO_SUFFIXES)}}}.{table}"
        + "".join(f" {each}." for each in tree.skipped.by_reason())
    )


class _Layout:
    """Which folders are splits and which are classes."""

    def __init__(self, root: str, tree: _Tree, class_level: int, has_split_folders: bool) -> None:
        self.root, self.tree, self.level = root, tree, class_level
        self.has_split_folders = has_split_folders
        self.understood: list[str] = []
        self.base = self._base() if has_split_folders else ()
        self.splits = self._split_folders() if has_split_folders else {}
        self.has_splits = bool(self.splits)
        self.repeated = {name for name in self.splits if self._is_repeated(name)}
        self.split_classes = self._classes_with_splits() if has_split_folders and not self.has_splits else frozenset()

    def read(self) -> ClassFolder:
        """Classes, splits and products of all photos."""
        found: list[tuple[ClassPhoto, Parts]] = []
        unclassed: list[str] = []
        for parts in self.tree.photos:
            path = os.path.join(self.root, "/".join(parts))
            placed = self._place(path, parts)
            if placed is None:
                unclassed.append(path)
                self.tree.skipped.add(SkippedFile(path, Skip.UNCLASSED))
            else:
                found.append(placed)
        if not found:
            self._refuse_unclassed(unclassed)
        unified = unify_spellings(photo.label for photo, _ in found)
        self.understood += [f"class names: {sentence}" for sentence in unified.notices]
        found = [(_labelled(photo, unified.spellings[photo.label]), nested) for photo, nested in found]
        photos = self._with_products(found)
        empty = self._empty_classes({photo.label for photo in photos})
        self._describe(photos)
        skipped = (self.tree.skipped, tuple(unclassed), tuple(self.tree.faults))
        tables = tuple(self.tree.tables)
        return ClassFolder(tuple(photos), empty, tuple(self.understood), *skipped, tables, self._wrapper())

    def _wrapper(self) -> str:
        base: Parts = ()
        while len(below := _children(self.tree.photos, base)) == 1 and "" not in below:
            base = (*base, *below)
        return os.path.join("", *base)

    def _base(self) -> Parts:
        """The folder that holds the split folders, where it is the only one in the root: an unpacked archive."""
        base: Parts = ()
        for _ in range(_MOST_WRAPPERS):
            below = _children(self.tree.photos, base)
            if len(below) != 1 or "" in below or any(map(split_of, below)):
                return ()
            base = (*base, *below)
            inner = _children(self.tree.photos, base)
            if inner == splits_of(inner).keys():
                self.understood.append(f"the split folders are in {printable_path(os.path.join(*base))}.")
                return base
        return ()

    def _split_folders(self) -> Mapping[str, str]:
        names = _children(self.tree.photos, self.base) - {""}
        found = splits_of(names)
        splits = set(found)
        if splits and names - splits:
            raise InvalidInput(
                f"{printable_path(self.root)} has the split folders {_shown(splits)} beside the folders "
                f"{_shown(names - splits)}, which would be classes. Move the class folders into the split folders, or "
                "take all of them as classes with --no-split-folders."
            )
        if any(split_of(name) is None for name in splits):
            self.understood.append(f"{_shown(splits)} are taken as splits; --no-split-folders takes them as classes.")
        return found

    def _is_repeated(self, name: str) -> bool:
        """Whether all photos of a split folder are in a folder of its name, as train/train: archives of Kaggle."""
        return _children(self.tree.photos, (*self.base, name)) == {name}

    def _classes_with_splits(self) -> frozenset[str]:
        """Class folders that hold split folders and nothing else: shoes/train, shoes/test."""
        below: defaultdict[str, set[str]] = defaultdict(set)
        for parts in self.tree.photos:
            if len(parts) > 1:
                below[parts[0]].add(parts[1] if len(parts) > 2 else "")
        named = {name for name, inner in below.items() if any(split_of(each) for each in inner)}
        whole = {name for name in named if all(split_of(each) for each in below[name])}
        for name in sorted(named - whole):
            inner = {each for each in below[name] if split_of(each)}
            self.understood.append(
                f"{printable_path(name)} holds {_shown(inner)} beside other photos: not taken as splits."
            )
        return frozenset(whole) if self.level == FIRST_LEVEL else frozenset()

    def _place(self, path: str, parts: Parts) -> tuple[ClassPhoto, Parts] | None:
        """The photo with its class and split, and the folders below the class; None if it is in no class folder."""
        folders = parts[len(self.base) : -1]
        split = None
        if self.has_splits:
            name, *below = folders or ("",)
            split, folders = self.splits.get(name), tuple(below[1:] if name in self.repeated else below)
        elif folders and folders[0] in self.split_classes:
            split, folders = split_of(folders[1]), (folders[0], *folders[2:])
        if not folders or len(folders) < self.level:
            return None
        label, _ = folder_text(folders[self.level - 1])
        if not key_of(label):
            return None
        return ClassPhoto(path, label, None, split), folders[self.level :] if self.level else ()

    def _with_products(self, found: Sequence[tuple[ClassPhoto, Parts]]) -> list[ClassPhoto]:
        """The photos with their products; folders whose name recurs or that are large are views."""
        photos = [photo for photo, _ in found]
        nested = [(photo.label, below) for photo, below in found]
        if not any(below for _, below in nested):
            return photos
        sizes = Counter(place for label, below in nested for place in _prefixes(label, below))
        names = Counter(place[-1] for place in sizes)
        totals = Counter(label for label, _ in nested)
        products = {
            place
            for place, size in sizes.items()
            if names[place[-1]] == 1 and size <= _MAX_PRODUCT_SHARE * totals[place[0]]
        }
        self._describe_nested(sizes, products)
        if any(photo.split for photo in photos):  # the user's splits are not changed
            return photos
        return [
            replace(photo, product=next(("/".join(each) for each in _prefixes(label, below) if each in products), None))
            for photo, (label, below) in zip(photos, nested, strict=True)
        ]

    def _describe_nested(self, sizes: Mapping[Parts, int], products: set[Parts]) -> None:
        views = [place for place in sizes if place not in products]
        self.understood.append(
            f"{len(sizes)} folders below the classes belong to them: {len(products)} as products, whose photos stay in "
            f"one split, {len(views)} as views ({_shown({'/'.join(place) for place in views}) or 'none'}). "
            "--class-level 2 takes the second level as classes, --class-level last the folder that holds the photo."
        )

    def _empty_classes(self, labels: set[str]) -> tuple[str, ...]:
        known = set(map(key_of, labels))
        empty = []
        start = len(self.base) + self.has_splits
        holding = {parts[:depth] for parts in self.tree.photos for depth in range(1, len(parts))}
        for parts in self.tree.folders:
            is_repeated = self.has_splits and parts[start - 1] in self.repeated if len(parts) >= start else False
            depth = start + is_repeated + (self.level or 1)
            if len(parts) == depth and parts[: len(self.base)] == self.base and parts not in holding:
                place = printable_path(os.path.join(*parts))
                is_known = key_of(folder_text(parts[-1])[0]) in known
                empty.append(f"{place} (its class has photos elsewhere)" if is_known else place)
        return tuple(empty)

    def _describe(self, photos: Sequence[ClassPhoto]) -> None:
        splits = Counter(photo.split for photo in photos if photo.split is not None)
        if splits:
            counts = ", ".join(f"{splits[name]} {name}" for name in splits)
            self.understood.append(f"splits by folder: {counts} photos.")
        labels = sorted({photo.label for photo in photos})
        for alike in alike_labels(labels):
            self.understood.append(
                f"{_shown(set(alike))} stay {len(alike)} classes. If they are one, move their photos into one folder."
            )
        if len(labels) > 1 and all(len(label) >= _PRODUCT_DIGITS and label.isdecimal() for label in labels):
            self.understood.append(
                f"the names of all {len(labels)} class folders are numbers. If they are products, name a table with "
                "the class of each."
            )
        folders = {parts[:-1] for parts in self.tree.photos}
        strange = {printable_path(name) for parts in folders for name in parts if not folder_text(name)[1]}
        if strange:
            self.understood.append(
                f"names of folders that are not UTF-8, read as Windows-1252: {_shown(strange)}. Rename them if the "
                "classes look wrong."
            )

    def _refuse_unclassed(self, unclassed: Sequence[str]) -> None:
        where = "the split folders" if self.has_splits else printable_path(self.root)
        table = f" It holds the table {self.tree.tables[0]}: name that." if self.tree.tables else ""
        level = f" of level {self.level}" if self.level > 1 else ""
        raise InvalidInput(
            f"{printable_path(self.root)} contains {len(unclassed)} photos but no class folders{level} in {where}, so "
            f"they have no labels.{table} Move them into one folder per class, or name a table with a label column."
        )


def _labelled(photo: ClassPhoto, label: str) -> ClassPhoto:
    return photo if photo.label == label else replace(photo, label=label)


def _children(photos: Sequence[Parts], base: Parts) -> set[str]:
    """Names of the folders in `base` that hold photos at any depth; "" for photos that are in `base` itself."""
    depth = len(base)
    return {parts[depth] if len(parts) > depth + 1 else "" for parts in photos if parts[:depth] == base}


def _prefixes(label: str, below: Parts) -> Iterator[Parts]:
    """(label, a), (label, a, b), ... for the folders a, b below a class."""
    return (place for place in accumulate(((name,) for name in below), initial=(label,)) if len(place) > 1)


def _shown(names: set[str]) -> str:
    ordered = sorted(map(printable_path, names))
    return ", ".join(ordered[:_SHOWN]) + (f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else "")
