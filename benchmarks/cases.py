"""Inputs that failed once, and what becomes of each: `python -m benchmarks.cases [--against SRC]`.

The inputs are those of `cases/` in the folder that ATTNAUDIT_SHARED names (`../shared` by default).
Every case runs in a process of its own, with bounded time and memory. `--against` names the `src`
of another checkout, whose outcome is shown beside that of this one.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
CASES = Path(os.environ.get("ATTNAUDIT_SHARED", HERE.parent / "shared")) / "cases"
SECONDS, GIBIBYTES = 400, 6
"""What one case may take; the address space, of which torch alone maps about one and a half."""
ONE_LINE = r"(DataError|ModelError|NotApplicable|SettingsError|RunError)"

READ = """
import sys, resource, warnings
warnings.simplefilter("ignore")
from attnaudit.errors import AttnauditError
kind, path = sys.argv[1:]
try:
    if kind == "text":
        from attnaudit.data import load_data
        found = load_data(path)
    elif kind == "bags":
        from attnaudit.data.sources.resolve import resolve
        found = resolve(path, "bags").data()
    else:
        from attnaudit.models.load import load
        found = load(path)
    print("READ", type(found).__name__)
except AttnauditError as error:
    print("REFUSED", type(error).__name__, " ".join(str(error).split())[:300])
except BaseException as error:
    print("TRACEBACK", type(error).__name__, " ".join(str(error).split())[:200])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@dataclass(frozen=True)
class Report:
    """What a script of `cases/reports` must print, and must not."""

    must: tuple[str, ...]
    must_not: tuple[str, ...] = ()


REPORTS = {
    "attend_with_one_axis_more": Report(
        (r"(?s)ModelError.*attend.*\n.*ModelError.*attend",), ("RuntimeError",)
    ),
    "clam_h5": Report((r"\.npz|bag",), ("Traceback",)),
    "csv_labels": Report(
        (r"float\.csv.*\{'0': 10, '1': 10\}", r"na\.csv.*\('0', '1'\)", r"case\.csv.*differ")
    ),
    "eraser_evidence_of_another_document": Report((r"DataError.*B",), ("A.txt evidence",)),
    "euclidean_after_normalize": Report(
        (r"cosine own 0\.5444 attnaudit score 0\.5444",),
        (r"euclidean own -0\.9546 attnaudit", r"manhattan own -14\.7876 attnaudit"),
    ),
    "explainer_after_training_goes_on": Report(
        (rf"own now 0\.4342960\d* explainer 0\.43429|{ONE_LINE}",), (r"explainer 0\.3234",)
    ),
    "functional_dropout": Report((r"two passes",), ("inconclusive",)),
    "hub_name_without_modules": Report((r"acme/plain-bert ModelError",), (r"acme/plain-bert 0\.",)),
    "int8_linear_layers": Report((rf"{ONE_LINE}.*|int8",), ("adds_up False",)),
    "marks_lost_in_words": Report(
        (
            r"\['मैं', 'विद्यालय', 'जाता', 'हूँ'\] text",
            r"\['phở', 'ngon'",
        )
    ),
    "max_seq_length_above_positions": Report(("512", "1024"), ("RuntimeError",)),
    "no_model_max_length": Report((r"(?s)own 0\.7737264.*0\.77372",), ("OverflowError",)),
    "one_very_long_text": Report((r"1000 words",), ("Traceback",)),
    "pass_batch_equals_single": Report((r"worst cell [\d.]+e-(0[7-9]|1\d)|worst cell 0\.0",)),
    "pass_hidden_labels": Report((r"DataError.*the label is missing", r"\{'neg': 0, 'pos': 1\}")),
    "pass_single_logit_and_captum": Report((r"sigmoid 0\.9972 yes", r"sigmoid 0\.0037 no")),
    "probabilities_as_logits": Report(
        (r"logits .*0\.9997", r"probabilit"), (r"softmax \{'no': 0\.26",)
    ),
    "query_and_document_prompts": Report(
        (
            rf"0\.6455 attnaudit 0\.6455|prompts.*{ONE_LINE}",
            rf"0\.0751 attnaudit 0\.0751|{ONE_LINE}",
        ),
    ),
    "raw_tracebacks_on_odd_python_input": Report(
        ("streamed data set", "list of texts in a pair"),
        ("TypeError", "AttributeError", "numpy SettingsError"),
    ),
    "states_of_another_shape": Report(
        ("longformer", "xlnet", "funnel", "squeezebert", "bloom"),
        ("IndexError", "RuntimeError", "ShapeError", r"table \(17, 17\)"),
    ),
    "texts_all_equal": Report((r"DataError.*(equal|same)",), ("too few for",)),
    "unknown_words_only": Report((r"0\.31257 \[['\"].+",), (r"0\.31257 \[\]",)),
}  # the shapes of what is printed; the words may change


def main() -> int:
    """Run all cases; 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="the src of another checkout")
    parser.add_argument("--only", default="", help="part of the names of the cases to run")
    asked = parser.parse_args()
    if not CASES.is_dir():
        print(f"no cases at {CASES}: set ATTNAUDIT_SHARED")
        return 1
    sides = [("now", HERE / "src")]
    if asked.against:
        sides.insert(0, ("before", asked.against.resolve()))
    bad = 0
    print("| case | " + " | ".join(name for name, _ in sides) + " |")
    print("| --- " * (len(sides) + 1) + "|")
    with tempfile.TemporaryDirectory() as folder:
        copied = shutil.copytree(CASES, Path(folder) / "cases", dirs_exist_ok=True)
        for name in _names(copied, asked.only):
            cells = [_outcome(copied, name, source) for _, source in sides]
            bad += not cells[-1][0]
            shown = [f"{'✓' if good else '✕'} {text.replace('|', '/')}" for good, text in cells]
            print(f"| {name} | " + " | ".join(shown) + " |", flush=True)
    print(f"\n{bad} not as they should be")
    return 1 if bad else 0


def _names(folder: Path, part: str) -> list[str]:
    files = [
        f"{k}/{p.name}"
        for k in ("text", "bags", "quick", "models")
        for p in sorted((folder / k).iterdir())
    ]
    return [name for name in [*(f"reports/{r}" for r in REPORTS), *files] if part in name]


def _outcome(folder: Path, name: str, source: Path) -> tuple[bool, str]:
    kind, case = name.split("/")
    if kind == "reports":
        printed = _run([str(Path("reports", case, "run.py"))], folder, source)
        report = REPORTS[case]
        lines = [re.sub(r"^.*it/s\]", "", line) for line in printed.splitlines()]
        text = "\n".join(line for line in lines if line and "Hub" not in line)
        text = unicodedata.normalize("NFC", text)
        good = all(re.search(p, text) for p in report.must)
        good &= not any(re.search(p, text) for p in report.must_not)
        return good, text.replace("\n", "; ")[:420]
    reader = "bags" if case.endswith((".npz", "bdigits.csv")) else "text"
    printed = _run(
        ["-c", READ, "model" if kind == "models" else reader, f"{kind}/{case}"], folder, source
    )
    last = [line for line in printed.splitlines() if line.startswith(("READ", "REFUSED"))]
    return bool(last), " ".join(printed.split())[:260]


def _run(words: list[str], folder: Path, source: Path) -> str:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (GIBIBYTES << 30,) * 2)

    places = os.pathsep.join([str(source), str(folder / "reports")])
    settings = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=settings,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            preexec_fn=bounded,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} s"
    return done.stdout + (done.stderr[-400:] if done.returncode else "")


if __name__ == "__main__":
    sys.exit(main())
