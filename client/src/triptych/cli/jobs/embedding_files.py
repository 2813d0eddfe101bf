"""Files of embeddings for numpy and Parquet readers, written completely or not at all.

Each format also reads its own files, so that a later run can resume them.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from triptych._core.protocol import JsonObject
from triptych._optional import require
from triptych.catalogue.file_replacement import replace_files
from triptych.cli.exit_codes import WrongUsage

_FLOAT_BYTES = 4
# Rows of one row group, which reader and writer keep in memory: 5 MB at D = 1280.
_GROUP_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One photo: its embedding as little-endian float32 in `vector`, or the reason in `error`."""

    photo: str
    vector: bytes | None = None
    error: JsonObject | None = None

    def line(self) -> str:
        """The record as a line of a journal."""
        if self.vector is None:
            return json.dumps({"photo": self.photo, "error": self.error})
        return json.dumps({"photo": self.photo, "embedding": base64.b64encode(self.vector).decode("ascii")})

    @classmethod
    def from_fields(cls, fields: JsonObject) -> Record:
        """Reads the fields of a line of a journal."""
        vector = fields.get("embedding")
        return cls(fields["photo"], None if vector is None else base64.b64decode(vector), fields.get("error"))


class EmbeddingFile(ABC):
    """One output file, or two that belong together.

    Attributes:
        path: the path of `--output`.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def paths(self) -> tuple[str, ...]:
        """All its files; `path` is the last."""
        return (self.path,)

    @abstractmethod
    def write(self, records: Iterable[Record], rows: int, size: int) -> None:
        """Writes all `records`; `rows` of them have an embedding of `size` numbers."""

    @abstractmethod
    def read(self) -> Iterator[Record]:
        """Reads the records back; raises `WrongUsage` for another file."""


class NpyFile(EmbeddingFile):
    """`x.npy`: float32[N,D]; `x.npy.jsonl` beside it has the photo of each row, and the failed photos."""

    @property
    def paths(self) -> tuple[str, ...]:
        """See `EmbeddingFile`."""
        return (f"{self.path}.jsonl", self.path)

    def write(self, records: Iterable[Record], rows: int, size: int) -> None:
        """See `EmbeddingFile`."""
        with replace_files(self.paths) as (names, array):
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, size)}
            np.lib.format.write_array_header_1_0(array, header)  # type: ignore[no-untyped-call]
            row = 0
            for record in records:
                fields: JsonObject = {"row": None, "photo": record.photo}
                if record.vector is None:
                    fields["error"] = record.error
                else:
                    array.write(record.vector)
                    fields["row"] = row
                    row += 1
                names.write(json.dumps(fields).encode() + b"\n")

    def read(self) -> Iterator[Record]:
        """See `EmbeddingFile`."""
        names, path = self.paths
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            with open(names, encoding="utf-8") as file:
                for line in file:
                    fields = json.loads(line)
                    row = fields["row"]
                    vector = None if row is None else np.ascontiguousarray(array[row], "<f4").tobytes()
                    yield Record(fields["photo"], vector, fields.get("error"))
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise WrongUsage(
                f"{path!r} and {names!r} are not the two files of an earlier run ({error}). Choose another output."
            ) from error


class ParquetFile(EmbeddingFile):
    """`x.parquet`: one row per photo: `photo` string, `embedding` list<float> of D, `error` string, `code` string.

    Without an embedding, `error` is "UnreadableImage: unreadable image: ...", `code` "image_unreadable".
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        try:
            self._arrow = require("pyarrow", extra="parquet", wanted_by=f"Writing {path}")
            self._parquet = require("pyarrow.parquet", extra="parquet", wanted_by=f"Writing {path}")
        except ModuleNotFoundError as error:
            raise WrongUsage(str(error)) from error
        except ImportError as error:
            raise WrongUsage(f"pyarrow is installed but does not load ({error}). Install the named library.") from error

    def write(self, records: Iterable[Record], rows: int, size: int) -> None:
        """See `EmbeddingFile`."""
        arrow = self._arrow
        # No fixed-size list: pyarrow 25 cannot read a null of such a list.
        numbers = arrow.list_(arrow.float32())
        text = arrow.string()
        schema = arrow.schema([("photo", text), ("embedding", numbers), ("error", text), ("code", text)])
        with (
            replace_files(self.paths) as (file,),
            self._parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer,
        ):
            for group in _groups(records, _GROUP_ROWS):
                vectors = [None if record.vector is None else np.frombuffer(record.vector, "<f4") for record in group]
                names = arrow.array([_storable(record.photo) for record in group], text)
                errors = arrow.array([_error_text(record) for record in group], text)
                codes = arrow.array([(record.error or {}).get("code") for record in group], text)
                writer.write_table(arrow.table([names, arrow.array(vectors, numbers), errors, codes], schema=schema))

    def read(self) -> Iterator[Record]:
        """See `EmbeddingFile`."""
        try:
            for batch in self._parquet.ParquetFile(self.path).iter_batches(_GROUP_ROWS):
                names, errors = (batch.column(name).to_pylist() for name in ("photo", "error"))
                embeddings = batch.column("embedding")
                # Releases before error codes wrote no codes.
                has_codes = "code" in batch.schema.names
                codes = batch.column("code").to_pylist() if has_codes else [None] * len(names)
                for row, (name, error, code) in enumerate(zip(names, errors, codes, strict=True)):
                    vector = embeddings[row].values
                    packed = None if vector is None else vector.to_numpy().astype("<f4").tobytes()
                    yield Record(name, packed, None if error is None else _error_fields(error, code))
        except (OSError, ValueError, KeyError, AttributeError, self._arrow.ArrowException) as error:
            raise WrongUsage(
                f"{self.path!r} is not the file of an earlier run ({error}). Choose another output."
            ) from error


FORMATS: dict[str, Callable[[str], EmbeddingFile]] = {".npy": NpyFile, ".parquet": ParquetFile}


def embedding_file(path: str) -> EmbeddingFile:
    """The format of the suffix of `path`; raises `WrongUsage` for an unknown suffix."""
    suffix = PurePath(path).suffix
    if suffix not in FORMATS:
        raise WrongUsage(f"--output is {path!r}; expected a name that ends in {' or '.join(FORMATS)}.")
    return FORMATS[suffix](path)


def measure(records: Iterable[Record]) -> tuple[int, int]:
    """The number of embeddings and their size; (0, 0) without embeddings.

    Raises:
        WrongUsage: the embeddings have different sizes.
    """
    rows = size = 0
    for record in records:
        if record.vector is None:
            continue
        found = len(record.vector) // _FLOAT_BYTES
        if rows and found != size:
            raise WrongUsage(
                f"{record.photo!r} has an embedding of {found} numbers, the earlier ones have {size}: the server's "
                "model has changed. Remove the output and start again."
            )
        rows, size = rows + 1, found
    return rows, size


def _groups(records: Iterable[Record], rows: int) -> Iterator[list[Record]]:
    group: list[Record] = []
    for record in records:
        group.append(record)
        if len(group) == rows:
            yield group
            group = []
    if group:
        yield group


def _storable(name: str) -> str:
    """A name as UTF-8, which Parquet needs; other bytes are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _error_text(record: Record) -> str | None:
    return None if record.error is None else _storable(f"{record.error['class']}: {record.error['message']}")


def _error_fields(text: str, code: str | None) -> JsonObject:
    name, _, message = text.partition(": ")
    return {"class": name, "code": code, "message": message}
