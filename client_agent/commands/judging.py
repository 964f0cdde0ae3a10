"""What `predict` and `evaluate` share: the options that say how images are judged."""

import click

from client_agent.classifier.views import MIRRORED, ONE, TURNED, VIEWS
from client_agent.commands.common import Function

_OPTIONS = (
    click.option(
        "--evidence",
        is_flag=True,
        help="Also ask each module how well it restores the images from noise: more accurate where "
        "the sites' scanners are alike, some tens of images a second at 28 px.",
    ),
    click.option(
        "--prevalence",
        default="even",
        show_default=True,
        metavar="even|training|NAME=SHARE,...",
        help="How common the classes are where the images come from: all the same, as among the "
        "images that the modules were trained on, or as you say.",
    ),
    click.option(
        "--views",
        type=click.Choice(list(VIEWS)),
        default=ONE,
        show_default=True,
        help="Have the classifier judge each image as it is, mirrored left to right as well, or in "
        "all eight turns of a square. The latter only where no side of an image is up: cells, "
        "tissue, skin.",
    ),
)

_SAID = {MIRRORED: "each judged as it is and mirrored", TURNED: "each judged in eight turns"}


def judging_options(function: Function) -> Function:
    """Add `--evidence`, `--prevalence` and `--views`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def say_judging(prevalence: dict[str, float], views: str) -> list[str]:
    """Name the views and the shares that answers are for, as far as they are not the default."""
    from client_agent.steps.prevalence import say_shares

    return ([_SAID[views]] if views in _SAID else []) + say_shares(prevalence, digits=3)
