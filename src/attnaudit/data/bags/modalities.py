"""Modalities: what the instances of generated bags are, given which of them are keys."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from attnaudit.data.bags.images import Images, Pool, idx_images, sklearn_digits
from attnaudit.data.bags.sentences import KINDS, VOCABULARY, count_words, write_sentences
from attnaudit.errors import SettingsError

Kinds = npt.NDArray[np.int64]
Drawn = tuple[npt.NDArray[np.float32], tuple[str, ...] | None]
Draw = Callable[[np.random.Generator, Kinds, int, str], Drawn]
"""From a generator, the key type of each instance `(n,)` (0 for none), how many key types the
rule knows and the split to the instances `(n, *shape)` and their names."""

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
"""One for each amino acid."""
MOTIFS = ("WKDF", "QHRY", "MPEN", "TVGC")
KEY_DIGITS = (9, 7, 4, 2)
_MOST_TRIES = 1000


@dataclass(frozen=True)
class Modality:
    """What instances are made of.

    Attributes:
        name: What `generate_bags` takes.
        title: The instances in words.
        shape: Of one instance.
        types: How many key types can be told apart.
        draw: Makes the instances of one bag.
        ceiling: The best AUROC that a score of one instance can have for one key type against
            ordinary instances; 1 where nothing is left to chance; None where it is not known.
        shift: By how many standard deviations a key is shifted; None for other modalities.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    types: int
    draw: Draw
    ceiling: float | None = None
    shift: float | None = None


def gaussian(delta: float = 2.0, dimensions: int = 10) -> Modality:
    """Points of a standard normal; those of key type k are shifted along axis k.

    Args:
        delta: The shift in standard deviations; 0 leaves nothing to be found.
        dimensions: Of a point.

    Raises:
        SettingsError: An option out of range.

    Example:
        >>> round(gaussian(2.0).ceiling, 3)
        0.921
    """
    if not (delta >= 0 and math.isfinite(delta)) or dimensions < 1:
        raise SettingsError(
            f"delta is 0 or more and dimensions 1 or more, got {delta} and {dimensions}"
        )

    def draw(rng: np.random.Generator, kinds: Kinds, types: int, split: str) -> Drawn:
        points = rng.standard_normal((len(kinds), dimensions))
        keys = kinds.nonzero()[0]
        points[keys, kinds[keys] - 1] += delta
        return points.astype(np.float32), None

    title = f"points of a normal in {dimensions} dimensions, keys shifted by {delta:g} sd"
    ceiling = NormalDist().cdf(delta / math.sqrt(2))
    return Modality("gaussian", title, (dimensions,), dimensions, draw, ceiling, delta)


def digits(key_digits: Sequence[int] = KEY_DIGITS) -> Modality:
    """Handwritten digits of 8×8 pixels, those that come with scikit-learn.

    Of 1,797 images 1,000 are for train, 200 for dev, 597 for test; none is in two of them.

    Args:
        key_digits: Which digit each key type is, in order; digits that the rule has no type for
            are ordinary.
    """
    title = "handwritten digits, 8×8 pixels from 0 to 1"
    return _image_modality("digits", title, sklearn_digits(), key_digits)


def mnist(folder: str | Path, key_digits: Sequence[int] = KEY_DIGITS) -> Modality:
    """Handwritten digits of 28×28 pixels from the files of MNIST (see `idx_images`).

    Args:
        folder: Where `t10k-images-idx3-ubyte` and the other files are, with or without `.gz`.
        key_digits: As in `digits`.
    """
    title = "handwritten digits of MNIST, 28×28 pixels, standardised"
    return _image_modality("mnist", title, idx_images(folder), key_digits)


