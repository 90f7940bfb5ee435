"""What is trained: the recipe of the model in question, and that recipe with one thing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from attnaudit.errors import SettingsError
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.training.options import TrainOptions

SEEDS = 8
"""Further seeds, as many as Wiegreffe & Pinter 2019 have (section 3.2)."""
LAMBDAS = (0.0, 1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 1e-2)
"""Strengths of the trained adversary; 0 asks for the predictions alone."""
GUIDE_LAMBDA = 2e-3
"""Strength of the adversary whose weights guide: the .001 of Wiegreffe & Pinter 2019, section 3.4.

Their released code counts half the distance of two classes, and ½ TVD − .001 KL is half of
TVD − .002 KL: every λ of theirs is twice as large here (see `controls/objective.py`).
"""
REPLACEMENTS = ("uniform", "random", "position", "own_token")
"""Attentions that know less than the learned one."""
GUIDED = "average"
"""The context-free encoder that is guided."""
ADVERSARY_EPOCHS, ADVERSARY_PATIENCE = 80, 10


@dataclass(frozen=True)
class Recipe:
    """How the model in question is made.

    Attributes:
        encoder: A name of `ENCODERS`.
        attention: additive or dot: something that is learned.
        hidden: Hidden size (per direction for the LSTM).
        embedding_dim: Size of word vectors; pretrained ones bring their own.
        vectors: A file of pretrained word vectors, or None.
        options: Epochs, batch size, seed, device, and the like.

    Raises:
        SettingsError: A name that no registry holds, a size below 1, or an attention that is
            not learned.
    """

    encoder: str = "bilstm"
    attention: str = "additive"
    hidden: int = 128
    embedding_dim: int = 300
    vectors: str | Path | None = None
    options: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        ClassifierConfig(("a", "b"), self.encoder, self.attention, self.hidden, self.embedding_dim)
        if self.attention not in LEARNED:
            raise SettingsError(
                f"the attention {self.attention!r} is not learned, so there is nothing to "
                f"control for; choose one of {', '.join(LEARNED)}"
            )


@dataclass(frozen=True)
class Training:
    """One training: the unit that is stored, resumed, and shared between controls.

    Attributes:
        name: What it is, in words; unique among the trainings of a design.
        encoder: A name of `ENCODERS`.
        attention: A name of `ATTENTIONS`.
        options: How it is trained, its seed among them.
        guide: The training whose weights it is given, for the attention `given`.
        against: The training whose predictions it matches with other weights.
        strength: λ of that.
    """

    name: str
    encoder: str
    attention: str
    options: TrainOptions
    guide: Training | None = None
    against: Training | None = None
    strength: float = 0.0

    @property
    def needs(self) -> tuple[Training, ...]:
        """What must be finished before."""
        return tuple(t for t in (self.guide, self.against) if t is not None)

    def spec(self) -> dict[str, Any]:
        """What decides its numbers, besides data, sizes and the trainings that it needs.

        The device is left out: it changes speed, and numbers by rounding alone.
        """
        return {
            "encoder": self.encoder,
            "attention": self.attention,
            "strength": self.strength,
            **self.options.plain(),
        }


@dataclass(frozen=True)
class Design:
    """What is asked of the controls.

    Attributes:
        recipe: The model in question.
        seeds: How many further seeds it is trained with.
        repeats: With how many seeds learned weights and their replacements are compared.
        replacements: Names of `ATTENTIONS` in the place of the learned one.
        lambdas: Strengths of the trained adversary.
        adversary_epochs: Most epochs of the trained adversary.
        adversary_patience: Epochs without a lower training loss after which it stops.

    Raises:
        SettingsError: A number out of range.
    """

    recipe: Recipe
    seeds: int = SEEDS
    repeats: int = 1
    replacements: tuple[str, ...] = REPLACEMENTS
    lambdas: tuple[float, ...] = LAMBDAS
    adversary_epochs: int = ADVERSARY_EPOCHS
    adversary_patience: int = ADVERSARY_PATIENCE

    def __post_init__(self) -> None:
        least = {
            "seeds": self.seeds,
            "repeats": self.repeats,
            "adversary_epochs": self.adversary_epochs,
            "adversary_patience": self.adversary_patience,
        }
        for name, number in least.items():
            if number < 1:
                raise SettingsError(f"{name} is {number}; it must be 1 or more")
        if not self.lambdas or any(not 0 <= value < float("inf") for value in self.lambdas):
            raise SettingsError(f"lambdas is {self.lambdas}; give one or more, each 0 or above")
        unknown = [name for name in self.replacements if name not in REPLACEMENTS]
        if unknown or not self.replacements:
            raise SettingsError(
                f"replacements is {self.replacements}; give some of {', '.join(REPLACEMENTS)}"
            )

    @property
    def base(self) -> Training:
        """The model in question."""
        return self.learned(0)

    def learned(self, repeat: int) -> Training:
        """The recipe with its seed, or with a further one (see `seed_of`)."""
        name = f"seed {repeat}" if repeat else "base"
        return Training(name, self.recipe.encoder, self.recipe.attention, self._options(repeat))

    def replaced(self, attention: str, repeat: int = 0) -> Training:
        """The recipe with another attention."""
        name = f"{attention}, seed {repeat}" if repeat else attention
        return Training(name, self.recipe.encoder, attention, self._options(repeat))

    def adversary(self, strength: float) -> Training:
        """A model of another seed that matches the base's predictions with other weights."""
        options = replace(
            self.recipe.options,
            epochs=self.adversary_epochs,
            patience=self.adversary_patience,
            select="loss",
            seed=seed_of(self.recipe.options.seed, "adversary", 1),
        )
        return Training(
            f"adversary {strength:g}",
            self.recipe.encoder,
            self.recipe.attention,
            options,
            against=self.base,
            strength=strength,
        )

    def guided(self) -> dict[str, Training]:
        """The context-free model under each source of weights."""
        options = self._options(0)
        adversary = self.adversary(GUIDE_LAMBDA)
        uniform = Training("guide uniform", GUIDED, "uniform", options)
        own = Training("guide own", GUIDED, self.recipe.attention, options)
        if self.recipe.encoder == GUIDED:  # the same trainings under other names
            uniform, own = self.replaced("uniform"), self.base
        return {
            "uniform": uniform,
            "own": own,
            "base": Training("guide base", GUIDED, "given", options, guide=self.base),
            "adversary": Training("guide adversary", GUIDED, "given", options, guide=adversary),
        }

    def _options(self, repeat: int) -> TrainOptions:
        seed = self.recipe.options.seed
        return replace(self.recipe.options, seed=seed_of(seed, "seed", repeat) if repeat else seed)


def seed_of(base: int, role: str, k: int) -> int:
    """A further seed: a hash, so that those of neighbouring base seeds share none.

    Args:
        base: The seed of the model in question.
        role: What it is for; other roles have other seeds.
        k: Which of them, from 1.

    Returns:
        31 bits, the same in every process and version.

    Example:
        >>> seed_of(0, "seed", 1), seed_of(0, "seed", 2), seed_of(1, "seed", 1)
        (1681457923, 1646941618, 1095162382)
    """
    digest = blake2b(f"{base}/{role}/{k}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def with_needs(trainings: Mapping[str, Training]) -> dict[str, Training]:
    """Trainings with all that they need, by name, in an order in which they can be run."""
    found: dict[str, Training] = {}

    def add(training: Training) -> None:
        for needed in training.needs:
            add(needed)
        found.setdefault(training.name, training)

    for training in trainings.values():
        add(training)
    return found
