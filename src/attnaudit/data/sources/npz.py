"""Arrays in .npz files: what the file says of their sizes is checked before any is read.

Bags in such files, which `attnaudit.data.bags.arrays` writes:

| array | shape | meaning |
|---|---|---|
| `instances` | `(n, …)` | one row per instance |
| `bag` | `(n,)` | the bag of each instance: whole numbers or strings |
| `label` | `(n,)` | the label of its bag, the same for all instances of one |
| `truth` | `(n,)` | 1 for key instances, else 0; optional |
| `key_type` | `(n,)` | 0 for no key, else the type of the key from 1; optional |
| `coordinates` | `(n, 2)` | x to the right, y down; optional |
| `name` | `(n,)` | what reports call the instance; optional |
| `classes` | `(c,)` | the names of the classes in index order; optional |
| `features` | `(f,)` | the names of the features; optional |
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from attnaudit.data.sources.frames import Arrays, Table, listed, shown, storable
from attnaudit.data.sources.unpacking import ARRAYS_FREE, most_bytes, read_whole, too_large
from attnaudit.errors import DataError, first_line

_BAGS = (
    *("instances", "bag", "label", "truth", "key_type"),
    *("coordinates", "name", "classes", "features"),
)
_ENCRYPTED = 1
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(path: Path, names: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file; those that only a pickle could hold are refused.

    Args:
        path: A file of `numpy.savez` or `numpy.savez_compressed`.
        names: The arrays to read; None for all.

    Raises:
        DataError: It cannot be read, or would not fit into memory; the message names the array.
    """
    try:
        packed = path.stat().st_size
        if path.is_file():
            with path.open("rb") as file:
                if file.read(6) == b"\x93NUMPY":
                    raise DataError(f"{path} holds a single array: save bags with numpy.savez")
        else:
            read_whole(path)  # says why it is not a file to read
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive, packed, names)
            return {name: _array(path, archive, name, member) for name, member in members.items()}
    except DataError:
        raise
    except Exception as error:
        # zipfile and numpy raise whatever a damaged directory or header leads them to
        reason = first_line(error)[:200]
        raise DataError(
            f"{path} cannot be read as .npz ({reason}). Save it again with numpy.savez"
        ) from error


def npz_table(path: Path) -> Table:
    """A file of bags as a table, with the instances beside it.

    Raises:
        DataError: An array is missing, unknown, or of another length.
    """
    arrays = read_npz(path)
    unknown = [name for name in arrays if name not in _BAGS]
    if unknown:
        raise DataError(
            f"{path}: unknown array {unknown[0]!r}. Bags are read from: {listed(_BAGS)}"
        )
    missing = [name for name in ("instances", "bag") if name not in arrays]
    if missing:
        raise missing_array(path, missing[0], arrays)
    classes, features = (_names(path, name, arrays.pop(name, None)) for name in _BAGS[-2:])
    size = len(arrays["instances"]) if arrays["instances"].ndim else 0
    for name, array in arrays.items():
        axes = {"instances": array.ndim, "coordinates": 2}.get(name, 1)
        if array.ndim == 0 or array.ndim != axes or len(array) != size:
            raise DataError(
                f"{path}: the array {name!r} has the shape {array.shape}, for {size} instances"
            )
    beside = Arrays(
        arrays["instances"],
        features=features or (),
        coordinates=arrays.get("coordinates"),
        classes=classes,
    )
    return Table(
        name=str(path),
        columns=tuple(name for name in arrays if name not in ("instances", "coordinates")),
        size=size,
        values=lambda name: arrays[name].tolist(),
        numbers=range(size),  # as NumPy counts
        row_word="instance",
        arrays=beside,
    )


def missing_array(path: Path, name: str, there: Collection[str]) -> DataError:
    """The error for an array that a file lacks."""
    return DataError(f"{path} has no array {name!r}; it has: {listed(list(there))}")


def _names(path: Path, array: str, values: npt.NDArray[Any] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    if values.ndim != 1:
        raise DataError(
            f"{path}: the array {array!r} has the shape {values.shape}; it is a list of names"
        )
    return tuple(
        storable(str(name), f"{path}, array {array!r}, entry {row}")
        for row, name in enumerate(values.tolist())
    )


def _members(
    path: Path, archive: zipfile.ZipFile, packed: int, names: Collection[str] | None
) -> dict[str, zipfile.ZipInfo]:
    """The entries of the arrays asked for, each checked against the bounds."""
    members = {
        member.filename.removesuffix(".npy"): member
        for member in archive.infolist()
        if member.filename.endswith(".npy")
    }
    members = {name: member for name, member in members.items() if names is None or name in names}
    for name, member in members.items():
        if member.flag_bits & _ENCRYPTED:
            raise DataError(
                f"{path}: the array {name!r} is encrypted. Save it again with numpy.savez"
            )
        if member.compress_type not in _READABLE:
            raise DataError(
                f"{path}: the array {name!r} is compressed by a method that NumPy does not write "
                f"(number {member.compress_type}). Save it again with numpy.savez_compressed"
            )
    if sum(member.file_size for member in members.values()) > most_bytes(packed, ARRAYS_FREE):
        raise too_large(path, packed, ARRAYS_FREE)
    return members


def _array(
    path: Path, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo
) -> npt.NDArray[Any]:
    with archive.open(member) as opened:
        shape, dtype = _header(cast(BinaryIO, opened))
    if dtype.hasobject:
        raise DataError(
            f"{path}: the array {name!r} holds Python objects, which only a pickle could restore, "
            "and pickles can run code. Save strings with a NumPy string type"
        )
    announced = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or announced > member.file_size:
        raise DataError(
            f"{path}: the array {name!r} announces the shape {shown(shape)}, which is more than "
            f"the {member.file_size:,} bytes it has. The file is damaged; save it again"
        )
    with archive.open(member) as opened:
        found: npt.NDArray[Any] = np.lib.format.read_array(opened, allow_pickle=False)
    return found


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, from the header alone."""
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    return shape, dtype