def motifs(length: int = 12, motifs: Sequence[str] = MOTIFS) -> Modality:
    """Strings of 20 letters, one-hot; a key holds the motif of its type, in any place.

    No other string holds a motif, of any type, so that nothing is left to chance.

    Args:
        length: Of each string.
        motifs: One for each key type, of the letters in `LETTERS`.

    Raises:
        SettingsError: A motif that does not fit, or that holds another.
    """
    chosen = tuple(motifs)
    for motif in chosen:
        if not 2 <= len(motif) <= length or not set(motif) <= set(LETTERS):
            raise SettingsError(
                f"a motif has from 2 to {length} of the letters {LETTERS}, got {motif!r}"
            )
        if sum(motif in other for other in chosen) > 1:
            raise SettingsError(f"the motif {motif!r} stands in another one, or occurs twice")

    def draw(rng: np.random.Generator, kinds: Kinds, types: int, split: str) -> Drawn:
        strings = tuple(_string(rng, length, chosen, int(kind)) for kind in kinds)
        codes = np.array([[LETTERS.index(letter) for letter in string] for string in strings])
        return np.eye(len(LETTERS), dtype=np.float32)[codes], strings

    title = f"strings of {length} letters, keys with a motif of {len(chosen[0])}"
    return Modality("motifs", title, (length, len(LETTERS)), len(chosen), draw, 1.0)


def sentences() -> Modality:
    """Short English sentences as counts of words; keys praise, blame or tell a price."""

    def draw(rng: np.random.Generator, kinds: Kinds, types: int, split: str) -> Drawn:
        texts = write_sentences(rng, kinds.tolist())
        return count_words(texts), texts

    title = f"sentences as counts of {len(VOCABULARY)} words; keys: {', '.join(KINDS)}"
    return Modality("sentences", title, (len(VOCABULARY),), len(KINDS), draw, 1.0)


MODALITIES: dict[str, Callable[..., Modality]] = {
    "gaussian": gaussian,
    "digits": digits,
    "mnist": mnist,
    "motifs": motifs,
    "sentences": sentences,
}


def find_modality(modality: str | Modality, **options: object) -> Modality:
    """The modality of that name with these options; a `Modality` is what it is.

    Raises:
        SettingsError: There is none, or it has no such option.

    Example:
        >>> find_modality("gaussian", dimensions=3).shape
        (3,)
    """
    if isinstance(modality, Modality):
        if options:
            raise SettingsError(f"a Modality takes no options, got {', '.join(options)}")
        return modality
    if modality not in MODALITIES:
        raise SettingsError(f"unknown modality {modality!r}: choose one of {', '.join(MODALITIES)}")
    known = inspect.signature(MODALITIES[modality]).parameters
    for name in options:
        if name not in known:
            raise SettingsError(
                f"the modality {modality!r} has no option {name!r}; it has: "
                f"{', '.join(known) or 'none'}"
            )
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise SettingsError(f"the modality {modality!r} needs {name}=")
    return MODALITIES[modality](**options)


def _image_modality(name: str, title: str, images: Images, key_digits: Sequence[int]) -> Modality:
    chosen = tuple(key_digits)
    if len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(10)) or len(chosen) > 9:
        raise SettingsError(f"key_digits are different digits, at most 9 of them; got {chosen}")

    @functools.lru_cache(maxsize=1)  # one split after the other, many bags each
    def grouped(types: int, split: str) -> tuple[Pool, list[Kinds]]:
        pixels, labels = images.pool(split)
        groups = [np.flatnonzero(~np.isin(labels, chosen[:types]))]
        groups += [np.flatnonzero(labels == digit) for digit in chosen[:types]]
        return (pixels, labels), groups

    def draw(rng: np.random.Generator, kinds: Kinds, types: int, split: str) -> Drawn:
        (pixels, labels), groups = grouped(types, split)
        rows = np.array([rng.choice(groups[kind]) for kind in kinds])
        return pixels[rows], tuple(str(digit) for digit in labels[rows])

    return Modality(name, title, images.shape, len(chosen), draw)


def _string(rng: np.random.Generator, length: int, motifs: Sequence[str], kind: int) -> str:
    """A random string that holds the motif of its kind and no other."""
    wanted = motifs[kind - 1] if kind else None
    for _ in range(_MOST_TRIES):
        string = "".join(LETTERS[code] for code in rng.integers(len(LETTERS), size=length))
        if wanted is not None:
            start = int(rng.integers(length - len(wanted) + 1))
            string = string[:start] + wanted + string[start + len(wanted) :]
        if all((motif in string) == (motif == wanted) for motif in motifs):
            return string
    raise SettingsError(f"no string of {length} letters was found with {wanted} and no other motif")
