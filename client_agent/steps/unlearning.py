"""The end of an unlearning: a signed certificate of what is left, then the note is removed."""

from pathlib import Path

from client_agent.registry.forgetting import Pending
from client_agent.site import Site
from ff_protocol import canonical, dsse
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import sync_folder, write_atomically
from ff_protocol.unlearning import Rebuilt, Unlearning, build_unlearning


def certify_unlearning(site: Site, pending: Pending, after: Rebuilt | None) -> Path:
    """Write the certificate that `pending` is done.

    Args:
        site: who certifies; its signing key signs.
        pending: what was to be forgotten, and the state before.
        after: data set and classifier now in use, None if there is no classifier.

    Returns:
        The certificate's path; its name is derived from the modules, so a rerun replaces it.
    """
    unlearning = Unlearning(
        federation_id=site.trust.federation_id,
        site_id=site.site_id,
        modules=pending.modules,
        statements=pending.statements,
        root_before=pending.root_before,
        classifier_before=pending.classifier_before,
        after=after,
        certified_at=timestamp(utc_now()),
    )
    envelope = dsse.sign(build_unlearning(unlearning), site.credential("signing"))
    name = canonical.sha256_hex("".join(pending.modules).encode())[:16]
    path = site.home.unlearning_certificates / f"{name}.dsse"
    write_atomically(path, envelope)
    site.log.append("unlearned", modules=list(pending.modules), certificate=path.name)
    site.home.pending_unlearning.unlink(missing_ok=True)
    sync_folder(site.home.root)
    return path
