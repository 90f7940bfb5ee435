"""Möller, Nikolaev & Padó 2023 and 2024: which token pairs make two texts similar."""

from __future__ import annotations

from attnaudit.studies.declaration import Study
from attnaudit.studies.moeller2023.cells import MoellerOptions, plan, quick
from attnaudit.studies.moeller2023.conclude import conclude
from attnaudit.studies.moeller2023.measure import measure

MOELLER2023 = Study(
    name="moeller2023",
    title="Which token pairs make two texts similar?",
    paper="Möller, Nikolaev & Padó 2023, An Attribution Method for Siamese Encoders; 2024, "
    "Approximate Attributions for Off-the-Shelf Siamese Transformers",
    citation="Lucas Möller, Dmitry Nikolaev and Sebastian Padó. An Attribution Method for Siamese "
    "Encoders. Proceedings of EMNLP 2023. arXiv 2310.05703. And by the same authors: Approximate "
    "Attributions for Off-the-Shelf Siamese Transformers. Proceedings of EACL 2024. arXiv "
    "2402.02883.",
    version=1,
    options=MoellerOptions,
    quick=quick,
    plan=plan,
    measure=measure,
    conclude=conclude,
)
