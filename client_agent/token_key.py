"""A signing key in a token: a smart card, an HSM or SoftHSM, through PKCS#11.

The key is named by a URI (RFC 7512) in `keys/signing.uri` in the place of a key file; the token's
PIN comes from where a passphrase comes from. The key is used where it is and cannot leave the
token. python-pkcs11 (MIT) is an optional dependency; model-signing's own PKCS#11 signer rests on
PyKCS11, which is GPL. A TLS key cannot be in a token: gRPC for Python wants its bytes.
"""

from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote_to_bytes

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from client_agent.errors import IdentityError, NotReadyError, UsageError
from ff_protocol.errors import PassphraseError
from ff_protocol.passphrase import Passphrase

_SCHEME = "pkcs11:"
_EXAMPLE = "for example pkcs11:token=ff;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so"
_COORDINATE_BYTES = 32
_POINT_BYTES = 1 + 2 * _COORDINATE_BYTES
_open: dict[str, "TokenKey"] = {}
_sessions: dict[tuple[str, str], Any] = {}
"""A process logs in to a token once: the PIN is asked for once, and tried once."""


@dataclass(frozen=True)
class TokenUri:
    """Which key: the token's label, the key's label or id, and the library that reaches it."""

    token: str
    label: str | None
    key_id: bytes | None
    module: str


class TokenKey(ec.EllipticCurvePrivateKey):
    """An ECDSA P-256 key that signs in its token and shows its public half only."""

    def __init__(self, handle: Any, public: ec.EllipticCurvePublicKey) -> None:
        self._handle = handle
        self._public = public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign as ECDSA with SHA-256; return the signature in DER."""
        from pkcs11 import Mechanism

        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise ValueError("signatures here are ECDSA with SHA-256")
        digest = hashes.Hash(hashes.SHA256())
        digest.update(data)
        # CKM_ECDSA takes the digest and returns r and s side by side; every token has it.
        raw = bytes(self._handle.sign(digest.finalize(), mechanism=Mechanism.ECDSA))
        r, s = raw[:_COORDINATE_BYTES], raw[_COORDINATE_BYTES:]
        return utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public half."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def exchange(self, *arguments: Any) -> NoReturn:
        """Not for this."""
        raise TypeError("a signing key in a token signs")

    def private_numbers(self) -> NoReturn:
        """It cannot leave the token."""
        raise TypeError("a key in a token cannot be read")

    def private_bytes(self, *arguments: Any) -> NoReturn:
        """It cannot leave the token."""
        raise TypeError("a key in a token cannot be read")

    def __copy__(self) -> "TokenKey":
        return self

    def __deepcopy__(self, memo: Any) -> "TokenKey":
        return self


def parse_uri(text: str) -> TokenUri:
    """Parse a PKCS#11 URI (RFC 7512) with `token`, `object` or `id`, and `module-path`.

    Raises:
        UsageError: something is missing, unknown, or a PIN stands in it.
    """
    if not text.startswith(_SCHEME):
        raise UsageError(f"{text[:80]!r} is not a PKCS#11 URI", hint=_EXAMPLE)
    path, _, query = text.removeprefix(_SCHEME).partition("?")
    pairs = (part.partition("=") for part in path.split(";") if part)
    values = {name: unquote_to_bytes(value) for name, _, value in pairs}
    options = {name: items[0] for name, items in parse_qs(query, separator="&").items()}
    if "pin-value" in options or "pin-source" in options:
        raise UsageError(
            "a PIN does not belong in the URI",
            hint="give it like a passphrase: --passphrase-file, FF_PASSPHRASE or a terminal",
        )
    unknown = (set(values) - {"token", "object", "id", "type"}) | (set(options) - {"module-path"})
    wanted = "token" in values and "module-path" in options and {"object", "id"} & set(values)
    if unknown or not wanted:
        raise UsageError(
            "a key's URI has token, object or id, and module-path"
            + (f"; not {', '.join(sorted(unknown))}" if unknown else ""),
            hint=_EXAMPLE,
        )
    label = values.get("object")
    return TokenUri(
        token=values["token"].decode(errors="replace"),
        label=None if label is None else label.decode(errors="replace"),
        key_id=values.get("id"),
        module=options["module-path"],
    )


def open_token_key(text: str, pin: Passphrase) -> TokenKey:
    """Find a key in its token and open a session for this process.

    Args:
        text: the URI.
        pin: where the token's PIN comes from.

    Raises:
        UsageError: not such a URI.
        NotReadyError: python-pkcs11, the token's library, the token or the key is not there.
        PassphraseError: the PIN is missing, wrong or locked.
        IdentityError: the key is not ECDSA P-256.
    """
    if text not in _open:
        _open[text] = _find(parse_uri(text), pin)
    return _open[text]


def _session(uri: TokenUri, pin: Passphrase) -> Any:
    import pkcs11

    place = (uri.module, uri.token)
    if place not in _sessions:
        token = pkcs11.lib(uri.module).get_token(token_label=uri.token)
        _sessions[place] = token.open(user_pin=pin.required("PIN of the token: ").decode())
    return _sessions[place]


def _find(uri: TokenUri, pin: Passphrase) -> TokenKey:
    try:
        import pkcs11
    except ImportError as error:
        raise NotReadyError(
            "keys in tokens need python-pkcs11", hint="pip install 'federated-factory[pkcs11]'"
        ) from error
    try:
        session = _session(uri, pin)
        which = {"label": uri.label, "id": uri.key_id}
        chosen: dict[str, Any] = {name: value for name, value in which.items() if value is not None}
        handle = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, **chosen)
        public = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, **chosen)
        point = bytes(public[pkcs11.Attribute.EC_POINT])
    except (pkcs11.exceptions.PinIncorrect, pkcs11.exceptions.PinLocked) as error:
        locked = isinstance(error, pkcs11.exceptions.PinLocked)
        raise PassphraseError(
            f"the PIN of the token {uri.token!r} is {'locked' if locked else 'wrong'}",
            hint="tokens lock themselves after a few wrong ones",
        ) from error
    except pkcs11.exceptions.PKCS11Error as error:
        raise NotReadyError(
            f"the signing key {uri.label or 'named'} in token {uri.token!r} cannot be used: "
            f"{type(error).__name__}",
            hint=f"check keys/signing.uri, the token and {uri.module}",
        ) from error
    except (OSError, RuntimeError) as error:
        raise NotReadyError(f"cannot load {uri.module}: {error}") from error
    try:
        # CKA_EC_POINT is the point in a DER octet string; some tokens leave that out.
        return TokenKey(
            handle,
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point[-_POINT_BYTES:]),
        )
    except ValueError as error:
        raise IdentityError(f"the key in token {uri.token!r} is not ECDSA P-256") from error
