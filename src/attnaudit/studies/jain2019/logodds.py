"""The log-odds experiments: a linear model's words in place of learned attention.

Four questions of the released code of "Attention is not Explanation": does a network that is given
these weights do as well, does a trained one mind getting them at test time, does a term in the loss
that asks for them cost anything, and does the prediction turn when the words with the largest
weights are exchanged for words that speak against it?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.stats import rankdata
from torch import Tensor

from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import join_units
from attnaudit.errors import NotApplicable, SettingsError
from attnaudit.findings.estimates import average, by_max_weight, share, values_of
from attnaudit.findings.findings import Estimate
from attnaudit.findings.performance import conclude_performance
from attnaudit.findings.settings import Settings
from attnaudit.measures.bootstrap import bootstrap_metric
from attnaudit.measures.divergence import jensen_shannon, total_variation
from attnaudit.measures.seeded import instance_uniform
from attnaudit.measures.ties import settled
from attnaudit.models.batches import by_length, groups, with_backoff
from attnaudit.models.cut import Model
from attnaudit.models.encoded import Encoded
from attnaudit.models.matching import aligned
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.vocabulary import build_vocabulary
from attnaudit.remedies.logodds import LogOdds, fit_log_odds, log_odds_penalty
from attnaudit.training.options import TrainOptions
from attnaudit.training.result import Trained
from attnaudit.training.text import Splits, train_text

REPLACED = 5
"""Units exchanged in each text (released code)."""
RESAMPLES = 500
"""Of a rank correlation, whose resamples cost more than those of a mean."""


Measure = Callable[[Encoded, Sequence[Text]], Mapping[str, Tensor]]
"""From encoded texts and their records to columns."""


@dataclass(frozen=True)
class Measured:
    """What one experiment gave.

    Attributes:
        estimates: Every statistic with its interval and sample size.
        instances: One row an instance.
        notes: What was left out, counted.
    """

    estimates: tuple[Estimate, ...]
    instances: pl.DataFrame
    notes: tuple[str, ...] = ()

    def __getitem__(self, statistic: str) -> Estimate:
        """The estimate of that name over all instances.

        Raises:
            KeyError: There is none.
        """
        for estimate in self.estimates:
            if estimate.statistic == statistic and estimate.group == "all":
                return estimate
        raise KeyError(statistic)


@dataclass(frozen=True)
class LogOddsExperiments:
    """The four experiments on one data set.

    Attributes:
        odds: The coefficients of the words.
        learned: The network with its own attention, and its performance on test.
        fixed: The network trained with log-odds attention.
        regularised: The network trained with the further loss term; its divergence from the
            log-odds weights is among the estimates.
        post_hoc: See `post_hoc`.
        substitution: See `substitution`.
        models: The three networks: `learned`, `fixed`, `regularised`.
    """

    odds: LogOdds
    learned: Measured
    fixed: Measured
    regularised: Measured
    post_hoc: Measured
    substitution: Measured
    models: Mapping[str, Trained[TextClassifier]]


def log_odds_experiments(
    splits: Splits,
    *,
    weight: float = 5.0,
    strength: float = 1.0,
    replaced: int = REPLACED,
    settings: Settings | None = None,
    learned: Trained[TextClassifier] | None = None,
    **training: Any,
) -> LogOddsExperiments:
    """Run all four experiments: three trainings, and two tests of the first of the networks.

    Args:
        splits: `train`, `dev` and `test`, of two classes.
        weight: λ of the regularised network.
        strength: How little coefficients are shrunk, see `fit_log_odds`.
        replaced: How many units are exchanged.
        settings: Seed and intervals.
        learned: The network with its own attention, where it has been trained already.
        training: Passed to `train_text`: encoder, hidden, options and the like.

    Raises:
        NotApplicable: More than two classes, or pairs of texts.
        AttnauditError: Unusable data or options.
    """
    settings = settings or Settings()
    # the same words, so that scores have the same ids in all three networks
    options = training.get("options") or TrainOptions()
    vocabulary = (
        learned.model.vocabulary
        if learned
        else build_vocabulary(splits["train"], options.min_df, options.lowercase)
    )
    odds = fit_log_odds(splits["train"], vocabulary, strength=strength)
    training = {**training, "vocabulary": vocabulary}
    models = {
        "learned": learned or train_text(splits, **training),
        "fixed": train_text(
            splits, **{**training, "attention": "word", "word_scores": odds.table, "name": None}
        ),
        "regularised": train_text(splits, **training, penalty=log_odds_penalty(odds, weight)),
    }
    test = splits["test"]
    compared = {name: post_hoc(done.model, test, odds, settings) for name, done in models.items()}
    return LogOddsExperiments(
        odds=odds,
        **{name: _own(found, settings) for name, found in compared.items()},
        post_hoc=compared["learned"],
        substitution=substitution(
            models["learned"].model, test, odds, replaced=replaced, settings=settings
        ),
        models=models,
    )


def post_hoc(
    model: Model, data: Dataset, odds: LogOdds, settings: Settings | None = None
) -> Measured:
    """Log-odds weights in place of a trained model's own, at test time only.

    Estimates: `accuracy` and `roc_auc` of the new outputs against the labels; `own_accuracy` and
    `own_roc_auc` against the model's own decisions; `jsd` between new and old weights and `change`
    of the output (total variation), each also by bins of the largest old weight; `spearman`, the
    rank correlation of the two over instances, whose null is 0.

    Raises:
        NotApplicable: The model does not have two classes.
    """
    settings = settings or Settings()
    frame = _per_instance(model, data, settings, partial(_exchanged_weights, odds))
    new = frame.with_columns(
        pl.col("new_predicted").alias("predicted"),
        pl.col("new").alias("probability.1"),
        (1 - pl.col("new")).alias("probability.0"),
    )
    own = new.with_columns(label=frame["predicted"])
    estimates = [
        e.model_copy(update={"statistic": f"{prefix}{e.statistic}"})
        for prefix, judged in (("", new), ("own_", own))
        for e in conclude_performance(judged, model.classes, settings).estimates
        if e.statistic != "skill"
    ]
    for group, part in (("all", frame), *by_max_weight(frame)):
        named = {"subject": "weights", "group": group}
        estimates += [
            average(values_of(part, name), settings, statistic=name, **named, null=0.0)
            for name in ("jsd", "change")
            if len(part)
        ]
    found = bootstrap_metric(
        frame["jsd"].to_numpy(),
        frame["change"].to_numpy(),
        _spearman,
        confidence=settings.confidence,
        resamples=min(settings.resamples, RESAMPLES),
        seed=settings.seed,
    )
    estimates.append(
        Estimate(statistic="spearman", subject="jsd~change", null=0.0, **asdict(found))
    )
    empty = int(frame["without_words"].sum())
    notes = (
        (f"{empty} of {len(frame)} texts have no word with a score and get equal weights.",)
        if empty
        else ()
    )
    return Measured(tuple(estimates), frame, notes)


def substitution(
    model: Model,
    data: Dataset,
    odds: LogOdds,
    *,
    replaced: int = REPLACED,
    settings: Settings | None = None,
) -> Measured:
    """Exchange the units with the largest weights for words that speak against the prediction.

    Estimates: `flip_top` and `flip_random`, the share of texts whose prediction turns when those
    units, or as many random ones, are exchanged for the same words; their paired difference
    `flip_gain` (null 0); and `change_gain`, likewise of the output. Texts with no more units than
    are exchanged are undefined: there is no choice in them.

    Raises:
        NotApplicable: The model does not have two classes, or too few words have coefficients.
        SettingsError: `replaced` is below 1.
    """
    settings = settings or Settings()
    if replaced < 1:
        raise SettingsError(f"replaced is {replaced}; it must be 1 or more")
    words = [odds.extremes(replaced, positive=predicted == 0) for predicted in (0, 1)]
    exchange = partial(_exchanged_words, words, replaced, settings.seed)
    frame = _per_instance(model, data, settings, exchange)
    frame = frame.with_columns(
        (pl.col("flip_top") - pl.col("flip_random")).alias("flip_gain"),
        (pl.col("change_top") - pl.col("change_random")).alias("change_gain"),
    )
    estimates = [
        share(values_of(frame, f"flip_{name}"), settings, statistic=f"flip_{name}", subject=subject)
        for name, subject in (("top", "weights"), ("random", "random"))
    ]
    for name in ("flip_gain", "change_gain"):
        named = {"statistic": name, "subject": "weights~random"}
        estimates.append(average(values_of(frame, name), settings, **named, null=0.0))
    short = frame["flip_gain"].is_null().sum()
    notes = (f"{short} of {len(frame)} texts have {replaced} units or fewer.",) if short else ()
    return Measured(tuple(estimates), frame, notes)


def _own(found: Measured, settings: Settings) -> Measured:
    """The performance of a model as it is, with its distance from the log-odds weights."""
    frame = found.instances
    estimates = conclude_performance(frame, ("0", "1"), settings).estimates
    return Measured((*estimates, found["jsd"]), frame, found.notes)


def _per_instance(
    model: Model, data: Dataset, settings: Settings, measure: Measure
) -> pl.DataFrame:
    """Columns of `measure(encoded, records)` beside the model's own predictions, in data order."""
    if len(model.classes) != 2:
        raise NotApplicable(
            f"{model.name} has {len(model.classes)} classes; log-odds are those of one class "
            "against one other"
        )
    data = aligned(data, model)
    order = by_length(data.records)
    records = [data.records[index] for index in order]

    def work(part: Sequence[Text]) -> list[pl.DataFrame]:
        encoded = Encoded(model, model.collate(part))
        columns: dict[str, Tensor] = {
            "predicted": encoded.predicted,
            "probability.0": encoded.probabilities[:, 0],
            "probability.1": encoded.probabilities[:, 1],
            "max_weight": encoded.weights.amax(1),
            **measure(encoded, part),
        }
        frame = pl.DataFrame(
            {name: values.cpu().numpy() for name, values in columns.items()}, nan_to_null=True
        )
        labels = pl.Series("label", [record.label for record in part], dtype=pl.Int64)
        return [frame.with_columns(labels, pl.Series("id", [record.id for record in part]))]

    frames: list[pl.DataFrame] = []
    for part in groups([len(record.units) for record in records], settings.token_budget):
        frames += with_backoff(work, records[part])
    return pl.concat(frames)[np.argsort(order)]


