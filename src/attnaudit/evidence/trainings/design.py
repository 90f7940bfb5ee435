"""What is trained: the recipe of the model in question, and that recipe with one thing changed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from attnaudit.errors import SettingsError
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.attentions import LEARNED
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.training.options import TrainOptions

if TYPE_CHECKING:
    # only its values count, and each training has those that it uses in its own spec
    from attnaudit.findings.settings import TrainingSettings

GUIDE_LAMBDA = 2e-3
"""Strength of the adversary whose weights guide: the .001 of Wiegreffe & Pinter 2019, section 3.4.

Their released code counts half the distance of two classes, and ½ TVD − .001 KL is half of
TVD − .002 KL: every λ of theirs is twice as large here (see `objective.py`).
"""
GUIDED = "average"
"""The context-free encoder that is guided."""


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
                f"compare with; choose one of {', '.join(LEARNED)}"
            )

    @property
    def name(self) -> str:
        """What reports call the model that it makes."""
        return f"{self.encoder} + {self.attention}"

    def about(self) -> dict[str, JsonValue]:
        """All that it says, as a plan lists it; the device decides no number."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        options: TrainOptions = own.pop("options")
        vectors = None if self.vectors is None else str(self.vectors)
        return {**own, **options.plain(), "vectors": vectors}


def recipe_of(model: TextClassifier, options: TrainOptions | None = None) -> Recipe:
    """How a model of ours was made, as far as the model itself tells.

    Args:
        model: The model.
        options: How it was trained; the defaults, where that is not known.

    Raises:
        SettingsError: Its attention is not learned.
    """
    config = model.net.config
    return Recipe(
        config.encoder,
        config.attention,
        config.hidden,
        config.embedding_dim,
        options=options or TrainOptions(),
    )


@dataclass(frozen=True)
class Training:
    """One training: the unit that is stored, resumed, and shared between checks.

    Attributes:
        name: What it is, in words; unique among the variants of a recipe.
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

    def spec(self) -> dict[str, JsonValue]:
        """What decides its numbers, besides data, sizes and the trainings that it needs.

        The device is left out: it changes speed, and numbers by rounding alone.
        """
        return {
            "encoder": self.encoder,
            "attention": self.attention,
            "strength": self.strength,
            "guide": None if self.guide is None else self.guide.name,
            "against": None if self.against is None else self.against.name,
            **self.options.plain(),
        }


@dataclass(frozen=True)
class Variants:
    """The model in question, and all that can be trained beside it.

    Attributes:
        recipe: How the model in question is made.
        settings: How many seeds, which replacements and strengths.
    """

    recipe: Recipe
    settings: TrainingSettings

    @property
    def base(self) -> Training:
        """The model in question."""
        return self.learned(0)

    @property
    def seeds(self) -> tuple[Training, ...]:
        """The model in question with its further seeds."""
        return tuple(self.learned(k) for k in range(1, self.settings.seeds + 1))

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
            epochs=self.settings.adversary_epochs,
            patience=self.settings.adversary_patience,
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
