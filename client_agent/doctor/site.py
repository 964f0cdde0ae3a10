"""What can be wrong on this machine (disk, certificates, sandbox) and what the coordinator says."""

import shutil
import time
from collections.abc import Iterator

from client_agent.credentials import PURPOSES
from client_agent.doctor.findings import Check, Finding
from client_agent.errors import IdentityError, NetworkError, ResourceError
from client_agent.relay.connection import open_relay
from client_agent.sandbox.layers import keeps_everything_in, layers_in_force, missing
from client_agent.site import Site
from ff_protocol.certificates import renewal_due
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import StorageError, write_atomically
from ff_protocol.limits import MIB
from ff_protocol.names import Role

CLOCK_SECONDS = 120
_JOIN_AGAIN = (
    "ask the coordinator's operator for a new invitation (ff-coordinator invite SITE), then: "
    "ff-agent renew --invitation FILE"
)


def examine_disk(site: Site) -> Finding:
    """Write, and compare the space left with the largest module that may come."""
    probe = site.home.root / ".doctor"
    try:
        write_atomically(probe, bytes(MIB))
        probe.unlink()
    except (StorageError, OSError) as error:
        return Finding("disk", False, str(error), f"free space in {site.home.root}")
    free = shutil.disk_usage(site.home.root).free
    need = site.spec.policy.max_module_bytes
    found = f"{free / 1e9:.1f} GB free in {site.home.root}"
    if free < need:
        return Finding(
            "disk", False, f"{found}, a module may have {need / 1e9:.1f} GB", "free space"
        )
    return Finding("disk", True, found)


def examine_certificates(site: Site) -> Finding:
    """Check this site's keys and certificates, and the clock against their dates."""
    now = utc_now()
    ends = []
    for name in ("tls", "signing"):
        mode = site.home.key(name).stat().st_mode if site.home.key(name).exists() else 0
        if mode & 0o077:
            return Finding(
                "certificate",
                False,
                f"{site.home.key(name)} can be read by others",
                f"chmod 600 {site.home.key(name)}",
            )
        try:
            credential = site.credential(name)
            begins = credential.leaf.not_valid_before_utc
            if now < begins:
                return Finding(
                    "clock",
                    False,
                    f"this machine's clock says {timestamp(now)}, its {name} certificate was made "
                    f"at {timestamp(begins)}",
                    "set this machine's clock (NTP)",
                )
            identity = site.trust.verify(credential.chain, PURPOSES[name], Role.SITE, at=now)
        except FederatedFactoryError as error:
            return Finding("certificate", False, f"{name}: {error.message}", _JOIN_AGAIN)
        same_key = credential.leaf.public_key() == credential.key.public_key()
        if identity.site_id != site.site_id or not same_key:
            found = f"the {name} certificate is not for this site's key"
            return Finding("certificate", False, found, _JOIN_AGAIN)
        end = credential.leaf.not_valid_after_utc
        due = ", due for renewal" if renewal_due(credential.leaf, now) else ""
        ends.append(f"{name} {(end - now).days} days, until {timestamp(end)}{due}")
    return Finding("certificate", True, f"this site's certificates hold: {'; '.join(ends)}")


def examine_sandbox() -> Finding:
    """Start a process as foreign modules run in, and list what confines it."""
    try:
        in_force = layers_in_force()
    except ResourceError as error:
        return Finding("sandbox", False, error.message, "free memory, or mend the installation")
    found = f"modules are confined by {', '.join(sorted(in_force)) or 'nothing'}"
    lacking = missing()
    if lacking:
        found += f"; this machine lacks {'; '.join(lacking)}"
    if keeps_everything_in(in_force):
        return Finding("sandbox", True, found)
    return Finding("sandbox", False, found, "run the agent on Linux with landlock or seccomp")


def examine_coordinator(site: Site) -> Iterator[Finding]:
    """Ask the coordinator as a member: may this site speak, same version, same time?"""
    try:
        before = time.time()
        with open_relay(site) as relay:
            before = time.time()
            federation = relay.get_federation()
            after = time.time()
    except IdentityError as error:
        yield Finding("permission", False, error.message, _JOIN_AGAIN)
        return
    except NetworkError as error:
        yield _fault(error)
        return
    yield Finding("permission", True, f"the coordinator knows {site.site_id}")
    yield Finding("version", True, f"protocol version {federation.protocol_version}")
    off = federation.server_time - (before + after) / 2
    if abs(off) > CLOCK_SECONDS:
        direction = "behind" if off > 0 else "ahead of"
        yield Finding(
            "clock",
            False,
            f"this machine's clock is {abs(off):.0f} s {direction} the coordinator's",
            "set this machine's clock (NTP), or ask the coordinator's operator to set theirs",
        )
    else:
        yield Finding("clock", True, f"the clocks differ by {abs(off):.0f} s")


def _fault(error: NetworkError) -> Finding:
    """A connection that TLS has found in order, and that the coordinator ends all the same."""
    words = error.message
    check: Check = "version" if "version" in words and "protocol" in words else "permission"
    return Finding(check, False, words, error.hint or "ask the coordinator's operator")
