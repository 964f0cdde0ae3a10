"""Format 1 to 2: what every home needs that was made before formats were counted.

Programs of format 1 wrote cards of schema 1 or 2, classifiers with or without calibration, and
checkpoints of three kinds. What this program can use stays where it is, signed bytes above all.
What it cannot use is set aside, with the reason and what to do. Nothing here follows later changes
of those formats: it describes what format 2 was when it began.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from client_agent.errors import NotReadyError
from client_agent.upgrade.plan import Drop, Plan, SetAside, Write
from ff_protocol import __version__
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.files import read_bounded
from ff_protocol.limits import KIB, MAX_CARD_BYTES, MAX_ENVELOPE_BYTES, MAX_SPEC_BYTES, MIB
from ff_protocol.schema import load_yaml

_MODULES = ("outbox", "admitted", "waiting", "incoming")
_CARD_SCHEMA = 2
_CHECKPOINT = b"federated-factory/generator-checkpoint/3"
_FIT_KEYS = {"inputs", "modules", "samples", "losses", "state"}
_FIRST_REVISION = 1


def up(root: Path) -> Plan:
    """Look at a home of format 1; say what becomes of it.

    Raises:
        MalformedError: `site.yaml` is damaged.
    """
    modules = tuple(_old_modules(root))
    classifier = tuple(_classifier(root))
    old = {item.path for item in modules}
    return Plan(
        site_file=_site_file(root, 2),
        set_aside=(*modules, *classifier, *_checkpoints(root), *_refusals(root)),
        dropped=tuple(_shards(root, modules)),
        kept=tuple(path for path in _module_paths(root) if path not in old),
        to_do=tuple(_to_do(root, modules, bool(classifier))),
    )


def back(root: Path) -> Plan:
    """Look at a home of format 2 that was of format 1 before; say what goes back.

    Modules that came or were made since are set aside: a program of format 1 may not read them.

    Raises:
        NotReadyError: a later federation spec is in force than format 1 can hold.
    """
    if _adopted_revision(root) > _FIRST_REVISION:
        raise NotReadyError(
            "this site has adopted a later revision of the federation spec, which a home of "
            "format 1 cannot hold",
            hint="stay with this version of the program",
        )
    note = _json(root / "backups" / "format-1" / "note.json", MAX_ENVELOPE_BYTES) or {}
    there, aside = set(note.get("kept", ())), set(note.get("set_aside", ()))
    since = [
        SetAside(path, "it came after the upgrade")
        for path in _module_paths(root)
        if path not in there
    ]
    if "classifier" in aside and (root / "classifier").is_dir():
        since.append(SetAside("classifier", "it was made after the upgrade"))
    return Plan(site_file=_site_file(root, 1), set_aside=tuple(since))


def card_schema(card: Any) -> int | None:
    """Return the schema that a card states, None if it states none."""
    schema = card.get("schema_version") if isinstance(card, dict) else None
    return schema if type(schema) is int else None


def is_fit_record(record: Any) -> bool:
    """Say whether a record of a classifier has the form that it had when format 2 began."""
    return isinstance(record, dict) and set(record) == _FIT_KEYS


def _site_file(root: Path, version: int) -> Write:
    path = root / "site.yaml"
    text = read_bounded(path, MAX_SPEC_BYTES, "site.yaml").decode("utf-8")
    values = load_yaml(text, "site.yaml")
    stated = {"version": version} | ({"program": __version__} if version > 1 else {})
    rest = {key: values[key] for key in values if key not in ("version", "program")}
    data = yaml.safe_dump({**stated, **rest}, sort_keys=False).encode()
    return Write("site.yaml", data, path.stat().st_mode & 0o777)


def _module_paths(root: Path) -> Iterator[str]:
    for name in _MODULES:
        folder = root / name
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if entry.is_dir() and not entry.name.startswith("."):
                yield f"{name}/{entry.name}"


def _old_modules(root: Path) -> Iterator[SetAside]:
    for path in _module_paths(root):
        schema = card_schema(_json(root / path / "card.json", MAX_CARD_BYTES))
        if schema is not None and schema < _CARD_SCHEMA:
            reason = f"its card has schema {schema}, and cards have schema {_CARD_SCHEMA} now"
            yield SetAside(path, reason)


def _shards(root: Path, modules: tuple[SetAside, ...]) -> Iterator[Drop]:
    for item in modules:
        digest = item.path.rpartition("/")[2]
        if item.path.startswith("admitted/") and (root / "shards" / digest).is_dir():
            yield Drop(f"shards/{digest}", "synthetic images of a module that was set aside")


def _classifier(root: Path) -> Iterator[SetAside]:
    if (root / "classifier" / "fit.json").is_file():
        record = _json(root / "classifier" / "fit.json", MAX_ENVELOPE_BYTES)
        if not is_fit_record(record):
            yield SetAside("classifier", "an earlier form, without calibration or without losses")


def _checkpoints(root: Path) -> Iterator[SetAside]:
    for path in sorted((root / "training").glob("*/*.pt")):
        if not _mentions(path, _CHECKPOINT):
            relative = path.relative_to(root).as_posix()
            yield SetAside(relative, "a checkpoint that training cannot go on from: it starts anew")


def _refusals(root: Path) -> Iterator[SetAside]:
    """What was refused without a rule's code may have been too new for the earlier program."""
    for path in sorted((root / "statements" / "refused").glob("*.json")):
        value = _json(path, 8 * KIB)
        if isinstance(value, dict) and value.get("code") in (None, "malformed"):
            relative = path.relative_to(root).as_posix()
            yield SetAside(relative, "refused by the earlier program; to be judged anew")


def _to_do(root: Path, modules: tuple[SetAside, ...], classifier: bool) -> Iterator[str]:
    own = sorted(item.path.partition("/")[2] for item in modules if item.path.startswith("outbox/"))
    if own:
        names = ",".join(own)
        yield (
            f"this site's modules ({', '.join(own)}) cannot be used any more: ff-agent train "
            f"--data PATH --retrain --classes {names}, then ff-agent send"
        )
    foreign = [item for item in modules if item.path.startswith("admitted/")]
    if len(foreign) > len(own):
        yield (
            "the other sites' modules come again with ff-agent receive, once those sites have "
            "upgraded and trained anew"
        )
    if classifier:
        yield "the classifier cannot be used any more: ff-agent fit makes it anew"


def _adopted_revision(root: Path) -> int:
    """Return the revision of the spec in force, from its own signed bytes."""
    from ff_protocol.revisions import stated_revision

    try:
        data = read_bounded(root / "spec.dsse", MAX_ENVELOPE_BYTES, "spec")
        return stated_revision(data)
    except (OSError, FederatedFactoryError):
        return _FIRST_REVISION


def _mentions(path: Path, word: bytes) -> bool:
    """Say whether a torch file names `word` in its plain part; nothing of it is loaded."""
    try:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                if item.filename.endswith("/data.pkl") and item.file_size <= 16 * MIB:
                    return word in archive.read(item)
    except (OSError, zipfile.BadZipFile, ValueError):
        pass
    return False


def _json(path: Path, limit: int) -> Any:
    """Return a file of this site's own, None where it is missing or damaged."""
    try:
        return json.loads(read_bounded(path, limit, path.name))
    except (OSError, ValueError, RecursionError, FederatedFactoryError):
        return None
