"""A file's bytes as they were before compression, and files of formats that are refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from record.errors import DataError

_AS_CSV: Final = 'save the sheet as "CSV UTF-8" and name that file'
_AS_PARQUET: Final = "write it as Parquet"
_BY_URL: Final = 'set data.source = "sqlite:///FILE" and data.query in ringside.toml'


def _by_pandas(reader: str, *more: str) -> str:
    return f"{_AS_PARQUET}: pandas.{reader}({', '.join((repr('FILE'), *more))}).to_parquet(…)"


# What a file of that suffix is, and what to do instead.
FOREIGN: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb"), ("an Excel workbook", _AS_CSV)),
    **dict.fromkeys((".ods", ".numbers"), ("a spreadsheet", _AS_CSV)),
    ".json": ("JSON", _by_pandas("read_json")),
    **dict.fromkeys((".jsonl", ".ndjson"), ("lines of JSON", _by_pandas("read_json", "lines=True"))),
    **dict.fromkeys((".sav", ".zsav", ".por"), ("an SPSS file", _by_pandas("read_spss"))),
    ".dta": ("a Stata file", _by_pandas("read_stata")),
    **dict.fromkeys((".sas7bdat", ".xpt"), ("a SAS file", _by_pandas("read_sas"))),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), ("an Arrow file", _by_pandas("read_feather"))),
    ".orc": ("an ORC file", _by_pandas("read_orc")),
    ".avro": ("an Avro file", _AS_PARQUET),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), ("an HDF5 file", _AS_PARQUET)),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), ("a pickle, which runs code when it is read", _AS_PARQUET)),
    **dict.fromkeys((".rds", ".rda", ".rdata"), ("an R object", "in R: write.csv(…, row.names = FALSE)")),
    **dict.fromkeys((".html", ".htm", ".xml"), ("a page of markup", "save its table as CSV")),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), ("an SQLite database", _BY_URL)),
    ".duckdb": ("a DuckDB database", "in DuckDB: COPY … TO 'rows.parquet'"),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), ("an archive", "unpack it first")),
}  # fmt: skip
# By their first bytes, whatever the file is called.
_SIGNATURES: Final = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", _AS_CSV),
    (b"SQLite format 3\x00", *FOREIGN[".sqlite"]),
    (b"$FL2", *FOREIGN[".sav"]),
    (b"ARROW1", *FOREIGN[".arrow"]),
    (b"FEA1", *FOREIGN[".feather"]),
    (b"ORC", *FOREIGN[".orc"]),
    (b"\x89HDF", *FOREIGN[".h5"]),
    (b"\x80\x04\x95", *FOREIGN[".pkl"]),
    (b"Obj\x01", *FOREIGN[".avro"]),
    (b"%PDF", "a PDF", "export the table as CSV"),
)
PARQUET_SIGNATURE: Final = b"PAR1"
_ZSTD, _LZ4 = b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"


def is_parquet(path: Path) -> bool:
    """By its first bytes, else by its name: an empty `.parquet` is a broken one, no CSV."""
    with path.open("rb") as file:
        return file.read(4) == PARQUET_SIGNATURE or path.suffix.lower() in (".parquet", ".pq", ".parq")


def refuse_foreign(path: Path) -> None:
    """Raises DataError for a format that is not read, saying what it is and what to do."""
    known = FOREIGN.get(path.suffix.lower())
    if known is None:
        with path.open("rb") as file:
            head = file.read(16)
        known = next(((what, todo) for signature, what, todo in _SIGNATURES if head.startswith(signature)), None)
    if known is not None:
        what, todo = known
        raise DataError(f"{path}: {what}; expected CSV or Parquet: {todo.replace('FILE', path.name)}")


@contextmanager
def unpacked(path: Path) -> Iterator[None]:
    """Raises DataError for a file that cannot be read or unpacked: damaged, encrypted, or packed in an unknown way."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be unpacked: {str(error)[:200]}") from None
    except (RuntimeError, NotImplementedError) as error:  # of zipfile: a password, a method that it does not know
        raise DataError(
            f"{path}: cannot be unpacked: {str(error)[:200]}; expected the file unpacked, or packed by gzip"
        ) from None


def open_bytes(path: Path) -> IO[bytes]:
    """The file, unpacked where gzip, bzip2, xz, zstd, lz4 or zip (of one file) packed it."""
    file = path.open("rb")
    try:
        return _unpacked(path, file)
    except BaseException:
        file.close()
        raise


def _unpacked(path: Path, file: IO[bytes]) -> IO[bytes]:
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return _owning(gzip.GzipFile(fileobj=file), file)
    if head.startswith(b"BZh"):
        return _owning(bz2.BZ2File(file), file)
    if head.startswith(b"\xfd7zXZ"):
        return _owning(lzma.LZMAFile(file), file)
    if head.startswith((_ZSTD, _LZ4)):
        import pyarrow as pa

        unpacked: IO[bytes] = pa.CompressedInputStream(pa.PythonFile(file), "zstd" if head.startswith(_ZSTD) else "lz4")
        return unpacked
    if head.startswith(b"PK\x03\x04"):
        return _zip_member(path, file)
    return file


def _zip_member(path: Path, file: IO[bytes]) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise DataError(f"{path}: a spreadsheet; expected CSV or Parquet: {_AS_CSV}")
    if len(names) != 1:
        raise DataError(f"{path}: a zip of {len(names)} files; expected one file in it, or the files unpacked")
    return _owning(archive.open(names[0]), file)


def _owning(stream: IO[bytes] | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile, file: IO[bytes]) -> IO[bytes]:
    """`stream`, which closes `file` with itself."""
    return io.BufferedReader(_Owner(stream, file), buffer_size=1 << 20)


class _Owner(io.RawIOBase):
    def __init__(self, stream: object, file: IO[bytes]) -> None:
        self._stream, self._file = stream, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return int(self._stream.readinto(buffer))  # type: ignore[attr-defined]

    def close(self) -> None:
        if not self.closed:
            self._stream.close()  # type: ignore[attr-defined]
            self._file.close()
        super().close()
