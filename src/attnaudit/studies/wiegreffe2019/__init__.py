"""Wiegreffe & Pinter 2019, "Attention is not not Explanation"."""

from __future__ import annotations

from attnaudit.studies.declaration import Study
from attnaudit.studies.wiegreffe2019.cells import WiegreffeOptions, plan, quick
from attnaudit.studies.wiegreffe2019.conclude import conclude
from attnaudit.studies.wiegreffe2019.measure import measure

WIEGREFFE2019 = Study(
    name="wiegreffe2019",
    title="Is attention not not explanation?",
    paper="Wiegreffe & Pinter 2019, Attention is not not Explanation",
    citation="Sarah Wiegreffe and Yuval Pinter. Attention is not not Explanation. Proceedings of "
    "EMNLP-IJCNLP 2019, pages 11 to 20. arXiv 1908.04626.",
    version=2,
    options=WiegreffeOptions,
    quick=quick,
    plan=plan,
    measure=measure,
    conclude=conclude,
)
