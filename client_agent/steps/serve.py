"""Keep a site in step with its federation for as long as it is wanted (client_agent/service)."""

import contextlib

from client_agent.home import Home
from client_agent.service.loop import Service
from client_agent.service.notify import ServiceManager
from client_agent.service.record import claim
from client_agent.service.settings import Settings
from client_agent.site import open_site
from ff_protocol.errors import PassphraseError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MAX_CERTIFICATE_BYTES


def serve(home: Home, settings: Settings, manager: ServiceManager | None = None) -> None:
    """Keep a site in step until Ctrl-C or SIGTERM, which is the ordinary end.

    Args:
        home: of the site.
        settings: what may be done, and when.
        manager: who watches this process; None: whoever the environment names.

    Raises:
        UsageError: a service runs for this home already.
        NotReadyError: the home has not joined a federation.
        PassphraseError: the keys are encrypted, and no file or variable gives the passphrase.
        IdentityError, SpecError: what waiting cannot mend: the site was expelled, its certificate
            has expired, a configuration breaks its schema.
    """
    with contextlib.suppress(KeyboardInterrupt):
        _check_passphrase(open_site(home).home)
        with claim(home):
            service = Service(home, settings, manager or ServiceManager())
            try:
                service.run()
            finally:
                service.close()


def _check_passphrase(home: Home) -> None:
    """Make sure that nobody will have to be asked at night."""
    from ff_protocol.key_encryption import is_encrypted

    paths = [path for path in (home.key("tls"), home.key("signing")) if path.exists()]
    keys = [read_bounded(path, MAX_CERTIFICATE_BYTES, "key") for path in paths]
    if any(is_encrypted(key) for key in keys) and home.passphrase.given() is None:
        raise PassphraseError(
            "the private keys are encrypted, and a service can ask nobody for their passphrase",
            hint="give --passphrase-file FILE, or FF_PASSPHRASE",
        )
