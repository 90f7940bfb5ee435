"""Bai et al. 2021: weights that carry the answer to the layers behind them."""

from __future__ import annotations

from attnaudit.studies.bai2021.cells import BaiOptions, plan, quick
from attnaudit.studies.bai2021.conclude import conclude
from attnaudit.studies.bai2021.measure import measure
from attnaudit.studies.declaration import Study

BAI2021 = Study(
    name="bai2021",
    title="Do the weights carry the answer themselves?",
    paper="Bai, Liang, Zhang, Li, Bai & Wang 2021, Why Attentions May Not Be Interpretable?",
    citation="Bing Bai, Jian Liang, Guanhua Zhang, Hao Li, Kun Bai and Fei Wang. Why Attentions "
    "May Not Be Interpretable? Proceedings of KDD 2021, pages 25-34. arXiv 2006.05656.",
    version=6,
    options=BaiOptions,
    quick=quick,
    plan=plan,
    measure=measure,
    conclude=conclude,
)
