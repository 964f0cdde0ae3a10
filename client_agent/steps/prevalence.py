"""Which shares of the classes a classifier's answers are given for."""

from typing import TYPE_CHECKING

from client_agent.classifier.prevalence import (
    EVEN,
    TRAINING,
    Shares,
    parse_shares,
    shares_in_training,
)
from client_agent.site import Site
from client_agent.steps.made_from import modules_of

if TYPE_CHECKING:
    from client_agent.classifier.prediction import ClassifierFile


def find_shares(site: Site, classifier: "ClassifierFile", prevalence: str) -> Shares | None:
    """Return the shares that `prevalence` asks for, None where every class is as common.

    Args:
        site: whose modules.
        classifier: in use there.
        prevalence: `even`; `training`, as common as among the images that the modules were trained
            on; or NAME=SHARE,NAME=SHARE,...

    Raises:
        UsageError: none of these.
        NotReadyError: `training`, and other modules are here than the classifier was made from.
    """
    if prevalence == EVEN:
        return None
    if prevalence != TRAINING:
        return parse_shares(prevalence, classifier.classes)
    cards = [module.card for module in modules_of(site, classifier)]
    held = [(card.class_name, card.training.images) for card in cards]
    return shares_in_training(held, classifier.classes)


def named_shares(classes: tuple[str, ...], shares: Shares | None) -> dict[str, float]:
    """Return the share of each class by name, rounded to be read."""
    if shares is None:
        return {name: round(1 / len(classes), 6) for name in classes}
    return {name: round(float(share), 6) for name, share in zip(classes, shares, strict=True)}


def say_shares(named: dict[str, float], digits: int) -> list[str]:
    """Put the shares that answers are for in words, nothing where all classes are as common.

    Args:
        named: from `named_shares`.
        digits: significant ones of each share, trailing zeros left out.
    """
    if len(set(named.values())) == 1:
        return []
    shares = ", ".join(f"{name} {share:.{digits}g}" for name, share in named.items())
    return [f"for classes that are as common as: {shares}"]
