"""`ff-coordinator spec`: what all sites agree on, and its next revision."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("spec")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--check", is_flag=True, help="Say what FILE would change; publish nothing.")
def command(home: "CoordinatorHome", console: Console, file: Path | None, check: bool) -> None:
    """Show the federation spec in force, or publish FILE (YAML) as its next revision.

    It is signed, numbered and bound to the revision before; no server has to be told. Sites take a
    class more or a raised limit by themselves; everything else waits for their admins. See
    docs/upgrading.md before an image size or a preset is changed.
    """
    from coordinator import capabilities, spec_book
    from coordinator.errors import UsageError
    from coordinator.member_list import keep_signed
    from coordinator.root_changes import follow_store
    from coordinator.store import open_store
    from coordinator.store_format import check_store, note_revisions
    from ff_protocol.clock import utc_now
    from ff_protocol.spec import read_spec

    if check and file is None:
        raise UsageError("--check needs a FILE")
    store, now = open_store(home), utc_now()
    check_store(store)
    follow_store(home, store, now)
    book = spec_book.SpecBook(store, home.trust())
    if file is None:
        held = book.newest().revision
        _show(console, held.number, held.digest, ())
        return
    spec = read_spec(file)
    lacking = {
        site: item.lacks(spec)
        for site, item in capabilities.told(store, home.trust(), now).items()
        if item.lacks(spec)
    }
    if check:
        changes = spec_book.preview(book, spec)
        number, digest = book.newest().revision.number + 1, ""
    else:
        note_revisions(store)
        revision, changes = spec_book.publish(home, store, spec, now)
        keep_signed(home, store, now)
        number, digest = revision.number, revision.digest
    _show(
        console,
        number,
        digest,
        (
            *(f"{'additive' if item.additive else 'asks    '}  {item.text}" for item in changes),
            *(f"{site} lacks {', '.join(items)}" for site, items in sorted(lacking.items())),
        ),
        published=not check,
        lacking={site: list(items) for site, items in lacking.items()},
        additive=all(item.additive for item in changes),
    )


def _show(
    console: Console, number: int, digest: str, lines: tuple[str, ...], **more: object
) -> None:
    verb = {None: "Revision", True: "Published revision", False: "Would be revision"}
    published = more.get("published")
    console.result(
        {"revision": number, "statement": digest, "changes": list(lines), **more},
        (
            f"{verb[published if isinstance(published, bool) else None]} {number} of the "
            f"federation spec{'' if not digest else f' ({digest[:16]})'}",
            *lines,
        ),
    )
