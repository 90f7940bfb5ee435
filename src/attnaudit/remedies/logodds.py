"""Log-odds of words: a linear model's view of which words matter, as weights for any text.

A logistic regression on bags of words gives each word a coefficient; its size is the word's score.
("Attention is not Explanation", released code: the log-odds experiments.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import sklearn
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from torch import Tensor

from attnaudit.data.records import Dataset, Text
from attnaudit.errors import NotApplicable, SettingsError
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.nets.text.attentions import REMOVED, masked_softmax
from attnaudit.nets.text.classifier import Pass
from attnaudit.nets.text.vocabulary import FIRST_WORD, Vocabulary, build_vocabulary
from attnaudit.training.evaluation import check_labels
from attnaudit.training.text import Penalty

# scikit-learn 1.8 renamed the option.
_NEWER = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 8)
_L1: dict[str, object] = {"l1_ratio": 1.0} if _NEWER else {"penalty": "l1"}


@dataclass(frozen=True)
class LogOdds:
    """The coefficients of words.

    Attributes:
        vocabulary: The words.
        coefficients: `(V,)` float64, one an id; above 0 speaks for the second class. NaN for
            special ids and stop words, which are not in the regression.
        classes: The names of the two classes.
    """

    vocabulary: Vocabulary
    coefficients: Float[Tensor, " V"]
    classes: tuple[str, ...]

    @property
    def kept(self) -> Bool[Tensor, " V"]:
        """Which ids the regression weighs."""
        return ~self.coefficients.isnan()

    @property
    def table(self) -> Float[Tensor, " V"]:
        """The score of each id for the attention `word`: |coefficient|, `REMOVED` for the rest."""
        return torch.where(self.kept, self.coefficients.abs(), REMOVED).float()

    def extremes(self, count: int, positive: bool) -> tuple[str, ...]:
        """The words with the largest, or the most negative, coefficients; the most extreme first.

        Raises:
            NotApplicable: Fewer words than that have a coefficient on that side of 0.
        """
        signed = torch.nan_to_num(self.coefficients if positive else -self.coefficients)
        found = int((signed > 0).sum())
        if found < count:
            side = self.classes[int(positive)]
            raise NotApplicable(
                f"only {found} words speak for {side!r} in the log-odds, {count} are needed; "
                "give more training records or a larger strength"
            )
        ids = torch.argsort(signed, descending=True, stable=True)[:count]
        return tuple(self.vocabulary.words[index - FIRST_WORD] for index in ids.tolist())

    def weights(
        self, records: Sequence[Text], units: Bool[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B L"], Bool[Tensor, " B"]]:
        """The softmax of the scores of the words at the units of a batch.

        Args:
            records: The instances of the batch.
            units: The positions of their units.

        Returns:
            The weights on the CPU, and which instances have no word with a score: all their units
            have the same weight instead.
        """
        ids = torch.zeros(units.shape, dtype=torch.long)
        encoded = [self.vocabulary.encode(record.units) for record in records]
        ids[units.cpu()] = torch.tensor([index for row in encoded for index in row])
        return self.weights_of(ids, units.cpu())

    def weights_of(
        self, ids: Int[Tensor, "B L"], units: Bool[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B L"], Bool[Tensor, " B"]]:
        """`weights` from the ids of the words."""
        scores = self.table.to(units.device)[ids]
        none = ~((scores > REMOVED) & units).any(1)
        return masked_softmax(scores, units), none


def fit_log_odds(
    data: Dataset,
    vocabulary: Vocabulary | None = None,
    *,
    strength: float = 1.0,
    stop_words: Collection[str] = ENGLISH_STOP_WORDS,
) -> LogOdds:
    """Fit the logistic regression: L1 penalty, classes balanced, rows of binary words of length 1.

    Args:
        data: The training records, of two classes.
        vocabulary: The words; those of the records by default.
        strength: How little the coefficients are shrunk (`C` of scikit-learn).
        stop_words: Words to leave out, in lower case. The default is scikit-learn's English list,
            which holds "not" and "never".

    Raises:
        NotApplicable: There are more classes than two, or the records are pairs.
        SettingsError: `strength` is not above 0.
        DataError: A record has no label.
    """
    if len(data.classes) != 2:
        raise NotApplicable(
            f"{data.name} has {len(data.classes)} classes; log-odds are those of one class "
            "against one other"
        )
    if data.has_questions:
        raise NotApplicable(f"{data.name} has pairs of texts; log-odds are of words of one text")
    if not strength > 0:
        raise SettingsError(f"strength is {strength}; it must be above 0")
    labels = check_labels(data.records, data.classes, "training")
    vocabulary = vocabulary or build_vocabulary(data)
    lowered = (word.lower() for word in vocabulary.words)
    stop = torch.tensor([word in stop_words for word in lowered], dtype=torch.bool)
    kept = torch.cat([torch.zeros(FIRST_WORD, dtype=torch.bool), ~stop])
    bags = [sorted(set(vocabulary.encode(record.units))) for record in data]
    ends = np.cumsum([0, *map(len, bags)])
    flat = np.array([index for bag in bags for index in bag])
    rows = csr_matrix((np.ones(len(flat)), flat, ends), shape=(len(bags), len(vocabulary)))
    regression = LogisticRegression(
        C=strength,
        solver="liblinear",
        class_weight="balanced",
        max_iter=1000,
        random_state=0,
        **_L1,
    )
    regression.fit(normalize(rows[:, kept.nonzero().squeeze(1).numpy()]), labels.numpy())
    coefficients = torch.full((len(vocabulary),), torch.nan, dtype=torch.float64)
    coefficients[kept] = torch.from_numpy(regression.coef_[0])
    return LogOdds(vocabulary, coefficients, data.classes)


def log_odds_penalty(odds: LogOdds, weight: float = 5.0) -> Penalty:
    """`weight · mean JSD(log-odds weights, weights)` over the batch, as in the released code.

    For two classes the loss of a batch is a sum over instances, so there the term counts for
    less the larger the batch is.

    Args:
        odds: Over the vocabulary of the network that is trained.
        weight: λ.

    Raises:
        SettingsError: `weight` is negative.
    """
    if weight < 0:
        raise SettingsError(f"weight is {weight}; it must be 0 or more")

    def penalty(passed: Pass, rows: Int[Tensor, " B"]) -> Tensor:
        wanted, _ = odds.weights_of(passed.inputs.tokens, passed.units)
        distance = jensen_shannon(wanted.to(passed.weights), passed.weights, passed.units)
        return weight * distance.mean()

    return penalty
