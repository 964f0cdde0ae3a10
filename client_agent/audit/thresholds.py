"""How much of each figure a site tolerates before it refuses to release a module."""

from pydantic import Field, RootModel, model_validator

from ff_protocol.card import FigureName
from ff_protocol.schema import Strict


class Bound(Strict):
    """The most, or the least, that one figure may be.

    A figure fails when its whole confidence interval lies beyond the bound, so that small classes
    are not refused for bad luck; a figure without an interval is judged by its value.

    Attributes:
        max, min: exactly one of them.
        required: a figure that was not measured fails as well.
    """

    max: float | None = Field(default=None, allow_inf_nan=False)
    min: float | None = Field(default=None, allow_inf_nan=False)
    required: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> "Bound":
        if (self.max is None) == (self.min is None):
            raise ValueError("give either max or min")
        return self


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
    """Return the bounds for a class of `images` training images; they depend on its bucket only."""
    raise NotImplementedError
