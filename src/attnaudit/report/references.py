"""The papers behind the checks and methods, written out. Plain text: nothing is linked."""

from __future__ import annotations

from collections.abc import Sequence

PAPERS = {
    "Bahdanau et al. 2015": "Bahdanau, Cho & Bengio. Neural Machine Translation by Jointly "
    "Learning to Align and Translate. ICLR 2015. arXiv 1409.0473.",
    "Bastings & Filippova 2020": "Bastings & Filippova. The Elephant in the Interpretability "
    "Room: Why Use Attention as Explanation When We Have Saliency Methods? BlackboxNLP 2020. "
    "arXiv 2010.05607.",
    "DeYoung et al. 2020": "DeYoung, Jain, Rajani, Lehman, Xiong, Socher & Wallace. ERASER: A "
    "Benchmark to Evaluate Rationalized NLP Models. ACL 2020. arXiv 1911.03429.",
    "Haab et al. 2022": "Haab, Deutschmann & Rodríguez Martínez. Is Attention Interpretation? A "
    "Quantitative Assessment On Sets. XKDD 2022. arXiv 2207.13018.",
    "Jain & Wallace 2019": "Jain & Wallace. Attention is not Explanation. NAACL 2019. "
    "arXiv 1902.10186.",
    "Shapley 1953": "Shapley. A Value for n-Person Games. Contributions to the Theory of Games "
    "II, Princeton 1953.",
    "Štrumbelj & Kononenko 2010": "Štrumbelj & Kononenko. An Efficient Explanation of Individual "
    "Classifications using Game Theory. JMLR 11, 2010.",
    "Mohankumar et al. 2020": "Mohankumar, Nema, Narasimhan, Khapra, Srinivasan & Ravindran. "
    "Towards Transparent and Explainable Attention Models. ACL 2020. arXiv 2004.14243.",
    "Serrano & Smith 2019": "Serrano & Smith. Is Attention Interpretable? ACL 2019. "
    "arXiv 1906.03731.",
    "Sundararajan et al. 2017": "Sundararajan, Taly & Yan. Axiomatic Attribution for Deep "
    "Networks. ICML 2017. arXiv 1703.01365.",
    "Tutek & Šnajder 2020": "Tutek & Šnajder. Staying True to Your Word: (How) Can Attention "
    "Become Explanation? RepL4NLP 2020. arXiv 2005.09379.",
    "Wiegreffe & Pinter 2019": "Wiegreffe & Pinter. Attention is not not Explanation. EMNLP 2019. "
    "arXiv 1908.04626.",
}


def references_of(papers: Sequence[str]) -> tuple[str, ...]:
    """The entries that these citations name, in the order of the alphabet.

    Example:
        >>> [r.split(".")[0] for r in references_of(["Haab et al. 2022; DeYoung et al. 2020"])]
        ['DeYoung, Jain, Rajani, Lehman, Xiong, Socher & Wallace', ...]
    """
    return tuple(text for name, text in PAPERS.items() if any(name in paper for paper in papers))
