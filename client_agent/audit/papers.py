"""Where each figure of the audit comes from, for people who read a card."""

# By the beginning of the figure's name, the longest one counts. docs/audit.md explains each.
_PAPERS = {
    "class_consistency": "classification accuracy score, arXiv 1905.10887",
    "coverage": "arXiv 2002.09797",
    "dcr_share": "a smoke detector: arXiv 2505.01524",
    "denoising_loss": "Matsumoto et al., arXiv 2302.03262",
    "density": "arXiv 2002.09797",
    "distinct": "Arora and Zhang, arXiv 1706.08224",
    "fid": "Heusel et al., arXiv 1706.08500",
    "kid": "Binkowski et al., arXiv 1801.01401",
    "membership": "SimA, arXiv 2509.25003",
    "membership_tpr": "arXiv 2112.03570; SimA, arXiv 2509.25003",
    "mid_frequency": "after FCRE, arXiv 2506.14919",
    "nearer_to_training": "Platzer and Reutterer, arXiv 2104.00635",
    "nearest_ratio": "a smoke detector: arXiv 2505.01524",
    "precision": "Kynkaanniemi et al., arXiv 1904.06991",
    "recall": "Kynkaanniemi et al., arXiv 1904.06991",
    "replayed_images": "Carlini et al., arXiv 2301.13188",
}


def paper_of(figure: str) -> str:
    """Return the source of a figure, "" if it is none that we know."""
    matches = [name for name in _PAPERS if figure == name or figure.startswith(f"{name}_")]
    return _PAPERS[max(matches, key=len)] if matches else ""
