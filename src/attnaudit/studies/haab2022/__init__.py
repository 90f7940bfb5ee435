"""Haab et al. 2022: do attention weights on sets find the instances that matter?"""

from __future__ import annotations

from attnaudit.studies.declaration import Study
from attnaudit.studies.haab2022.cells import HaabOptions, plan, quick
from attnaudit.studies.haab2022.conclude import conclude
from attnaudit.studies.haab2022.measure import measure

HAAB2022 = Study(
    name="haab2022",
    title="Do attention weights on sets find the instances that matter?",
    paper="Haab, Deutschmann & Rodríguez Martínez 2022, Is Attention Interpretation? A "
    "Quantitative Assessment On Sets",
    citation="Jonathan Haab, Nicolas Deutschmann and María Rodríguez Martínez. Is Attention "
    "Interpretation? A Quantitative Assessment On Sets. XKDD 2022; CCIS 1752, pages 303-321, doi "
    "10.1007/978-3-031-23618-1_21. arXiv 2207.13018.",
    version=2,
    options=HaabOptions,
    quick=quick,
    plan=plan,
    measure=measure,
    conclude=conclude,
)
