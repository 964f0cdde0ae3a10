"""What `predict` and `evaluate` share: how images are judged, and for which prevalence."""

from collections.abc import Mapping

import click

from client_agent.commands.common import Function


def evidence_option(function: Function) -> Function:
    """Add the option that has the modules judge images beside the classifier."""
    return click.option(
        "--evidence",
        is_flag=True,
        help="Also ask each module how well it restores the images from noise: more accurate where "
        "the sites' scanners are alike, some tens of images a second at 28 px.",
    )(function)


def prevalence_option(function: Function) -> Function:
    """Add the option that says how common the classes are where the images come from."""
    return click.option(
        "--prevalence",
        default="even",
        show_default=True,
        metavar="even|training|NAME=SHARE,...",
        help="How common the classes are where the images come from: all the same, as among the "
        "images that the modules were trained on, or as you say.",
    )(function)


def say_prevalence(shares: Mapping[str, float]) -> list[str]:
    """Name the shares that answers are for, unless all classes are as common."""
    if len(set(shares.values())) == 1:
        return []
    named = ", ".join(f"{name} {share:.3g}" for name, share in shares.items())
    return [f"for classes that are as common as: {named}"]
