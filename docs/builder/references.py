"""Pages that are made from the code and kept in docs/reference/, so that a forge shows them too."""

from pathlib import Path

from client_agent.cli import main as agent
from coordinator.cli import main as coordinator
from docs.builder.commands import command_page
from docs.builder.configuration import configuration_page


def pages() -> dict[str, str]:
    """Return every page of docs/reference/ by its name."""
    return {
        "configuration.md": configuration_page(),
        "ff-agent.md": command_page("ff-agent", agent),
        "ff-coordinator.md": command_page("ff-coordinator", coordinator),
    }


def stale(root: Path) -> list[Path]:
    """Return the pages that are not what the code says."""
    found = [root / "docs" / "reference" / name for name in pages()]
    return [
        path
        for path, text in zip(found, pages().values(), strict=True)
        if not path.is_file() or path.read_text() != text
    ]


def write(root: Path) -> list[Path]:
    """Write all pages; return their paths."""
    folder = root / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
    return [folder / name for name in pages()]
