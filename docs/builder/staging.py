"""Copy docs/ to where the site is built from.

On a forge, pages link to files of the repository beside docs/; a site holds docs/ alone. So each
such file gets a page of its own here, under `source/`, and the link leads there.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

SOURCES = "source"
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".proto": "protobuf"}


class StagingError(Exception):
    """A link leads nowhere."""


def outside_code(text: str) -> Iterator[tuple[str, bool]]:
    """Cut Markdown into pieces, each with whether it is prose; joined they are the text."""
    end = 0
    for match in _CODE.finditer(text):
        yield text[end : match.start()], True
        yield match[0], False
        end = match.end()
    yield text[end:], True


def links(text: str) -> Iterator[tuple[str, str]]:
    """Yield the local links of a page: path, which is "" for the page itself, and anchor."""
    for piece, prose in outside_code(text):
        if prose:
            for target in re.findall(r"\]\(([^)\s]+)\)", piece):
                if not re.match(r"[a-z]+:", target):
                    path, _, anchor = target.partition("#")
                    yield path, anchor


def stage(root: Path, staged: Path) -> None:
    """Make `staged` anew from `root`/docs.

    Raises:
        StagingError: a link leads nowhere, or to a folder beside docs/, which has no page.
    """
    docs = root / "docs"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(docs, staged, ignore=shutil.ignore_patterns("builder", "__pycache__"))
    shutil.copytree(docs / "builder" / "theme", staged / "theme")
    shown: set[Path] = set()
    for page in sorted(staged.rglob("*.md")):
        original = docs / page.relative_to(staged)
        pieces = outside_code(original.read_text())
        page.write_text(
            "".join(
                _moved(text, original, root, shown) if prose else text for text, prose in pieces
            )
        )
    for path in sorted(shown):
        page = staged / SOURCES / f"{path.relative_to(root)}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_source_page(path, root))


def _moved(prose: str, page: Path, root: Path, shown: set[Path]) -> str:
    """Return prose whose links out of docs/ lead to pages of their own, which join `shown`."""

    def moved(match: re.Match[str]) -> str:
        start, target, anchor, end = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = (page.parent / target).resolve()
        if not path.exists() or not path.is_relative_to(root):
            raise StagingError(f"{page.relative_to(root)}: no such file: {target}")
        if path.is_relative_to(root / "docs"):
            return match[0]
        if path.is_dir():
            raise StagingError(f"{page.relative_to(root)}: {target} is a folder; link to a file")
        shown.add(path)
        place = root / "docs" / SOURCES / f"{path.relative_to(root)}.md"
        return f"{start}{os.path.relpath(place, page.parent)}{anchor or ''}{end}"

    return _LINK.sub(moved, prose)


def _source_page(path: Path, root: Path) -> str:
    name, language = path.relative_to(root), _LANGUAGES.get(path.suffix, "text")
    head = "---\nsearch:\n  exclude: true\n---\n"
    return f"{head}\n# {name}\n\n````{language}\n{path.read_text().rstrip()}\n````\n"
