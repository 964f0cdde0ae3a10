"""How much of each figure a site tolerates before it refuses to release a module."""

from typing import Literal

from pydantic import Field, RootModel, model_validator

from ff_protocol.card import FigureName
from ff_protocol.schema import Strict

# Classes of fewer training images than these have wider bounds.
_FEW_FOR_NETWORK = 128
_FEW_FOR_REPLAY = 512
_MANY_FOR_REPLAY = 4096
# Fewer than 16 images are held out of such a class: the interval of an AUC is 0.3 wide, and a
# network that knows its images by heart can stay below any bound that its lower end is held to.
_FEW_FOR_PROOF = 64


class Bound(Strict):
    """The most, or the least, that one figure may be.

    A figure fails when its whole confidence interval lies beyond the bound, so that small classes
    are not refused for bad luck; a figure without an interval is judged by its value.

    Attributes:
        max, min: exactly one of them.
        fails: when it is `certain` that the figure lies beyond; when it was `found` there, whatever
            its interval; or when that is `possible`, so that the opposite has to be shown.
        required: a figure that was not measured fails as well.
    """

    max: float | None = Field(default=None, allow_inf_nan=False)
    min: float | None = Field(default=None, allow_inf_nan=False)
    fails: Literal["certain", "found", "possible"] = "certain"
    required: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> "Bound":
        if (self.max is None) == (self.min is None):
            raise ValueError("give either max or min")
        return self

    def __str__(self) -> str:
        """Say it in a few words, for example `at most 0.8`."""
        words = f"at most {self.max:g}" if self.max is not None else f"at least {self.min:g}"
        return {"certain": "", "found": "by its value ", "possible": "surely "}[self.fails] + words


class Thresholds(RootModel[dict[FigureName, Bound | None]]):
    """Bounds by name of the figure; None lifts a default bound.

    In `policy.yaml`, under `release`:

        thresholds:
          membership_auc: {max: 0.6}
          coverage: null
    """

    def over(self, defaults: "Thresholds") -> "Thresholds":
        """Return `defaults` with these bounds in place of its own."""
        return Thresholds({**defaults.root, **self.root})


def default_thresholds(images: int) -> Thresholds:
    """Return the bounds for a class of `images` training images.

    Chosen on `benchmarks/audit.py`; docs/audit.md tells what passes and what fails. Any training
    gives its images away a little, the more the fewer they are, so small classes have wider bounds.
    Of the smallest it has to be shown that an attack does not work.
    """
    network = images < _FEW_FOR_NETWORK
    auc = Bound(max=0.8 if network else 0.75, required=True)
    if harmlessness_is_to_be_shown(images):
        auc = Bound(max=0.8, fails="possible", required=True)
    replayed = 0.1 if images < _FEW_FOR_REPLAY else 0.05
    # 2,000 samples show a tenth of such a class at most.
    replayed = 0.02 if images >= _MANY_FOR_REPLAY else replayed
    return Thresholds(
        {
            "replayed_images": Bound(max=replayed, required=True),
            "distinct_excess": Bound(min=0.25, required=True),
            "membership_auc": auc,
            "membership_tpr_at_1_fpr": Bound(max=0.2 if network else 0.15, required=True),
        }
    )


def harmlessness_is_to_be_shown(images: int) -> bool:
    """Say whether membership in so small a class is judged by the upper end of its interval."""
    return images < _FEW_FOR_PROOF


def without_network(thresholds: Thresholds) -> Thresholds:
    """Return the bounds that samples alone can be held to: for a generator without a network."""
    return Thresholds(
        {name: bound for name, bound in thresholds.root.items() if "membership" not in name}
    )
