"""The server's certificate in a running server: new connections get the newest one on the disk.

gRPC asks before every handshake; running connections stay as they are. So a certificate renewed by
hand, by `serve` itself or by another replica over the same home needs no restart. The roots that
clients' certificates are checked against are exchanged with it.
"""

import contextlib
import datetime as dt
import logging
import threading
from collections.abc import Callable
from typing import Any

import grpc

import ff_protocol.tls  # noqa: F401  (before grpc: it sets what gRPC reads once)
from coordinator.authority import renew_server_certificate
from coordinator.home import CoordinatorHome
from coordinator.metrics import Metrics
from ff_protocol.certificates import Credential, Purpose, chain_to_pem, key_to_pem
from ff_protocol.clock import utc_now
from ff_protocol.errors import FederatedFactoryError, UntrustedError
from ff_protocol.names import Role

LOG = logging.getLogger("coordinator.server")


class ServerCertificate:
    """What the server shows in handshakes."""

    def __init__(
        self,
        home: CoordinatorHome,
        metrics: Metrics,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        """Load, and renew if the end is near.

        Raises:
            NotReadyError, UntrustedError: there is none that can be used.
        """
        self._home = home
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        renew_server_certificate(home, clock())
        self._stamp = self._read_stamp()
        self._current = self._load()
        self._given = self._current  # what gRPC shows, which asks only in a handshake

    def credentials(self) -> Any:
        """Return gRPC's server credentials: both sides authenticated, certificate exchangeable."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._fetch, require_client_authentication=True
        )

    def renew(self) -> None:
        """Renew the certificate on the disk if its end is near."""
        try:
            renew_server_certificate(self._home, self._clock())
        except FederatedFactoryError as error:
            LOG.warning("the server's certificate cannot be renewed", extra=_reason(error))

    def reload(self) -> bool:
        """Take the certificate on the disk if it is another one and can be used; True if taken."""
        with self._lock:
            stamp = self._read_stamp()
            if stamp == self._stamp:
                return False
            # A pair that is being written, or a wrong one, is not tried at every handshake again.
            self._stamp = stamp
            try:
                self._current = self._load()
            except FederatedFactoryError as error:
                LOG.warning("the new certificate is not used", extra=_reason(error))
                return False
        LOG.info("certificate reloaded, valid until %s", self.until)
        return True

    @property
    def until(self) -> dt.datetime:
        """End of validity."""
        return self._current.leaf.not_valid_after_utc

    def _fetch(self) -> Any:
        # Exceptions would close the connection that is being opened.
        with contextlib.suppress(OSError):
            self.reload()
        with self._lock:
            if self._current is self._given:
                return None
            self._given = self._current
            return self._configuration()

    def _configuration(self) -> Any:
        pair = key_to_pem(self._current.key), chain_to_pem(self._current.chain)
        return grpc.ssl_server_certificate_configuration(
            [pair], root_certificates=self._home.trust().pem
        )

    def _load(self) -> Credential:
        credential, trust = self._home.credential("server"), self._home.trust()
        trust.verify(credential.chain, Purpose.TLS_SERVER, Role.COORDINATOR, at=self._clock())
        if credential.key.public_key() != credential.leaf.public_key():
            raise UntrustedError("the server's certificate is for another key than server/tls.key")
        issuing = self._home.credential("issuing").until
        self._metrics.certificates(
            (
                ("server", credential.leaf.not_valid_after_utc),
                ("issuing", issuing),
                ("root", trust.certificate.not_valid_after_utc),
            )
        )
        return credential

    def _read_stamp(self) -> tuple[tuple[int, int], ...]:
        home = self._home
        files = home.key("server"), home.certificate("server"), home.root_certificate
        states = [path.stat() for path in files]
        return tuple((state.st_mtime_ns, state.st_ino) for state in states)


def _reason(error: FederatedFactoryError) -> dict[str, str]:
    return {"reason": f"{error.error_code}: {error.message}"}
