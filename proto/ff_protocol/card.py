"""`card.json`: what a module is, in public. No patient data, no path, no host name.

Counts are bucketed so that the card cannot reveal whether one more patient was in the set.
"""

import itertools
import json
from typing import Annotated, Any, Literal

from pydantic import Field

from ff_protocol import canonical
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.limits import MAX_CARD_BYTES
from ff_protocol.schema import Strict, parse
from ff_protocol.spec import ImageSpec

_BUCKETS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_BUCKET = r"^(<16|\d{2,6}-\d{2,6}|>=131072)$"
FigureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class TrainingCard(Strict):
    """How the generator was made. `images` is a bucket such as `512-1023`, never a count."""

    images: str = Field(pattern=_BUCKET)
    steps: int = Field(ge=1)
    seconds: int = Field(ge=0)
    device: Literal["cpu", "cuda"]
    final_loss: float | None = None


class GeneratorCard(Strict):
    """The generator family, its preset and its sampler."""

    family: str = Field(max_length=64)
    preset: str = Field(max_length=64)
    parameters: int = Field(ge=1)
    sampler: str = Field(max_length=64)
    sampler_steps: int = Field(ge=1, le=10_000)


class Figure(Strict):
    """One measured figure: its value, its confidence interval and how many images it rests on.

    Attributes:
        value: the estimate.
        low, high: bounds of its 95 % confidence interval; None where the measure has none.
        samples: bucket of the number of images that the estimate rests on, as in `bucket`.
    """

    value: float = Field(allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    samples: str = Field(pattern=_BUCKET)


class Waiver(Strict):
    """A person's decision to release a module although figures of its audit fail the site's policy.

    Attributes:
        reason: theirs, in words.
        figures: names of the figures that failed.
    """

    reason: str = Field(min_length=10, max_length=2000)
    figures: tuple[str, ...] = Field(max_length=64)


class PrivacyGuarantee(Strict):
    """(epsilon, delta)-differential privacy of the training with respect to one image.

    Attributes:
        epsilon, delta: the guarantee.
        accountant: which bound was used, `rdp` or `prv`.
        noise_multiplier, max_grad_norm, sample_rate, steps: what the accountant was given.
    """

    epsilon: float = Field(gt=0, allow_inf_nan=False)
    delta: float = Field(gt=0, lt=1)
    accountant: str = Field(max_length=16)
    noise_multiplier: float = Field(gt=0, allow_inf_nan=False)
    max_grad_norm: float = Field(gt=0, allow_inf_nan=False)
    sample_rate: float = Field(gt=0, le=1)
    steps: int = Field(ge=1)


class Card(Strict):
    """The card of one module: one class of one site.

    `fidelity` and `memorisation` hold the audit's figures by name; docs/card.md says what each
    means and which paper it comes from.
    """

    schema_version: Literal[2] = 2
    federation_id: str = Field(max_length=80)
    site_id: str = Field(max_length=63)
    class_name: str = Field(max_length=64)
    class_index: int = Field(ge=0)
    image: ImageSpec
    generator: GeneratorCard
    training: TrainingCard
    fidelity: dict[FigureName, Figure] = Field(default_factory=dict, max_length=64)
    memorisation: dict[FigureName, Figure] = Field(default_factory=dict, max_length=64)
    waiver: Waiver | None = None
    differential_privacy: PrivacyGuarantee | None = None
    software: dict[str, str] = Field(default_factory=dict, max_length=64)
    licence: str = Field(default="LicenseRef-federation", max_length=128)
    terms_of_use: str = Field(default="within the federation only", max_length=2000)
    created_at: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

    def to_bytes(self) -> bytes:
        """Serialise canonically; `parse_card(card.to_bytes()) == card`."""
        return canonical.dumps(self.model_dump(mode="json"))


def parse_card(data: bytes) -> Card:
    """Parse a card from an untrusted party.

    Raises:
        MalformedError: too large, not strict JSON, or not the schema.
    """
    value: Any = canonical.loads(data, max_bytes=MAX_CARD_BYTES, what="card.json")
    try:
        return parse(Card, value, "card.json")
    except SpecError as error:
        raise MalformedError(error.message) from error


def schema_text() -> str:
    """Return the schema of a card as docs/card.schema.json publishes it."""
    schema = Card.model_json_schema()
    return json.dumps({"$schema": _SCHEMA, **schema}, indent=2, ensure_ascii=False) + "\n"


def bucket(count: int) -> str:
    """Return the bucket of a training-set size, for example `bucket(700) == "512-1023"`."""
    if count < _BUCKETS[0]:
        return f"<{_BUCKETS[0]}"
    for low, high in itertools.pairwise(_BUCKETS):
        if count < high:
            return f"{low}-{high - 1}"
    return f">={_BUCKETS[-1]}"


def bucket_floor(text: str) -> int:
    """Return the least count of a bucket: `bucket_floor("512-1023") == 512`, 0 for the lowest."""
    return 0 if text.startswith("<") else int(text.removeprefix(">=").split("-")[0])
