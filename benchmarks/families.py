"""Which families of transformers can be audited: small random models of each, cut at every layer.

`python -m benchmarks.families` builds a model of each family, cuts it at every layer and compares
the cut with the unmodified eager model. `--record` keeps what was found in the package, where
`attnaudit list families` shows it.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import transformers
from tests.tiny_families import (
    DECODERS,
    ENCODERS,
    TRANSLATORS,
    kind_of,
    records_of,
    small_model,
)

from attnaudit.errors import AttnauditError
from attnaudit.models.transformer import families
from attnaudit.models.transformer.families import Family
from attnaudit.models.transformer.model import TransformerModel

RECORD = Path(families.__file__).with_name(families.FILE)


def found(family: str) -> Family:
    """Build, cut at every layer and compare."""
    kind = kind_of(family)
    try:
        model, tokenizer = small_model(family)
        cut = TransformerModel(model, tokenizer, name=family)
        sites = list(dict.fromkeys((site.layer, site.cross) for site in cut.sites()))
        modes, gap = [], 0.0
        for layer, cross in sites:
            at = cut.at(families.whole_layer(layer, cross))
            verified = at.verify(records_of(kind))
            gap = max(gap, verified.gap)
            modes.append(at.cut.mode)
        if gap > 1e-5:
            return Family(family, kind, len(sites), gap, tuple(modes), f"differs by {gap:.1g}")
        return Family(family, kind, len(sites), gap, tuple(modes))
    except AttnauditError as error:
        return Family(family, kind, 0, None, (), str(error)[:300])
    # a family's own code may fail in any way on a configuration this small
    except Exception as error:
        return Family(family, kind, 0, None, (), f"{type(error).__name__}: {str(error)[:200]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the families that were asked for, and print or keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=[*ENCODERS, *DECODERS, *TRANSLATORS])
    parser.add_argument("--record", action="store_true", help="keep what was found in the package")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    rows = []
    for family in chosen.families:
        rows.append(found(family))
        row = rows[-1]
        said = row.refused or f"{row.gap:.1e} {','.join(dict.fromkeys(row.modes))}"
        print(f"{row.kind:10} {family:22} {row.layers} {said}", flush=True)
    if chosen.record:
        kept = {"transformers": transformers.__version__, "families": [asdict(r) for r in rows]}
        RECORD.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
