"""The cells of the study: data sets x encoders x attentions x seeds."""

from __future__ import annotations

from pathlib import Path

from attnaudit.data.named.paper import PaperSettings
from attnaudit.nets.text.attentions import ATTENTIONS
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.studies.declaration import Limit, Names, Planned
from attnaudit.studies.jain2019.settings import GENERATED, REAL, SETTINGS, training_of
from attnaudit.studies.options import check_names
from attnaudit.studies.schema import Spec
from attnaudit.studies.sources import folder_of, known_sets
from attnaudit.studies.texts import COST, TextOptions, costs_of, text_cells


class JainOptions(TextOptions):
    """Options of this study.

    Attributes:
        permutations: Of each instance's weights.
    """

    data: Names = REAL
    encoders: Names = ("bilstm", "cnn", "average")
    attentions: Names = ("additive", "dot")
    permutations: Limit = 100


def quick(data_dir: Path | None) -> dict[str, object]:
    """Small sizes on generated data; SST and bAbI join where `data_dir` has them."""
    there = [n for n in ("sst", "babi_1") if (folder := folder_of(n, data_dir)) and folder.is_dir()]
    return {
        "data": (*GENERATED, *there),
        "train_limit": 800,
        "test_limit": 200,
        "hidden": 32,
        "embedding_dim": 50,
    }


def plan(options: JainOptions, data_dir: Path | None) -> Planned:
    """One cell for each data set, encoder, attention and seed; what cannot be had is missing.

    Raises:
        DataError: The word vectors cannot be read.
        SettingsError: A name that nothing has.
    """
    check_names(
        (options.encoders, ENCODERS, "encoder"),
        (options.attentions, ATTENTIONS, "attention"),
        (options.data, SETTINGS, "data set of this study"),
    )

    def own(data: str) -> tuple[str, PaperSettings, Spec]:
        limit = options.test_limit or SETTINGS[data].test_limit
        more = {"test_limit": limit, "permutations": options.permutations}
        return SETTINGS[data].title, training_of(data), more

    sources, missing = known_sets([d for d in SETTINGS if d in options.data], data_dir)
    return Planned(tuple(text_cells(options, sources, own, cost_of)), tuple(missing))


def cost_of(spec: Spec) -> float:
    """CPU seconds, roughly: training goes with units read, the audit with texts and units."""
    setting = SETTINGS[spec["data"]]
    epoch, audit = costs_of(spec, setting.texts, setting.length)
    searched = 2 if spec["search"] else 1
    encoder = COST.get(str(spec["encoder"]), 1.0)
    return float(2.0 + (epoch * spec["epochs"] + audit * searched) * encoder)
