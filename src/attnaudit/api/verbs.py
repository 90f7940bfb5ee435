"""The verbs that `import attnaudit` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from pydantic import JsonValue

from attnaudit.api.results import Audit, StudyRun
from attnaudit.attribution import LONGEST
from attnaudit.audits.door import Question, ask
from attnaudit.audits.explain import DEFAULT_METHODS, Explanation, explain_record
from attnaudit.audits.result import open_audit
from attnaudit.data.kinds import Record
from attnaudit.data.sources.opening import Place
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import SettingsError
from attnaudit.findings.settings import Settings
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.models.transformer.options import Options
from attnaudit.models.transformer.site import Site
from attnaudit.progress import Report, bars
from attnaudit.runs.execute import Watch, watched
from attnaudit.runs.folders import kind_of
from attnaudit.studies import STUDIES
from attnaudit.studies.run import open_study, options_of, prepare, run_study

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from attnaudit.api.similarity import Similarity
    from attnaudit.models.siamese.explainer import PairExplainer


def audit(
    model: Model | PairExplainer | PreTrainedModel | str | Path,
    data: Place | None = None,
    *,
    settings: Settings | None = None,
    checks: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    engine: str | None = None,
    include_training_texts: bool = False,
    default_units: Sequence[str] = (),
    defaults: str | None = None,
    graded: Sequence[str] | None = None,
    layer: int = 0,
    reference: str = "padding",
    tolerance: float = 1e-3,
    site: str | Site | None = None,
    target: str | None = None,
    dtype: str = "fp32",
    tokenizer: Any = None,
    device: str | None = None,
    progress: Report | bool | None = None,
    **reading: Any,
) -> Audit:
    """Check whether attention weights, or a similarity, may be shown as an explanation.

    Args:
        model: A model with the cut (`train`, `load`, `wrap`), or the folder of one; for pairs of
            texts a sentence-transformers model by folder or hub name, `minilm`, or a
            `PairExplainer`; or a model with a head of the package `transformers`, as an object
            (then with `tokenizer`), by folder or by hub name.
        data: What `resolve` takes: a data set, a file, a frame, a name. None takes the test split
            that was held out when the model was trained and saved. Checks that train something
            need the data that the model was trained on, with its splits (or these by name).
        settings: Bars, seed, sizes; the defaults are those of `attnaudit audit`.
        checks: Names of checks, or of groups of them (`attention`, `retraining`, `shortcut`,
            `seeds`, `pairs`); those that are usual for the kind of model by default.
        out: A run folder. An interrupted audit goes on there; None keeps all in memory.
        overwrite: Replace another audit in that folder.
        workers: Chunks of instances, trainings and the like at a time; numbers do not depend on it.
        engine: Where they run: `inline`, `processes`, `ray` (this machine) or `ray:ADDRESS`.
        include_training_texts: Keep texts that the model was trained on (train or dev). By
            default they are left out, where they are known, and the report says so.
        default_units: Tokens that stand in every text and mean nothing, for checks of shortcuts.
        defaults: The default tokens that a selector was trained with: `ends` or `only`.
        graded: Classes whose bags are graded against the truth, over seeds; all by default.
        layer: Where tables of token pairs start; 0 for the input.
        reference: Their reference: `padding`, `mask`, `zero`, `mean`, or a token.
        tolerance: How far they may be from adding up.
        site: Of a transformer: where attention is read, such as `layer=10,head=5`; by default what
            people show (last layer, mean of heads).
        target: Of a transformer whose labels do not exclude each other: the label to explain.
        dtype: Precision in which a transformer is loaded: `fp32`, `bf16` or `fp16`.
        tokenizer: The tokenizer of a transformer that is given as an object; else how texts are
            cut into units.
        device: Where the model is put, and where others are trained.
        progress: A function `(stage, done, total)`, or whether to draw bars (default: in a
            terminal).
        reading: How the data are read, as `resolve` takes it: `columns`, `split`, `limit`, …

    Returns:
        The audit: `verdict`, `findings`, `frame`, `to_html(...)`.

    Raises:
        AttnauditError: Unusable data, model, settings or folder, each with what to do.
    """
    chosen = settings or Settings()
    if checks is not None:
        names = (checks,) if isinstance(checks, str) else tuple(checks)
        chosen = Settings.model_validate({**chosen.model_dump(), "checks": names})
    if isinstance(tokenizer, str):
        reading["tokenizer"] = tokenizer
    question = Question(
        model,
        data,
        chosen,
        reading,
        include_training_texts=include_training_texts,
        default_units=default_units,
        defaults=defaults,
        graded=graded,
        layer=layer,
        reference=reference,
        tolerance=tolerance,
        transformer=Options(site, target, dtype),
        model_tokenizer=tokenizer,
        device=device,
        out=None if out is None else Path(out),
        workers=workers,
        engine=engine,
    )
    with bars(progress if isinstance(progress, bool) else None) as drawn, ask(question) as asked:
        report = progress if callable(progress) else drawn
        watch = None if report is None else watched(report)
        return Audit.of(asked.run(overwrite=overwrite, device=device or "cpu", watch=watch))


def open_run(folder: str | Path) -> Audit | StudyRun:
    """A finished run from its folder, an audit or a study.

    Raises:
        RunError: The folder holds no finished run, or a damaged one.
    """
    place = Path(folder)
    if kind_of(place) == "study":
        return StudyRun.of(open_study(place, STUDIES))
    return Audit.of(open_audit(place))


def study(
    name: str,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    quick: bool = False,
    workers: int = 1,
    engine: str | None = None,
    again: bool = False,
    reference: Mapping[str, JsonValue] | None = None,
    progress: Report | bool | None = None,
    **options: object,
) -> StudyRun:
    """Repeat a paper's experiments and say which of its claims hold.

    Args:
        name: Which one: `jain2019`, `wiegreffe2019`, `bai2021`, `haab2022` or `moeller2023`.
        out: The run folder, `runs/NAME` by default; finished cells stay there.
        data_dir: A folder with one sub-folder per data set.
        quick: A small version, of minutes, which needs no data.
        workers: Cells at a time; numbers do not depend on it.
        engine: Where they run: `inline`, `processes`, `ray` (this machine) or `ray:ADDRESS`.
        again: Run finished cells again.
        reference: The paper's own numbers, to show beside.
        progress: A function `(stage, done, total)`, or whether to draw bars (default: in a
            terminal).
        options: Those of the study: `data`, `seeds`, `epochs`, …

    Raises:
        AttnauditError: No such study or option, or a folder that cannot be used.
    """
    if name not in STUDIES:
        raise SettingsError(f"no study is called {name!r}; there are: {', '.join(STUDIES)}.")
    folder = None if data_dir is None else Path(data_dir)
    prepared = prepare(
        STUDIES[name],
        options_of(STUDIES[name], options, data_dir=folder, quick=quick),
        Path(out or Path("runs") / name),
        data_dir=folder,
        quick=quick,
        workers=workers,
        engine=engine,
        again=again,
    )
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        report = progress if callable(progress) else drawn
        watch: Watch | None = None if report is None else watched(report)
        return StudyRun.of(run_study(prepared, reference=reference, watch=watch))


@overload
def explain(
    model: Model | str | Path,
    text: str | Record,
    *,
    methods: Sequence[str] | None = None,
    tokenizer: str = "words",
    seed: int = 0,
    longest: int = LONGEST,
) -> Explanation: ...
@overload
def explain(
    model: str | Path | object, text: str, other: str, *others: str, **options: Any
) -> Similarity: ...
def explain(model: Any, text: Any, *others: Any, **options: Any) -> Any:
    """Explain one prediction by several attributions, or the similarity of two texts.

    Args:
        model: A model with the cut, or the folder of one; for two texts a `SentenceTransformer`,
            its folder or hub name, or `minilm`.
        text: The text, or a record: of a model of bags, a bag.
        others: The text that it is compared with.
        options: Of one text: `methods` (names of `METHODS`, four by default), `tokenizer` (how it
            is cut into units), `seed` (of random scores), `longest` (units above which
            leave-one-out is left out, where its cost grows with their square). Of two texts those
            of `similarities`: `layer`, `reference`, `tolerance`, `cache`, …

    Raises:
        SettingsError: A bound that is not positive, an empty text, or a method that does not exist.
        AttnauditError: A model, text or option that cannot be used.
    """
    if others:
        # sentence-transformers takes seconds to import
        from attnaudit.api.similarity import similarities

        if len(others) > 1:
            raise SettingsError("give two texts; `similarities` takes any number of pairs")
        return next(iter(list(similarities(model, [(text, others[0])], **options))))
    return _explain_one(model, text, **options)


def _explain_one(
    model: Model | str | Path,
    text: str | Record,
    *,
    methods: Sequence[str] | None = None,
    tokenizer: str = "words",
    seed: int = 0,
    longest: int = LONGEST,
) -> Explanation:
    if longest < 1:
        raise SettingsError(f"longest={longest}: the bound must be 1 or more.")
    model = model if isinstance(model, Model) else load(model)
    record = text_record("text", text, tokenizer=tokenizer) if isinstance(text, str) else text
    if not record.units:
        raise SettingsError("the text has no words, so there is nothing to explain.")
    return explain_record(model, record, methods or DEFAULT_METHODS, seed, longest)
