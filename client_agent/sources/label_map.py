"""A site's own names of classes, mapped onto the federation's: `--label-map FILE.yaml`.

    classes:
      glioma:                               # the federation's class
        names: [Gliom, HGG, "C71.9"]        # what it is called here
        codes: ["SCT 393564001 Glioma"]     # optional: SNOMED CT (SCT) or RadLex (RADLEX)
    leave-out: [unklar, Testbild]           # images of these names are not used

Names are compared as everywhere: case, spaces, `_` and `-` do not matter. A code counts as a name,
so that a coded attribute can be mapped by its value alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, field_validator

from client_agent.errors import DataError
from client_agent.sources.listing import listed
from ff_protocol.errors import MalformedError
from ff_protocol.files import read_bounded
from ff_protocol.limits import MIB
from ff_protocol.schema import Strict, load_yaml, parse

_MAX_BYTES = 4 * MIB
_CODE = re.compile(r"(SCT|RADLEX)\s+([0-9A-Za-z.]{1,32})(?:\s+(.{1,64}))?", re.ASCII)


def fold(name: str) -> str:
    """Return the form in which names are compared."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8): scheme designator SCT or RADLEX, value, meaning or ""."""

    scheme: str
    value: str
    meaning: str = ""


@dataclass(frozen=True)
class LabelMap:
    """What a label map says.

    Attributes:
        names: folded local name to the federation's class.
        left_out: folded names whose images are not used.
        codes: class to its codes.
        classes: those that the map names, in its order.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    codes: Mapping[str, tuple[Code, ...]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


class LabelMapEntry(Strict):
    """What one class of the federation is called here.

    Attributes:
        names: folders, labels or attribute values; case, spaces, `_` and `-` do not matter.
        codes: SNOMED CT (`SCT VALUE MEANING`) or RadLex (`RADLEX VALUE MEANING`), kept with the
            images; a value counts as a name.
    """

    names: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    @field_validator("names", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        """Take numbers as texts: YAML reads the folder name 1 as a number."""
        if isinstance(value, list):
            return tuple(str(item) if type(item) in (int, float) else item for item in value)
        return value

    @field_validator("codes")
    @classmethod
    def _coded(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if _CODE.fullmatch(text.strip()) is None:
                raise ValueError("a code reads 'SCT 393564001 Glioma' or 'RADLEX RID4026 glioma'")
        return value


class LabelMapFile(Strict):
    """The whole file.

    Attributes:
        left_out: names whose images are not used.
    """

    classes: dict[str, LabelMapEntry] = Field(default_factory=dict)
    left_out: tuple[str, ...] = Field(default=(), alias="leave-out")

    _texts = field_validator("left_out", mode="before")(LabelMapEntry._texts.__func__)  # type: ignore[attr-defined]


def read_label_map(path: Path, classes: Sequence[str] | None) -> LabelMap:
    """Read and check a label map.

    Args:
        path: the file.
        classes: the federation's classes, in their own spelling; None takes the map's own, for a
            look at data before joining.

    Raises:
        DataError: it cannot be read, names a class that the federation has not, or names one
            thing twice; every offender is listed.
        SpecError: it breaks the schema.
    """
    try:
        text = read_bounded(path, _MAX_BYTES, "label map").decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, MalformedError) as error:
        raise DataError(f"cannot read the label map {path}: {_reason(error)}") from error
    file = parse(LabelMapFile, load_yaml(text, path.name) or {}, path.name)
    known = {fold(name): name for name in (file.classes if classes is None else classes)}
    wrong: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    codes: dict[str, tuple[Code, ...]] = {}
    for given, entry in file.classes.items():
        name = known.get(fold(given))
        if name is None:
            wrong.setdefault("not classes of this federation", []).append(repr(given[:80]))
            continue
        codes[name] = tuple(_code(text) for text in entry.codes)
        for local in (*entry.names, *(code.value for code in codes[name])):
            other = known.get(fold(local), names.get(fold(local), name))
            if other != name:
                wrong.setdefault("names of two classes", []).append(repr(local[:80]))
            names[fold(local)] = name
    left_out = frozenset(map(fold, file.left_out))
    for local in sorted(left_out & (names.keys() | known.keys())):
        wrong.setdefault("both mapped and left out", []).append(repr(local[:80]))
    if wrong:
        parts = [f"{what}: {listed(items)}" for what, items in wrong.items()]
        raise DataError(
            f"{path.name}: {'; '.join(parts)}",
            hint=f"the federation's classes are {', '.join(known.values())}",
        )
    kept = {name: found for name, found in codes.items() if found}
    return LabelMap(names, left_out, kept, tuple(codes))


def _code(text: str) -> Code:
    match = _CODE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)  # the schema let it through
    return Code(match[1], match[2], match[3] or "")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return getattr(error, "strerror", None) or str(error)
