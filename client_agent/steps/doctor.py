"""Examine everything between this site and its coordinator, from the disk to the clock."""

from client_agent.doctor.findings import Finding
from client_agent.doctor.network import examine_way
from client_agent.doctor.site import (
    examine_certificates,
    examine_coordinator,
    examine_disk,
    examine_sandbox,
)
from client_agent.relay.proxy import parse_proxy
from client_agent.site import Site
from ff_protocol.errors import FederatedFactoryError


def examine(site: Site) -> tuple[Finding, ...]:
    """Return the findings in the order in which they were made.

    The way to the coordinator is followed until the first fault on it: what lies behind is not
    guessed at. This machine's disk, certificates and sandbox are looked at in any case.
    """
    findings = [examine_disk(site), examine_certificates(site), examine_sandbox()]
    identity = site.identity
    try:
        proxy = parse_proxy(identity.proxy) if identity.proxy else None
        findings += examine_way(identity.endpoint, identity.server_name, proxy, site.trust)
    except FederatedFactoryError as error:
        findings.append(Finding("name", False, f"site.yaml: {error.message}", error.hint or ""))
    if all(finding.ok or finding.check == "sandbox" for finding in findings):
        findings += examine_coordinator(site)
    return tuple(findings)
