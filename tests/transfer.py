"""Sending or fetching a module as a process of its own: to be killed, starved and weighed.

python -m tests.transfer send|fetch ENDPOINT FOLDER MODULE [PATIENCE]

FOLDER holds what `write_credentials` wrote; MODULE is the module's folder, or where it goes to.
Prints one JSON document.
"""

import base64
import json
import sys
from pathlib import Path

from client_agent.relay.channel import connect
from client_agent.relay.client import RelayClient
from client_agent.relay.retrying import Attempts
from ff_protocol import dsse
from ff_protocol.certificates import (
    Credential,
    chain_from_pem,
    chain_to_pem,
    key_from_pem,
    key_to_pem,
)
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.manifest import describe_module
from ff_protocol.names import Role
from ff_protocol.statements import PUBLICATION, read_publication
from ff_protocol.trust import TrustRoot


def write_credentials(folder: Path, member, envelope: bytes) -> Path:  # type: ignore[no-untyped-def]
    """Write what the process needs to speak as `member` about one publication."""
    folder.mkdir(exist_ok=True)
    (folder / "root.pem").write_bytes(chain_to_pem((member.trust.certificate,)))
    (folder / "federation").write_text(member.trust.federation_id)
    (folder / "tls.pem").write_bytes(chain_to_pem(member.tls.chain))
    (folder / "tls.key").write_bytes(key_to_pem(member.tls.key))
    (folder / "publication.dsse").write_bytes(envelope)
    return folder


def read_credentials(folder: Path) -> tuple[TrustRoot, Credential]:
    """Read what `write_credentials` wrote."""
    (root,) = chain_from_pem((folder / "root.pem").read_bytes())
    trust = TrustRoot(root, (folder / "federation").read_text())
    key = key_from_pem((folder / "tls.key").read_bytes())
    return trust, Credential(key, chain_from_pem((folder / "tls.pem").read_bytes()))


def peak_bytes() -> int:
    """Largest resident set of this program. (ru_maxrss would count its parent's before exec.)"""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main(action: str, endpoint: str, folder: Path, module: Path, patience: float) -> int:
    trust, credential = read_credentials(folder)
    envelope = (folder / "publication.dsse").read_bytes()
    attempts = Attempts(patience_seconds=patience)
    document: dict[str, object] = {}
    code = 0
    try:
        with connect(endpoint, None, trust, credential, attempts=attempts) as client:
            if action == "send":
                digest, entries = describe_module(module)
                result = client.send_module(module, envelope, entries)
                document |= {"chunks": result.chunks_sent, "digest": digest}
            else:
                payload = dsse.verify(envelope, trust, (Role.SITE,), at=utc_now())
                publication = read_publication(payload, max_module_bytes=8 << 30)
                client.fetch_files(publication, module)
            document |= {"sent": client.bytes_sent, "received": client.bytes_received}
    except FederatedFactoryError as error:
        document |= {"error": error.error_code, "message": error.message}
        code = int(error.exit_code)
    document["peak_bytes"] = peak_bytes()
    document["heavy"] = sorted({"torch", "numpy", "onnxruntime"} & set(sys.modules))
    print(json.dumps(document))
    return code


def listed_publications(client: RelayClient) -> list[bytes]:
    """Return the publications that a coordinator lists; it sends the authority's word, too."""
    return [envelope for envelope in client.list_statements(set()) if is_publication(envelope)]


def is_publication(envelope: bytes) -> bool:
    """Say whether an envelope holds a publication."""
    payload = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    return bool(payload["predicateType"] == PUBLICATION)


if __name__ == "__main__":
    action, endpoint, folder, module, *rest = sys.argv[1:]
    sys.exit(main(action, endpoint, Path(folder), Path(module), float(rest[0]) if rest else 60.0))
