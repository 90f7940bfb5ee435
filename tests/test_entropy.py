"""The check of sharp weights that are made equal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from attnaudit.audits.run import run_audit
from attnaudit.checks.registry import CHECKS
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.models.encoded import Encoded
from tests.toys import dataset, labelled, reader

SETTINGS = Settings(checks=("entropy",), resamples=200)


def audited(scale: float, settings: Settings = SETTINGS):
    model = reader(scale=scale)
    data = dataset(80, shortest=2)
    data = replace(data, records=tuple(labelled(model, list(data.records))))
    return model, data, run_audit(model, data, settings)


def test_its_numbers_are_those_of_a_plain_loop():
    model, data, result = audited(3.0)
    spread, change = [], []
    for record in data:
        encoded = Encoded(model, model.collate([record]))
        weights = encoded.weights[0].double().numpy()
        equal = torch.full_like(encoded.weights, 1 / len(record.units))
        outputs = model.decode(encoded.states, equal).exp()[0] - encoded.probabilities[0]
        spread.append(scipy.stats.entropy(weights) / np.log(len(weights)))
        change.append(float(outputs.detach().abs().sum()) / 2)
    finding = result.report.findings[0]
    drop, entropy, trend = finding.estimates
    assert drop.value == pytest.approx(np.mean(change), abs=1e-5)
    assert entropy.value == pytest.approx(np.mean(spread), abs=1e-5)
    wanted = scipy.stats.spearmanr(1 - np.array(spread), change).statistic
    assert trend.value == pytest.approx(wanted, abs=1e-2)
    assert trend.low is not None
    assert trend.low <= trend.value <= trend.high
    assert drop.low <= drop.value <= drop.high


def test_weights_that_do_nothing_fail_and_only_caution():
    _, _, moved = audited(3.0)
    _, _, idle = audited(0.05)
    assert moved.report.findings[0].verdict is Verdict.PASS
    assert idle.report.findings[0].verdict is Verdict.FAIL
    assert not CHECKS["entropy"].decisive
    settings = Settings(checks=("entropy",), resamples=200, bars={"entropy_drop": 0.9})
    assert audited(3.0, settings)[2].report.findings[0].verdict is Verdict.FAIL


def test_it_has_a_picture():
    _, _, result = audited(3.0)
    (figure,) = result.pictures["entropy"]
    assert sum(figure.chart.rows[0].counts) == 80
