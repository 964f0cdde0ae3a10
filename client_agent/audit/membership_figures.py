"""From attack scores to figures: area under the curve, true positives at 1 % false positives."""

import numpy as np

from client_agent.audit.intervals import auc, auc_interval, clopper_pearson
from client_agent.audit.membership import DenoisingLosses
from client_agent.audit.replay import given_away
from ff_protocol.card import Figure, bucket

_FALSE_POSITIVES = 0.01
# SimA is the strongest of the attacks, so it is *the* membership figure.
_PREFIX = {
    "sima": "membership",
    "denoising_loss": "denoising_loss",
    "mid_frequency": "mid_frequency",
}


def membership_figures(
    losses: DenoisingLosses, training_index: np.ndarray, held_out_index: np.ndarray
) -> dict[str, Figure]:
    """Return `<attack>_auc` and `<attack>_tpr_at_1_fpr`; `membership` is SimA.

    Args:
        losses: scores of both sides.
        training_index, held_out_index: the images in use; scores of others are passed over.
    """
    ours = np.isin(losses.training_index, training_index)
    theirs = np.isin(losses.held_out_index, held_out_index)
    figures = {}
    for attack, prefix in _PREFIX.items():
        members, others = losses.training[attack][ours], losses.held_out[attack][theirs]
        count = bucket(len(members) + len(others))
        low, high = auc_interval(-members, -others)
        figures[f"{prefix}_auc"] = Figure(
            value=auc(-members, -others), low=low, high=high, samples=count
        )
        value, low, high = true_positives(members, others)
        figures[f"{prefix}_tpr_at_1_fpr"] = Figure(value=value, low=low, high=high, samples=count)
    return figures


def true_positives(members: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """Return the share of members found while at most 1 % of others are taken for members.

    With fewer than 100 others none of them may be. A low-rate threshold set by so few is uncertain
    itself, so the lower bound is the share of members found beyond chance (`given_away`), which is
    exact for any number; the upper one is the binomial's.

    Args:
        members, others: scores, float [n] and [m]; lower means more like a member.

    Returns:
        value, low, high.
    """
    threshold = np.sort(others)[int(_FALSE_POSITIVES * len(others))]
    found, n = int((members < threshold).sum()), len(members)
    value = found / n
    proven = given_away(members, others).least / n
    return value, min(value, proven), clopper_pearson(found, n)[1]
