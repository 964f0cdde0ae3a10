"""Pages in headless Chromium: what it complains of, what it shows, what it prints."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)


def chromium() -> str | None:
    """Where Chromium is, None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def console_messages(page: Path) -> list[str]:
    """What the page writes to the browser's console; blocked or missing resources among it."""
    return _run(page, "--dump-dom")


def screenshot(page: Path, path: Path, *, dark: bool) -> tuple[np.ndarray, list[str]]:
    """The first screen as uint8 [H, W, 3], and the console's messages."""
    from PIL import Image

    scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    messages = _run(page, f"--screenshot={path}", "--window-size=1180,900", *scheme)
    return np.asarray(Image.open(path).convert("RGB")), messages


def pdf(page: Path, path: Path) -> bytes:
    """The page as it prints."""
    _run(page, f"--print-to-pdf={path}", "--no-pdf-header-footer")
    return path.read_bytes()


def _run(page: Path, *arguments: str) -> list[str]:
    program = chromium()
    assert program is not None
    # The browser leaves helpers behind that may still write into its folder.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [program, *_FLAGS, f"--user-data-dir={profile}", *arguments, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    return re.findall(r"CONSOLE[^\]]*\] (.*)", done.stderr)
