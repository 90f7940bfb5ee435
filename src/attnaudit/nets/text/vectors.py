"""Pretrained word vectors from files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from attnaudit.data.sources.npz import read_npz
from attnaudit.errors import DataError, SettingsError
from attnaudit.nets.text.vocabulary import PAD, Vocabulary

LONGEST_LINE = 1 << 20
"""Bytes of a word with its vector, as text: more than 50,000 numbers."""
Found = Iterator[tuple[str, int, NDArray[np.float32]]]
"""Where a vector stands (for messages), the id of its word, the vector."""


@dataclass(frozen=True)
class Coverage:
    """How many words of a vocabulary a file of vectors knows.

    Attributes:
        found: Words with a vector in the file.
        total: Words of the vocabulary, special ids not counted.
    """

    found: int
    total: int

    @property
    def share(self) -> float:
        """`found / total`, from 0 to 1."""
        return self.found / self.total


def load_vectors(
    path: str | Path,
    vocabulary: Vocabulary,
    dim: int | None = None,
    *,
    absent_sd: float = 0.0,
    seed: int = 0,
) -> tuple[Float[Tensor, "V E"], Coverage]:
    """The embedding matrix of a vocabulary from a file of word vectors.

    Args:
        path: A text file, one word and its numbers a line, with or without the header line
            `count dim` (word2vec, GloVe, fastText `.vec`; `.gz` too), or an `.npz` with arrays
            `words` `(N,)` and `vectors` `(N, E)`.
        vocabulary: The words that are wanted, in the case in which they are looked up.
        dim: The dimension that the file must have; None takes the file's.
        absent_sd: Standard deviation of the normal draws for absent words; 0 gives zero vectors.
        seed: Of those draws.

    Returns:
        The matrix, one row an id with the padding row 0, and how many words were found.

    Raises:
        DataError: The file is missing, broken, of another dimension, or knows none of the words.
    """
    path = Path(path)
    if absent_sd < 0:
        raise SettingsError(f"absent_sd is {absent_sd}; it must be 0 or more")
    if not path.is_file():
        raise DataError(f"{path}: no such file of word vectors; check the path")
    read = _from_npz if path.suffix == ".npz" else _from_text
    rows: dict[int, NDArray[np.float32]] = {}
    width = dim
    try:
        for place, index, vector in read(path, vocabulary, dim):
            if not np.isfinite(vector).all():
                raise DataError(f"{place}: the vector holds NaN or infinity; mend the file")
            rows.setdefault(index, vector)
            width = len(vector)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read to its end ({error}); fetch it again") from error
    if width is None or not rows:
        raise DataError(
            f"{path}: none of the {len(vocabulary.words)} words of the vocabulary has a vector "
            "here; check language, lower case and tokens"
        )
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(len(vocabulary), width, generator=generator) * absent_sd
    found = torch.tensor(sorted(rows))
    matrix[found] = torch.from_numpy(np.stack([rows[index] for index in found.tolist()]))
    matrix[PAD] = 0.0
    return matrix, Coverage(len(rows), len(vocabulary.words))


def _from_npz(path: Path, vocabulary: Vocabulary, dim: int | None) -> Found:
    arrays = read_npz(path, ("words", "vectors"))
    try:
        words, vectors = arrays["words"], arrays["vectors"]
    except KeyError as error:
        raise DataError(f"{path}: must hold the arrays 'words' and 'vectors'; {error}") from error
    if words.dtype.kind == "S":
        words = np.char.decode(words, "utf-8")
    if words.dtype.kind != "U" or words.ndim != 1:
        raise DataError(
            f"{path}: 'words' is {words.dtype} {words.shape}; it must be a list of text"
        )
    if vectors.ndim != 2 or len(vectors) != len(words) or vectors.dtype.kind != "f":
        raise DataError(
            f"{path}: 'vectors' is {vectors.dtype} {vectors.shape}; it must be floats "
            f"({len(words)}, dimension), one row a word"
        )
    if dim is not None and vectors.shape[1] != dim:
        raise DataError(f"{path}: vectors have dimension {vectors.shape[1]}, but {dim} is wanted")
    for row, word in enumerate(words.tolist()):
        index = vocabulary.ids.get(word)
        if index is not None:
            yield f"{path}, row {row}", index, vectors[row].astype(np.float32)


def _from_text(path: Path, vocabulary: Vocabulary, dim: int | None) -> Found:
    wanted = {word.encode(): index for word, index in vocabulary.ids.items()}
    width: int | None = None
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), b""), start=1):
            place = f"{path}, line {number}"
            if len(line) == LONGEST_LINE:
                raise DataError(f"{place}: longer than {LONGEST_LINE:,} bytes; it is no vector")
            if line.isspace():
                continue
            if width is None:
                width, header = _width(line, number)
                if dim is not None and width != dim:
                    raise DataError(f"{place}: vectors have dimension {width}, but {dim} is wanted")
                if header:
                    continue
            # Some words hold spaces, so the numbers are counted from the right.
            word, *numbers = line.rsplit(None, width) if width else [line]
            if not numbers or len(numbers) != width:
                raise DataError(
                    f"{place}: expected a word and {width} numbers, found {len(line.split())} "
                    "fields; the line is broken or the file has another dimension"
                )
            index = wanted.get(word)
            if index is None:
                continue
            try:
                vector = np.array(numbers, dtype=np.float32)
            except ValueError as error:
                raise DataError(f"{place}: {error}; only numbers may follow the word") from error
            yield place, index, vector


def _width(line: bytes, number: int) -> tuple[int, bool]:
    """The dimension that the first line tells, and whether it is word2vec's `count dim` header."""
    fields = line.split()
    if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
        return int(fields[1]), True
    return len(fields) - 1, False
