"""Where the passphrase of the private keys comes from: a file, the environment, or a prompt."""

import contextlib
import getpass
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ff_protocol.errors import MalformedError, PassphraseError
from ff_protocol.files import read_bounded, write_atomically
from ff_protocol.limits import KIB, MAX_CERTIFICATE_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

VARIABLE = "FF_PASSPHRASE"
NEW_VARIABLE = "FF_NEW_PASSPHRASE"
MIN_CHARACTERS = 8


@dataclass
class Passphrase:
    """The passphrase of one home's private keys, looked for when it is first needed.

    Attributes:
        file: what `--passphrase-file` names: its first line is the passphrase.
        variable: the environment variable that is taken otherwise.
    """

    file: Path | None = None
    variable: str = VARIABLE
    _value: bytes | None = field(default=None, repr=False)
    _keys: "dict[bytes, ec.EllipticCurvePrivateKey]" = field(default_factory=dict, repr=False)

    def given(self) -> bytes | None:
        """Return the passphrase if a file or the environment gives one; ask nobody.

        Raises:
            PassphraseError: the file cannot be read, or the passphrase is empty.
        """
        if self.file is not None:
            return self._from_file(self.file)
        text = os.environ.get(self.variable)
        return None if text is None else _checked(text.encode(), self.variable)

    def required(self, prompt: str = "Passphrase of the private keys: ") -> bytes:
        """Return the passphrase, from the terminal if nothing else gives one.

        Raises:
            PassphraseError: there is none and nobody to ask.
        """
        if self._value is None:
            self._value = self.given() or self._ask(prompt)
        return self._value

    def read_key(self, path: Path) -> "ec.EllipticCurvePrivateKey":
        """Load a private key, encrypted or not.

        Raises:
            PassphraseError: the passphrase is missing or wrong.
            MalformedError: not a private key.
            FileNotFoundError: there is none.
        """
        from ff_protocol.certificates import key_from_pem  # cryptography: not for --help
        from ff_protocol.key_encryption import is_encrypted

        pem = read_bounded(path, MAX_CERTIFICATE_BYTES, "key")
        if not is_encrypted(pem):
            return key_from_pem(pem)
        if pem not in self._keys:  # the derivation is slow on purpose
            self._keys[pem] = key_from_pem(pem, self.required())
        return self._keys[pem]

    def write_key(self, path: Path, key: "ec.EllipticCurvePrivateKey", *, like: Path) -> None:
        """Write a key with mode 0600, encrypted if `like` is; a first key if a passphrase is given.

        Args:
            path: where.
            key: what.
            like: a key of the same home that may exist already: it decides.
        """
        from ff_protocol.certificates import key_to_pem
        from ff_protocol.key_encryption import is_encrypted

        if not like.exists():
            phrase = self.given()
        elif is_encrypted(read_bounded(like, MAX_CERTIFICATE_BYTES, "key")):
            phrase = self.required()
        else:
            phrase = None
        write_atomically(path, key_to_pem(key, phrase), mode=0o600)

    def _ask(self, prompt: str) -> bytes:
        if not sys.stdin.isatty():
            raise PassphraseError(
                "a passphrase is needed, and none was given",
                hint=f"give --passphrase-file FILE, or {self.variable}, or run it in a terminal",
            )
        return _checked(getpass.getpass(prompt).encode(), "the terminal")

    def _from_file(self, path: Path) -> bytes:
        try:
            text = read_bounded(path, KIB, "passphrase file")
        except (OSError, MalformedError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise PassphraseError(f"cannot read the passphrase in {path}: {reason}") from error
        return _checked(text.partition(b"\n")[0].rstrip(b"\r"), str(path))


def change(paths: list[Path], old: Passphrase, new: bytes | None) -> int:
    """Encrypt keys under another passphrase, or none; return how many were changed.

    Safe to repeat after an interruption, which leaves each key under the old or the new one.

    Args:
        paths: key files; those that are missing are skipped.
        old: the passphrase in force.
        new: the next one; None leaves the keys unencrypted, 0600.

    Raises:
        PassphraseError: neither passphrase opens a key.
    """
    from ff_protocol.certificates import key_to_pem

    keys = {path: _open(path, old, new) for path in paths if path.exists()}
    for path, key in keys.items():
        write_atomically(path, key_to_pem(key, new), mode=0o600)
    return len(keys)


def check_strength(phrase: bytes) -> bytes:
    """Return a new passphrase if it is long enough.

    Raises:
        PassphraseError: it is not.
    """
    if len(phrase.decode(errors="replace")) < MIN_CHARACTERS:
        raise PassphraseError(f"a passphrase has at least {MIN_CHARACTERS} characters")
    return phrase


def _open(path: Path, old: Passphrase, new: bytes | None) -> "ec.EllipticCurvePrivateKey":
    from ff_protocol.certificates import key_from_pem
    from ff_protocol.key_encryption import is_encrypted

    pem = read_bounded(path, MAX_CERTIFICATE_BYTES, "key")
    if new is not None and is_encrypted(pem):
        # The ordinary case is that it is still under the old one.
        with contextlib.suppress(PassphraseError):
            return key_from_pem(pem, new)
    return old.read_key(path)


def _checked(value: bytes, source: str) -> bytes:
    if not value:
        raise PassphraseError(f"the passphrase in {source} is empty")
    return value


def act(action: str, paths: list[Path], old: Passphrase, new_file: Path | None) -> int:
    """Do what `passphrase --set`, `--change` or `--remove` say; return the number of keys.

    Args:
        action: `set`, `change` or `remove`.
        paths: places where keys may lie.
        old: the passphrase in force.
        new_file: what `--new-passphrase-file` names.

    Raises:
        PassphraseError: a passphrase is missing, wrong or too short, or there is one already.
    """
    if action == "set" and any(_encrypted(path) for path in paths):
        raise PassphraseError("the keys have a passphrase already", hint="change it with --change")
    if action == "remove":
        return change(paths, old, None)
    if action == "change":
        old.required()  # asked for first, as people expect
    following = Passphrase(new_file, NEW_VARIABLE)
    asked = following.given() is None
    phrase = check_strength(following.required("New passphrase: "))
    if asked and Passphrase(None, NEW_VARIABLE).required("The same again: ") != phrase:
        raise PassphraseError("the two new passphrases differ")
    return change(paths, old, phrase)


def _encrypted(path: Path) -> bool:
    from ff_protocol.key_encryption import is_encrypted

    return path.exists() and is_encrypted(read_bounded(path, MAX_CERTIFICATE_BYTES, "key"))
