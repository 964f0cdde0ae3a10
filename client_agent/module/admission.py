"""Deciding whether a foreign module may be used here: rules in order, each with its own reason.

The order is from cheap to dear and from outside to inside, so that nothing is parsed before its
size is known and nothing is run before its structure is known. The caller fetches between
`check_publication` and `check_module`, and deletes what was refused.
"""

import json
from pathlib import Path

from client_agent.errors import RefusedError
from client_agent.module.signing import check_signature
from client_agent.module.structure import check_structure
from client_agent.registry.modules import read_card
from client_agent.registry.revocations import RevocationList
from client_agent.site import Site
from client_agent.synthesis.session import probe_module
from ff_protocol.card import Card
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.manifest import MODULE_FILE, describe_module
from ff_protocol.members import MemberList
from ff_protocol.statements import Publication


def check_member(publication: Publication, members: MemberList | None) -> None:
    """A site that was expelled brings nothing new.

    Args:
        publication: what a site announces.
        members: the authority's newest member list; None if there is none here.

    Raises:
        RefusedError: its site is expelled, and it is not one of the modules that remain.
    """
    entry = members and members.refuses(publication.module, publication.site_id)
    if entry:
        raise RefusedError(
            f"{entry.site_id} was expelled on {entry.expelled_at}, and this is published since"
        )


def check_publication(publication: Publication, site: Site, revoked: RevocationList) -> None:
    """Decide from the signed publication alone, before a byte of the module is fetched.

    Raises:
        RefusedError: revoked, or not a class of this federation.
    """
    revocation = revoked.covering(publication.module, publication.site_id)
    if revocation is not None:
        raise RefusedError(f"revoked by {revocation.issuer} on {revocation.issued_at}")
    if publication.class_name not in site.spec.classes:
        raise RefusedError(f"class {publication.class_name!r} is not in the federation spec")


def check_module(folder: Path, publication: Publication, site: Site) -> Card:
    """Decide on the module as received.

    Args:
        folder: holds exactly the three files.
        publication: what its publisher signed.
        site: this site, with the federation's root and spec.

    Returns:
        The module's card, which agrees with the publication and the spec.

    Raises:
        RefusedError: naming the first rule that does not hold.
    """
    try:
        digest, entries = describe_module(folder)
        if digest != publication.module or entries != publication.files:
            raise RefusedError("the files received are not the ones published")
        card = read_card(folder)
        _check_card(card, publication, site)
        check_signature(
            folder, entries, publication.site_id, site.trust, site.home.root_certificate
        )
        check_structure(folder / MODULE_FILE, site.spec)
        probe_module(folder / MODULE_FILE, digest, site.spec, site.trust.federation_id)
    except RefusedError:
        raise
    except FederatedFactoryError as error:
        raise RefusedError(error.message) from error
    return card


def _check_card(card: Card, publication: Publication, site: Site) -> None:
    spec = site.spec
    expected = {
        "federation_id": site.trust.federation_id,
        "site_id": publication.site_id,
        "class_name": publication.class_name,
        "class_index": spec.class_index(publication.class_name),
        "image": spec.image,
    }
    for key, value in expected.items():
        found = getattr(card, key)
        if found != value:
            raise RefusedError(f"card.json says {key} is {_short(found)}, not {_short(value)}")


def _short(value: object) -> str:
    plain = value.model_dump() if hasattr(value, "model_dump") else value
    return json.dumps(plain)[:80]
