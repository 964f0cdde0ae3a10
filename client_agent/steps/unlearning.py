"""The end of an unlearning: a signed certificate of what is left, then the note is removed."""

from pathlib import Path
from typing import Any

from client_agent.registry.forgetting import Pending
from client_agent.site import Site
from ff_protocol import canonical, dsse
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.files import sync_folder, write_atomically
from ff_protocol.statements import build_unlearning


def certify_unlearning(site: Site, pending: Pending, after: dict[str, Any] | None) -> Path:
    """Write the certificate that `pending` is done.

    Args:
        site: who certifies; its signing key signs.
        pending: what was to be forgotten, and the state before.
        after: the fit record of the classifier now in use, None if there is none.

    Returns:
        The certificate's path; its name is derived from the modules, so a rerun replaces it.
    """
    predicate = {
        "federation": site.trust.federation_id,
        "site": site.site_id,
        "statements": list(pending.statements),
        "before": {"dataset_root": pending.root_before, "classifier": pending.classifier_before},
        "after": None
        if after is None
        else {
            "dataset_root": after["dataset_root"],
            "classifier": after["classifier"],
            "classes": list(after["classes"]),
            "modules": list(after["modules"]),
            "reproducibility": after["reproducibility"],
        },
        "certified_at": timestamp(utc_now()),
    }
    envelope = dsse.sign(build_unlearning(pending.modules, predicate), site.credential("signing"))
    name = canonical.sha256_hex("".join(pending.modules).encode())[:16]
    path = site.home.unlearning_certificates / f"{name}.dsse"
    write_atomically(path, envelope)
    site.log.append("unlearned", modules=list(pending.modules), certificate=path.name)
    site.home.pending_unlearning.unlink(missing_ok=True)
    sync_folder(site.home.root)
    return path
