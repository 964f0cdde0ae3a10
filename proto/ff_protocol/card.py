"""`card.json`: what a module is, in public. No patient data, no path, no host name.

Counts are bucketed so that the card cannot reveal whether one more patient was in the set.
"""

import itertools
from typing import Any, Literal

from pydantic import Field

from ff_protocol import canonical
from ff_protocol.errors import MalformedError, SpecError
from ff_protocol.limits import MAX_CARD_BYTES
from ff_protocol.schema import Strict, parse
from ff_protocol.spec import ImageSpec

_BUCKETS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)


class TrainingCard(Strict):
    """How the generator was made. `images` is a bucket such as `512-1023`, never a count."""

    images: str = Field(pattern=r"^(<16|\d{2,6}-\d{2,6}|>=131072)$")
    steps: int = Field(ge=1)
    seconds: int = Field(ge=0)
    device: Literal["cpu", "cuda"]
    final_loss: float


class GeneratorCard(Strict):
    """The generator family, its preset and its sampler."""

    family: str = Field(max_length=64)
    preset: str = Field(max_length=64)
    parameters: int = Field(ge=1)
    sampler: str = Field(max_length=64)
    sampler_steps: int = Field(ge=1, le=10_000)


class Card(Strict):
    """The card of one module: one class of one site."""

    schema_version: Literal[1] = 1
    federation_id: str = Field(max_length=80)
    site_id: str = Field(max_length=63)
    class_name: str = Field(max_length=64)
    class_index: int = Field(ge=0)
    image: ImageSpec
    generator: GeneratorCard
    training: TrainingCard
    fidelity: dict[str, float] = Field(default_factory=dict, max_length=64)
    memorisation: dict[str, float] = Field(default_factory=dict, max_length=64)
    differential_privacy: dict[str, float] | None = None
    software: dict[str, str] = Field(default_factory=dict, max_length=64)
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


def bucket(count: int) -> str:
    """Return the bucket of a training-set size, for example `bucket(700) == "512-1023"`."""
    if count < _BUCKETS[0]:
        return f"<{_BUCKETS[0]}"
    for low, high in itertools.pairwise(_BUCKETS):
        if count < high:
            return f"{low}-{high - 1}"
    return f">={_BUCKETS[-1]}"
