"""What is known of the paper: its abstract. No number of its tables is, and none is compared."""

from __future__ import annotations

FINDINGS = "Abstract (arXiv 2207.13018), in words; the numbers of its tables are not known here."
OURS = "Not in the abstract: an expected direction of ours."
REFLECTIVE = "Attention is often reflective of the relative importance of instances. " + FINDINGS
SILENT = (
    "Silent failures exist: high classification performance with attention patterns that do not "
    "align with expectations. " + FINDINGS
)
ENSEMBLES = "Ensembling reduces the risk of silent failures. " + FINDINGS
PUBLISHED = {"musk1": 0.892, "musk2": 0.858, "elephant": 0.868, "fox": 0.615, "tiger": 0.839}
"""Mean accuracy of attention pooling over five repetitions of 10-fold cross-validation, as Ilse et
al. (2018) published it; recalled, not checked against the paper."""
RANGE = 0.05
"""How far from these a mean accuracy may lie and still be in their range. Ours."""