def _exchanged_weights(
    odds: LogOdds, encoded: Encoded, records: Sequence[Text]
) -> dict[str, Tensor]:
    new, none = odds.weights(records, encoded.units)
    new = new.to(encoded.weights)
    with torch.no_grad():
        outputs = encoded.decode(new).exp()
    return {
        "new": outputs[:, 1],
        "new_predicted": outputs.argmax(-1),
        "jsd": jensen_shannon(new, encoded.weights, encoded.units),
        "change": total_variation(outputs, encoded.probabilities),
        "without_words": none,
    }


def _exchanged_words(
    words: Sequence[Sequence[str]], count: int, seed: int, encoded: Encoded, records: Sequence[Text]
) -> dict[str, Tensor]:
    """Flips and output changes with the top units, or random ones, exchanged."""
    draws = instance_uniform(encoded.batch.ids, encoded.units, 1, seed, "exchanged")[:, 0]
    fine = (encoded.units.sum(1) > count).cpu()
    columns: dict[str, Tensor] = {}
    for name, scores in (("top", encoded.weights), ("random", draws.to(encoded.weights))):
        ranked = settled(scores, encoded.units, "own").masked_fill(~encoded.units, -1.0)
        ranks = ranked.argsort(descending=True, stable=True)
        changed = []
        for row, record in enumerate(records):
            positions = encoded.units[row].nonzero().squeeze(1).tolist()
            place = {position: index for index, position in enumerate(positions)}
            units = list(record.units)
            others = words[int(encoded.predicted[row])]
            for position, word in zip(
                ranks[row, : min(count, len(units))].tolist(), others, strict=False
            ):
                units[place[position]] = word
            text, offsets = join_units(units)
            changed.append(
                replace(record, text=text, units=tuple(units), offsets=tuple(offsets), truth=None)
            )
        after = Encoded(encoded.model, encoded.model.collate(changed))
        flips = (after.predicted != encoded.predicted).float().cpu()
        change = total_variation(after.probabilities, encoded.probabilities).cpu()
        columns[f"flip_{name}"] = flips.masked_fill(~fine, torch.nan)
        columns[f"change_{name}"] = change.masked_fill(~fine, torch.nan)
    return columns


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    if (second == second[0]).all() or (first == first[0]).all():
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
