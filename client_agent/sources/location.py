"""What `--data` may name: a path, or a DICOMweb server."""

from pathlib import Path
from typing import TypeAlias

from client_agent.sources.dicomweb.address import SCHEME, DicomWebAddress, parse_address

Location: TypeAlias = Path | DicomWebAddress


def parse_location(text: str) -> Location:
    """Read a path or `dicomweb:https://...`.

    Raises:
        UsageError: an address that cannot be used.
    """
    return parse_address(text) if text.startswith(SCHEME) else Path(text)


def remembered(location: Location) -> str:
    """Return the text from which `parse_location` makes the same place from any folder."""
    return str(location.absolute() if isinstance(location, Path) else location)


def is_there(location: Location) -> bool:
    """Say whether a path exists; a server shows only when it is asked."""
    return not isinstance(location, Path) or location.exists()
