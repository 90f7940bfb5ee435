"""One training as a cell: train, store the model and what it says of the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from attnaudit.data.records import Dataset
from attnaudit.errors import AttnauditError, DataError
from attnaudit.evidence.trainings.design import Recipe, Training
from attnaudit.evidence.trainings.objective import adversarial
from attnaudit.evidence.trainings.outputs import Outputs, outputs_of, read_outputs
from attnaudit.models.text.model import TextClassifier, load_classifier
from attnaudit.runs.cell import Cell, Outcome, Place
from attnaudit.runs.inputs import Input
from attnaudit.training.text import train_text

TEXTS, MODEL, OUTPUTS = ("train", "dev", "test"), "model", "outputs.safetensors"


@dataclass(frozen=True)
class TrainingWork:
    """Trains a model, or takes it up where it is trained already.

    Attributes:
        training: What is trained.
        recipe: Sizes and word vectors.
        splits: Gives `train`, `dev` and `test`.
        given: Gives the model in question, where it is trained already.
    """

    training: Training
    recipe: Recipe
    splits: Input[Mapping[str, Dataset]]
    given: Input[TextClassifier] | None = None

    def __call__(self, cell: Cell, place: Place) -> Outcome:
        """Store the model and its outputs in the folder of the cell.

        Raises:
            AttnauditError: Data or folder cannot be used, or training diverged.
        """
        if not cell.vital:
            return self._stored(place)
        try:
            return self._stored(place)
        except Exception as error:  # whatever it is: nothing can be said without this one
            known = isinstance(error, AttnauditError)
            why = str(error) if known else f"{type(error).__name__}: {error}"
            raise DataError(f"the model itself could not be trained: {why}") from error

    def _stored(self, place: Place) -> Outcome:
        splits, training = self.splits.get(), self.training
        weights: dict[str, tuple[Tensor, ...]] = {}
        if training.guide is not None:
            folder = place.needs[training.guide.name]
            guide = load_classifier(folder / MODEL)
            weights = {name: outputs_of(guide, splits[name]).weights for name in ("train", "dev")}
            weights["test"] = read_outputs(folder / OUTPUTS).weights
        if self.given is not None:
            model, facts = self.given.get(), dict[str, object]()
        else:
            model, facts = self._trained(splits, weights, place)
        model.save(place.folder / MODEL, overwrite=True)
        outputs = outputs_of(model, splits["test"], weights.get("test"))
        outputs.save(place.folder / OUTPUTS)
        about = {"encoder": training.encoder, "attention": training.attention}
        strength = None if training.against is None else training.strength
        seed = training.options.seed
        return Outcome(facts={**about, "seed": seed, "strength": strength, **facts})

    def _trained(
        self, splits: Mapping[str, Dataset], weights: Mapping[str, tuple[Tensor, ...]], place: Place
    ) -> tuple[TextClassifier, dict[str, object]]:
        training, recipe, device = self.training, self.recipe, place.device
        objective = None
        if training.against is not None:
            against = load_classifier(place.needs[training.against.name] / MODEL).to(device)
            base: Outputs = outputs_of(against, splits["train"])
            objective = adversarial(base.log_probabilities.exp(), base.weights, training.strength)
        done = train_text(
            {name: splits[name] for name in ("train", "dev")},
            replace(training.options, device=device, report=place.progress),
            encoder=training.encoder,
            attention=training.attention,
            hidden=recipe.hidden,
            embedding_dim=recipe.embedding_dim,
            vectors=recipe.vectors,
            objective=objective,
            given=weights,
            name=training.name,
        )
        facts: dict[str, object] = {
            "epochs": len(done.history),
            "best_epoch": done.best_epoch,
            "dev": dict(done.dev),
            "losses": [row["loss"] for row in done.history],
            "words": len(done.model.vocabulary),
        }
        return done.model, facts
