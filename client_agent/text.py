"""Lines for people on a terminal: wrapped at words, marked, with short digests and bars.

Into a pipe lines go as they are: one line each, no colour, for `grep` and logs.
"""

import re
import shutil
import sys
import textwrap

_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_BLOCKS = " ▏▎▍▌▋▊▉█"


def say(text: str, *, indent: int = 0, good: bool | None = None) -> None:
    """Print a line on standard output; on a terminal it is wrapped, later lines indented.

    Args:
        text: the line.
        indent: of the lines after the first.
        good: colours the first word green or red where the terminal takes colour.
    """
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        text = textwrap.fill(
            text,
            max(width, indent + 20),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if good is not None:
            text = _coloured(text, good=good)
    print(text)


def _coloured(text: str, *, good: bool) -> str:
    from rich.console import Console

    if Console().no_color:
        return text
    word, gap, rest = text.partition(" ")
    return f"\N{ESCAPE}[{'32' if good else '1;31'}m{word}\N{ESCAPE}[0m{gap}{rest}"


def bar(share: float, width: int = 20) -> str:
    """Return a bar of `width` characters for a share of 0 to 1, in steps of an eighth."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_BLOCKS[rest] if rest else "")).ljust(width)


def shorten_digests(text: str) -> str:
    """Cut every SHA-256 in a text to its first twelve digits."""
    return _DIGEST.sub(r"\1", text)
