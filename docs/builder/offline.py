"""What a page would fetch from elsewhere: hospitals read the site without a network."""

import re
from html.parser import HTMLParser
from pathlib import Path

_FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
_NOT_FETCHED = {"canonical", "prev", "next", "author", "license"}
_IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s;]+)")


class _Resources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(_FETCHED.get(tag, "")) or ""
        kinds = set((values.get("rel") or "").split())
        if address.startswith(("http:", "https:", "//")) and not kinds & _NOT_FETCHED:
            self.foreign.append(address)


def foreign_in_page(html: str) -> list[str]:
    """Return the addresses of other machines that a browser would fetch to show a page."""
    parser = _Resources()
    parser.feed(html)
    return parser.foreign


def foreign_in_styles(css: str) -> list[str]:
    """Return the same of a style sheet."""
    return _IN_STYLES.findall(css)


def foreign_resources(site: Path) -> list[str]:
    """Return them of a whole site, each with the file that asks for it."""
    found = []
    for suffix, look in (("html", foreign_in_page), ("css", foreign_in_styles)):
        for path in sorted(site.rglob(f"*.{suffix}")):
            name = path.relative_to(site)
            found += [f"{name}: {address}" for address in look(path.read_text(errors="replace"))]
    return found
