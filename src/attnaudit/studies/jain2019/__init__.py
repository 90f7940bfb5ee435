"""Jain & Wallace 2019, "Attention is not Explanation"."""

from __future__ import annotations

from attnaudit.studies.declaration import Study
from attnaudit.studies.jain2019.cells import JainOptions, plan, quick
from attnaudit.studies.jain2019.conclude import conclude
from attnaudit.studies.jain2019.measure import measure

JAIN2019 = Study(
    name="jain2019",
    title="Is attention explanation?",
    paper="Jain & Wallace 2019, Attention is not Explanation",
    citation="Sarthak Jain and Byron C. Wallace. Attention is not Explanation. Proceedings of "
    "NAACL-HLT 2019, pages 3543 to 3556. arXiv 1902.10186.",
    version=1,
    options=JainOptions,
    quick=quick,
    plan=plan,
    measure=measure,
    conclude=conclude,
)
