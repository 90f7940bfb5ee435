"""Studies: the experiments of one paper, beside the paper's own numbers."""

from __future__ import annotations

from attnaudit.studies.bai2021 import BAI2021
from attnaudit.studies.declaration import Study
from attnaudit.studies.haab2022 import HAAB2022
from attnaudit.studies.jain2019 import JAIN2019
from attnaudit.studies.moeller2023 import MOELLER2023
from attnaudit.studies.wiegreffe2019 import WIEGREFFE2019

STUDIES: dict[str, Study] = {
    study.name: study for study in (JAIN2019, WIEGREFFE2019, MOELLER2023, BAI2021, HAAB2022)
}

__all__ = ["STUDIES", "Study"]
