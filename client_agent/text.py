"""Lines for people on a terminal: wrapped at words, marked, with short digests and bars.

Into a pipe lines go as they are: one line each, no colour, for `grep` and logs.
"""

import re
import shutil
import sys
import textwrap

_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_BLOCKS = " ▏▎▍▌▋▊▉█"


def say(text: str, *, indent: int = 0) -> None:
    """Print a line on standard output; on a terminal it is wrapped, later lines indented."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        text = textwrap.fill(
            text,
            max(width, indent + 20),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    print(text)


def mark(word: str, *, good: bool) -> str:
    """Return a word in green or red where standard output is a terminal that takes colour."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal or console.no_color:
        return word
    return f"\N{ESCAPE}[{'32' if good else '1;31'}m{word}\N{ESCAPE}[0m"


def bar(share: float, width: int = 20) -> str:
    """Return a bar of `width` characters for a share of 0 to 1, in steps of an eighth."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_BLOCKS[rest] if rest else "")).ljust(width)


def shorten_digests(text: str) -> str:
    """Cut every SHA-256 in a text to its first twelve digits."""
    return _DIGEST.sub(r"\1", text)
