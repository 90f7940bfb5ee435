"""RXNMapper: a model whose attention *is* what it ships. Does the published head hold?

The model reads reactions; layer 10, head 5 is published as its map from the atoms of the product to
those of the reactants (Schwaller et al. 2021). Every instance asks about one hidden atom of the
product; the atoms of the reactants are the units, and those of the same element are the (partial)
truth. `python -m benchmarks.rxnmapper FOLDER`, with the folder of the weights.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import attnaudit
from attnaudit.data.records import Dataset, Text, TextAt
from attnaudit.measures.bootstrap import wilson_interval
from attnaudit.models.encoded import Encoded
from attnaudit.models.transformer.load import load_transformer_model
from attnaudit.models.transformer.model import TransformerModel
from attnaudit.models.transformer.options import Options
from attnaudit.models.transformer.reading import asked_about

PIECES = (
    r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|"
    r"\%[0-9]{2}|[0-9])"
)
ATOM = re.compile(r"^(\[.*\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p)$")
ACIDS = ("CC(=O)O", "OC(=O)c1ccccc1", "CCC(=O)O", "OC(=O)C1CC1", "OC(=O)c1ccncc1", "CSCC(=O)O")
AMINES = ("NC", "NCC", "Nc1ccccc1", "NC1CCCCC1", "NCc1ccccc1", "NCCO", "NC1CC1", "NCCSC")
ALKYLS = ("CBr", "CCBr", "BrCc1ccccc1", "CC(C)Br", "BrCC1CC1", "BrCCF", "BrCC(=O)OC")
PHENOLS = ("Oc1ccccc1", "Oc1ccc(F)cc1", "Oc1ccc(Cl)cc1", "Oc1ccccc1C", "Oc1ccc(C#N)cc1")
BORONIC = ("OB(O)c1ccccc1", "OB(O)c1ccc(F)cc1", "OB(O)c1ccncc1", "OB(O)c1ccsc1")
HALIDES = ("Brc1ccccc1", "Brc1ccc(C)cc1", "Brc1ccncc1", "Brc1ccc(C=O)cc1", "Brc1ccc(C#N)cc1")


def tokenizer_of(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that the model was trained with, from its vocabulary and published pattern."""
    words = (folder / "vocab.txt").read_text().split("\n")
    vocabulary = {word: place for place, word in enumerate(words) if word}
    found = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    marks = [(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")]
    found.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=marks)
    return PreTrainedTokenizerFast(
        tokenizer_object=found,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def reactions(count: int, seed: int = 0) -> Iterator[str]:
    """Reactions of four kinds, each atom of the product known to come from a reactant."""
    draw = random.Random(seed)
    seen: set[str] = set()
    while len(seen) < count:
        kind = draw.randrange(4)
        if kind == 0:
            acid, amine = draw.choice(ACIDS), draw.choice(AMINES)
            whole = f"{acid}.{amine}>>{_amide(acid, amine)}"
        elif kind == 1:
            halide, phenol = draw.choice(ALKYLS), draw.choice(PHENOLS)
            whole = f"{halide}.{phenol}.O=C([O-])[O-].[K+].[K+]>>{_ether(halide, phenol)}"
        elif kind == 2:
            boron, halide = draw.choice(BORONIC), draw.choice(HALIDES)
            whole = f"{boron}.{halide}>>{boron.removeprefix('OB(O)')}-{_without(halide)}"
        else:
            halide, amine = draw.choice(ALKYLS), draw.choice(AMINES)
            whole = f"{halide}.{amine}>>{_chain(halide)}{amine}"
        if whole not in seen:
            seen.add(whole)
            yield whole


def _without(halide: str) -> str:
    return halide.removeprefix("Br")


def _chain(halide: str) -> str:
    """The alkyl group, its free end last."""
    if halide.endswith("Br"):
        return halide.removesuffix("Br")
    rest = halide.removeprefix("Br")
    # its first atom is the free end: the rest of it becomes a branch
    return f"{rest[0]}({rest[1:]})" if len(rest) > 1 else rest


def _ether(halide: str, phenol: str) -> str:
    return f"{_chain(halide)}{phenol}"


def _amide(acid: str, amine: str) -> str:
    if acid.endswith("C(=O)O"):
        return f"{acid.removesuffix('O')}{amine}"
    rest = acid.removeprefix("OC(=O)")
    return f"O=C({rest}){amine}"


def element(piece: str) -> str:
    """The element of an atom as it is written."""
    letters = re.findall(r"[A-Za-z][a-z]?", piece)
    return (letters[0] if letters else piece).capitalize()[: 2 if piece in ("Br", "Cl") else 1]


def records(count: int, seed: int = 0) -> list[Text]:
    """Reactions with one hidden atom of the product each."""
    draw, found = random.Random(seed), []
    for number, whole in enumerate(reactions(count, seed)):
        pieces = re.findall(PIECES, whole)
        cut = pieces.index(">>")
        spans, at = [], 0
        for piece in pieces:
            spans.append((at, at + len(piece)))
            at += len(piece)
        atoms = [k for k in range(cut + 1, len(pieces)) if ATOM.match(pieces[k])]
        asked = draw.choice(atoms)
        same = element(pieces[asked])
        truth = tuple(
            k < cut and bool(ATOM.match(p)) and element(p) == same for k, p in enumerate(pieces)
        )
        if any(truth):
            text = Text(f"r{number}", whole, tuple(pieces), tuple(spans), None, truth)
            found.append(asked_about(text, asked))
    return found


def mapped(model: TransformerModel, data: Sequence[Text], size: int = 16) -> tuple[int, int]:
    """How often the reactant atom with the most weight has the element of the atom asked about."""
    hits = total = 0
    for start in range(0, len(data), size):
        part = list(data[start : start + size])
        weights = Encoded(model, model.collate(part)).weights
        units = model.collate(part).units
        for row, record in enumerate(part):
            own = weights[row][units[row]]
            cut = record.units.index(">>")
            atoms = [k for k in range(cut) if ATOM.match(record.units[k])]
            best = max(atoms, key=lambda k: float(own[k]))
            assert isinstance(record, TextAt)
            hits += element(record.units[best]) == element(record.asked)
            total += 1
    return hits, total


def chance(data: Sequence[Text]) -> float:
    """The same for a reactant atom drawn at random."""
    shares = []
    for record in data:
        assert record.truth is not None
        cut = record.units.index(">>")
        atoms = [k for k in range(cut) if ATOM.match(record.units[k])]
        shares.append(sum(record.truth[k] for k in atoms) / len(atoms))
    return sum(shares) / len(shares)


def main() -> None:
    """All heads by same-element mapping, and an audit of the published one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reactions", type=int, default=150)
    parser.add_argument("--out", type=Path, default=Path("build/rxnmapper"))
    parser.add_argument("--audited", type=int, default=60)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = records(chosen.reactions)
    tokenizer = tokenizer_of(chosen.folder)
    for hide in (False, True):
        options = Options("layer=10,head=5", hide=hide)
        model = load_transformer_model(chosen.folder, options, tokenizer=tokenizer)
        print(f"hidden={hide}", model.cut.mode, model.verify(data[:20]))
        found = {name: mapped(at, data) for name, at in model.every_site().items()}
        order = sorted(found, key=lambda name: -found[name][0])
        print(f"{len(data)} atoms, by chance {chance(data):.3f}")
        for place, name in enumerate(order, 1):
            if place <= 8 or name == "10.5":
                hits, total = found[name]
                interval = wilson_interval(hits, total, 0.95)
                said = f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
                print(f"  {place:3} layer.head {name:6} same element {said}")
    some = Dataset("reactions", tuple(data[: chosen.audited]), (), "test")
    audit = attnaudit.audit(model, some, out=chosen.out, overwrite=True, progress=False)
    print(audit.report.judgement.headline, audit.report.judgement.advice)
    for finding in audit.findings:
        print(finding.check, finding.verdict.value, finding.sentence)


if __name__ == "__main__":
    main()
