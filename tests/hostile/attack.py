"""What an attack is: a module that an enrolled site has signed, and why it is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_agent.module.signing import sign_module
from client_agent.site import Site
from ff_protocol import canonical
from ff_protocol.card import Card, GeneratorCard, TrainingCard
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.manifest import CARD_FILE, MODULE_FILE, describe_module
from ff_protocol.statements import Publication
from tests.hostile.graphs import honest_model

Values = dict[str, Any]


@dataclass(frozen=True)
class Attack:
    """One hostile module.

    Attributes:
        name: what it tries.
        reason: regular expression that the refusal matches.
        model: makes `module.onnx`.
        card: turns an honest card's values into the bytes of `card.json`.
        tamper: changes the folder after it has been signed and published.
    """

    name: str
    reason: str
    model: Callable[[], bytes] = honest_model
    card: Callable[[Values], bytes] = canonical.dumps
    tamper: Callable[[Path], object] | None = None

    def publish(self, folder: Path, site: Site) -> Publication:
        """Write the module into `folder` as `site` would publish it; return the publication."""
        folder.mkdir(parents=True)
        (folder / MODULE_FILE).write_bytes(self.model())
        (folder / CARD_FILE).write_bytes(self.card(honest_card(site)))
        sign_module(folder, site.home)
        digest, entries = describe_module(folder)
        publication = Publication(
            federation_id=site.trust.federation_id,
            site_id=site.site_id,
            class_name=site.spec.classes[0],
            module=digest,
            files=entries,
            published_at=timestamp(utc_now()),
        )
        if self.tamper is not None:
            self.tamper(folder)
        return publication


HONEST = Attack("nothing", "")


def named(attacks: tuple[Attack, ...]) -> dict[str, Attack]:
    """By name; each name once."""
    table = {attack.name: attack for attack in attacks}
    assert len(table) == len(attacks)
    return table


def honest_card(site: Site) -> Values:
    """A card that tells the truth about the site and its first class."""
    card = Card(
        federation_id=site.trust.federation_id,
        site_id=site.site_id,
        class_name=site.spec.classes[0],
        class_index=0,
        image=site.spec.image,
        generator=GeneratorCard(
            family="edm", preset="tiny", parameters=1, sampler="none", sampler_steps=1
        ),
        training=TrainingCard(images="64-127", steps=1, seconds=1, device="cpu", final_loss=0.5),
        created_at="2026-11-23T12:00:00Z",
    )
    values: Values = card.model_dump(mode="json")
    return values
