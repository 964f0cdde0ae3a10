"""A real Orthanc server with DICOMweb over TLS and a password, filled by dcmtk's storescu.

TLS ends before Orthanc, as behind a hospital's reverse proxy: Debian 12's Orthanc 1.10.1 dies of a
segmentation fault at the first request over its own TLS.

Debian packages: orthanc, orthanc-dicomweb, dcmtk. Without them the tests that want it are skipped.
"""

import contextlib
import datetime
import ipaddress
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PLUGIN_FOLDERS = (Path("/usr/lib/orthanc"), Path("/usr/share/orthanc/plugins"))
USER, PASSWORD = "ff", "a secret"
_PATIENCE_SECONDS = 60.0

PROPOSALS = {
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}
"""storescu's option for each syntax that it would otherwise not send."""


@dataclass(frozen=True)
class Orthanc:
    """A running server."""

    https_port: int
    dicom_port: int
    certificate: Path

    @property
    def address(self) -> str:
        return f"dicomweb:https://127.0.0.1:{self.https_port}/dicom-web"

    def send(self, *files: Path, syntax: str = "") -> None:
        """Send as a modality would: C-STORE."""
        option = [PROPOSALS[syntax]] if syntax in PROPOSALS else []
        subprocess.run(
            ["storescu", *option, "127.0.0.1", str(self.dicom_port), *map(str, files)],
            check=True,
            capture_output=True,
        )


def missing() -> str | None:
    """Say what is not installed."""
    if shutil.which("Orthanc") is None:
        return "the Debian package orthanc is not installed"
    if _plugin() is None:
        return "the Debian package orthanc-dicomweb is not installed"
    return None if shutil.which("storescu") else "the Debian package dcmtk is not installed"


@contextlib.contextmanager
def run_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start a server with an empty store in `folder`; stop it at the end."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    certificate = folder / "certificate.pem"
    bundle = _self_signed(certificate)
    ports = _free_ports(2)
    settings = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": ports[0],
        "DicomPort": ports[1],
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(_plugin())],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log
        )
    try:
        for port in ports:
            _wait_for(port, process, folder / "log")
        with _tls_before(ports[0], bundle) as https_port:
            yield Orthanc(https_port, ports[1], certificate)
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextlib.contextmanager
def _tls_before(port: int, bundle: Path) -> Iterator[int]:
    """End TLS and pass the bytes on to `port`; yield the port to speak TLS to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, port), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:  # the end of the test
            return
        threading.Thread(target=_serve, args=(plain, context, port), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with (
        contextlib.suppress(OSError),
        plain,
        context.wrap_socket(plain, server_side=True) as front,
        socket.create_connection(("127.0.0.1", port)) as back,
    ):
        threading.Thread(target=_pump, args=(front, back), daemon=True).start()
        _pump(back, front)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _plugin() -> Path | None:
    found = [path for folder in PLUGIN_FOLDERS for path in folder.glob("libOrthancDicomWeb.so*")]
    return found[0] if found else None


def _self_signed(path: Path) -> Path:
    """Write a certificate for 127.0.0.1, and beside it one file with its key, as Orthanc wants."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "orthanc test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=12))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    path.write_bytes(pem)
    bundle = path.with_name("bundle.pem")
    bundle.touch(mode=0o600)
    bundle.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        + pem
    )
    return bundle


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"Orthanc did not start: {log.read_text()[-2000:]}")
