"""The photo that a cell names: a URL, bytes, or a file below a folder, also in another letter case or Unicode form.

Opens no photo and no connection.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from triptych.errors import InvalidInput
from triptych.sources.photo_cells import AROUND

_URL = re.compile(r"https?://", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(?=//)", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:[\\/]|\\\\", re.IGNORECASE)
# A host without scheme: its last label is a country's or a usual one, so that "photos.old/1.jpg" stays a path.
_HOST = re.compile(
    r"(?:[a-z0-9-]+\.)+(?:[a-z]{2}|com|net|org|info|biz|shop|store|cloud|site|online|dev|app|xyz|test|example)(?::\d+)?/.+",
    re.IGNORECASE,
)
_DATA = re.compile(r"data:[^,;]*((?:;[^,;]*)*?)(;base64)?,", re.IGNORECASE)
_BASE64 = re.compile(r"/9j/|iVBORw0KGgo|R0lGOD|UklGR|AAAA[A-Za-z0-9+/]{4}Z0eX")  # JPEG, PNG, GIF, WebP, AVIF and HEIC
_LONGEST_NAME = 255  # of a file in bytes, of most file systems
_SUFFIX = re.compile(r"\.[a-z0-9]{3,5}(?:[?#].*)?", re.IGNORECASE)
_MOST_LISTINGS = 16
_NEAR_NAMES = 20_000  # names that are compared for "did you mean"
_MOST_SUGGESTIONS = 100  # a table whose photos are all elsewhere must not take minutes
_QUERY = re.compile(r"[?#].*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Location:
    """The photo of a cell.

    Attributes:
        image: URL, path of a file, or the photo's bytes.
        named: what the cell says; None for bytes.
        note: how the file was found if its name is written in another way, or None.
    """

    image: str | bytes
    named: str | None
    note: str | None = None


class PhotoFolder:
    """The folder that relative paths of photos start from; nothing outside it is read.

    Args:
        folder: the folder.
        further: folders below it where photos may lie too.
        asked: the name of the option for sentences.
    """

    def __init__(self, folder: Path, further: Sequence[str] = (), *, is_given: bool = False) -> None:
        self._folder = folder
        self._roots = [folder, *(folder / each for each in further if (folder / each).is_dir())]
        self._is_given = is_given
        self._real = os.path.realpath(folder)
        self._listings: dict[str, dict[str, list[str]]] = {}
        self._near: dict[str, str] | None = None
        self._missing = 0

    def locate(self, text: str) -> Location:
        """The photo of one location.

        Raises:
            InvalidInput: there is no such file, several fit, or it is outside the folder.
        """
        named = text.strip(AROUND)
        if _URL.match(named):
            return Location(named.replace(" ", "%20"), named)
        if named.startswith("//"):
            return Location(f"https:{named}".replace(" ", "%20"), named, "written without https:")
        if _DATA.match(named) or (len(named) > _LONGEST_NAME and _BASE64.match(named)):
            return Location(_decoded(named), None)
        scheme = _SCHEME.match(named)
        if scheme and scheme[1].lower() != "file":
            raise InvalidInput(
                f"{_shortened(named)!r} is an address that begins with {scheme[1]}://, which is not read; expected a "
                "path, or an address with https://."
            )
        path = _path_of(named)
        found = self._existing(path) or self._existing(text)
        if found is not None:
            return Location(found, named)
        if "\\" in path:
            found = self._existing(path.replace("\\", "/"))
            if found is not None:
                return Location(found, named, "written with backslashes")
        if _HOST.fullmatch(named) and not (self._folder / named.split("/")[0]).exists():
            return Location(f"https://{named}".replace(" ", "%20"), named, "written without https://")
        return self._with_query(path, named) or self._resembling(path, named)

    def _with_query(self, path: str, named: str) -> Location | None:
        """The file of a path that was cut out of a web address, with its query or fragment."""
        bare = _QUERY.sub("", path)
        found = None if bare == path else self._existing(bare) or self._existing(unquote(bare))
        return None if found is None else Location(found, named, "written with a query such as ?v=1")

    def _existing(self, path: str) -> str | None:
        """The file of a path as it stands, relative to one of the roots."""
        try:
            for root in self._roots if path else ():
                place = os.path.join(root, path)
                if os.path.isfile(place):
                    self._check_inside(place, path)
                    return place
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{_shortened(path)!r} cannot be a path ({error.args[-1]}).") from error
        return None

    def _check_inside(self, place: str | Path, named: str) -> None:
        try:
            real = os.path.realpath(place)
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{_shortened(named)!r} cannot be a path ({error}).") from error
        if not real.startswith(os.path.join(self._real, "")):
            is_linked = os.path.abspath(place).startswith(os.path.join(os.path.abspath(self._folder), ""))
            raise InvalidInput(
                f"{_shortened(named)!r} leads out of the catalogue's folder {str(self._folder)!r}"
                f"{' through a link' if is_linked else ''}. Put the photo below it, name it by URL, or name the folder "
                "of the photos (--photos DIR)."
            )

    def _resembling(self, path: str, named: str) -> Location:
        """The only file that is named alike; raises with near names where there is none."""
        for way in _ways(path):
            for root in self._roots:
                fitting = list(self._fitting(root, [part for part in way.split("/") if part not in ("", ".")]))
                if len(fitting) > 1:
                    shown = ", ".join(repr(self._inside(each)) for each in fitting[:3])
                    raise InvalidInput(
                        f"{_shortened(named)!r} may be several files: {shown}. Write the name as the file has it."
                    )
                if fitting:
                    self._check_inside(fitting[0], named)
                    return Location(str(fitting[0]), named, _difference(named, self._inside(fitting[0])))
        ended = self._ending(path) if self._is_given else None
        if ended is not None:
            return Location(str(ended), named, "found by the end of its path")
        if Path(path).is_absolute() or ".." in path.split("/"):
            self._check_inside(self._folder / path, named)
        where = "" if self._is_given else " Paths are relative to the catalogue's folder (--photos DIR names another)."
        drive = " It is a path of another computer: write it as it is below the folder." if _DRIVE.match(named) else ""
        near = self._did_you_mean(path)
        raise InvalidInput(f"there is no photo {_shortened(named)!r} below {str(self._folder)!r}.{near}{drive}{where}")

    def _fitting(self, folder: Path, parts: list[str]) -> Iterator[Path]:
        """The files below a folder whose parts are alike; an exact part is preferred to one that is alike."""
        names = self._listing(str(folder)).get(_folded(parts[0]), ()) if parts else ()
        exact = [name for name in names if name == parts[0]]
        for name in exact or names:
            place = folder / name
            if len(parts) > 1:
                yield from self._fitting(place, parts[1:])
            elif place.is_file():
                yield place

    def _ending(self, path: str) -> Path | None:
        """The file that the longest end of a path names, for paths of another computer or from another folder."""
        parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        for start in range(1, len(parts)):
            fitting = list(self._fitting(self._folder, parts[start:]))
            if len(fitting) == 1:
                self._check_inside(fitting[0], path)
                return fitting[0]
        return None if ".." not in path else next(iter(self._fitting(self._folder, parts)), None)

    def _listing(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._listings:
            if len(self._listings) >= _MOST_LISTINGS:
                self._listings.clear()
            found = self._listings[folder] = {}
            try:
                for name in os.listdir(folder):
                    found.setdefault(_folded(name), []).append(name)
            except (OSError, ValueError):
                pass  # no folder: nothing fits
        return self._listings[folder]

    def _inside(self, place: Path) -> str:
        return Path(os.path.relpath(place, self._folder)).as_posix()

    def _did_you_mean(self, path: str) -> str:
        name = path.rpartition("/")[2]
        self._missing += 1
        if self._missing > _MOST_SUGGESTIONS:
            return ""
        if self._near is None:
            self._near = _names_below(str(self._folder))
        by_name = self._near
        if not name or not by_name:
            return ""
        near = difflib.get_close_matches(
            _folded(name), by_name if len(by_name) < 2000 else _alike(name, by_name), 1, 0.7
        )
        return f" Did you mean {by_name[near[0]]!r}?" if near else ""


def _alike(name: str, by_name: Mapping[str, str]) -> list[str]:
    """Names with the same beginning or end, since a comparison with thousands takes long."""
    start, end = _folded(name)[:4], _folded(name)[-8:]
    return [each for each in by_name if each.startswith(start) or each.endswith(end)][:500]


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."


def is_url(text: str) -> bool:
    """Whether a location is an address on the web."""
    return _URL.match(text) is not None


def _path_of(named: str) -> str:
    if named[:5].lower() != "file:":
        return named
    path = unquote(named[5:])
    if path.startswith("//"):
        path = path[2:].removeprefix("localhost")
    return path


def _ways(path: str) -> list[str]:
    """Other ways to write a path: slashes, without what leads out, percent signs decoded."""
    slashed = path.replace("\\", "/")
    if ".." in slashed.split("/"):
        return []
    return list(dict.fromkeys((slashed, unquote(slashed))))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", name).casefold())


def _names_below(folder: str) -> dict[str, str]:
    """Path below the folder by folded name of the file, of the first files."""
    found: dict[str, str] = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _SUFFIX.fullmatch(os.path.splitext(name)[1]):
                found.setdefault(_folded(name), Path(os.path.relpath(os.path.join(root, name), folder)).as_posix())
        if len(found) > _NEAR_NAMES:
            break
    return found


def _difference(named: str, found: str) -> str:
    if "\\" in named:
        return "written with backslashes"
    if named[:5].lower() == "file:":
        return "written as a file: address"
    below = found.removesuffix(named.lstrip("./"))
    if below != found and below:
        return f"found in {below.rstrip('/')}"
    if named.lstrip("./").casefold() == found.casefold():
        return "written in other letter case" if named.lstrip("./") != found else "written with a leading slash"
    if unicodedata.normalize("NFC", named) == unicodedata.normalize("NFC", found):
        return "written in another Unicode form"
    return "written in another way"


def _decoded(text: str) -> bytes:
    found = _DATA.match(text)
    content = text[found.end() :] if found else text
    try:
        if found and not found[2]:
            return unquote(content).encode("latin-1")
        return base64.b64decode(unquote(content), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"its photo is base64 text that cannot be decoded ({error}).") from error
