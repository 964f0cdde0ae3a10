"""Labels from a DICOM attribute: `--label-tag BodyPartExamined`, `0018,0015` or a path.

A path goes into sequences: `AnatomicRegionSequence.CodeValue`. Attributes that name a person or
one single object are refused: they are no classes, and their values would stand in messages.
"""

import re
from collections.abc import Iterator
from typing import Any

from client_agent.errors import UsageError

_PAIR = re.compile(r"\(?([0-9a-fA-F]{4})\s*,\s*([0-9a-fA-F]{4})\)?", re.ASCII)
_MAX_DEPTH = 4
_MAX_CHARACTERS = 200
_IDENTIFYING_VR = frozenset({"PN", "UI"})
_PATIENT_GROUP_ALLOWED = frozenset({0x00100040, 0x00101010, 0x00102201, 0x00102202})
"""Sex, age, species: the rest of group 0010 says who."""

_IDENTIFYING = frozenset({0x00080050, 0x00200010, 0x00380010, 0x00400253, 0x00401001})
"""Accession number, study, admission and procedure identifiers."""


def parse_label_tag(text: str) -> tuple[int, ...]:
    """Turn an attribute's name into tags, outermost first.

    Raises:
        UsageError: an unknown keyword, or an attribute that names a person or an object.
    """
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    # A tag in brackets holds no dot, so that dots separate.
    parts = [part.strip() for part in text.split(".")]
    if not 1 <= len(parts) <= _MAX_DEPTH:
        raise UsageError(f"--label-tag {text[:80]!r} goes deeper than {_MAX_DEPTH} levels")
    tags = []
    for part in parts:
        pair = _PAIR.fullmatch(part)
        tag = int(pair[1] + pair[2], 16) if pair else tag_for_keyword(part)
        if tag is None:
            raise UsageError(
                f"--label-tag: DICOM has no attribute {part[:60]!r}",
                hint="a keyword (BodyPartExamined) or a tag (0018,0015)",
            )
        tags.append(int(tag))
    last = tags[-1]
    try:
        vr = dictionary_VR(last)
    except KeyError:  # private, or of a later standard
        vr = ""
    who = last >> 16 == 0x0010 and last not in _PATIENT_GROUP_ALLOWED
    if vr in _IDENTIFYING_VR or who or last in _IDENTIFYING:
        raise UsageError(f"--label-tag {text[:80]!r} names a person or one object, not a class")
    if vr == "SQ":
        raise UsageError(
            f"--label-tag {text[:80]!r} is a sequence", hint=f"for example {text[:80]}.CodeValue"
        )
    return tuple(tags)


def label_values(dataset: Any, tags: tuple[int, ...]) -> tuple[str, ...]:
    """Return the attribute's distinct values in order, empty if it is absent or empty.

    Several values (VM above 1, or several items of a sequence) are all returned: whether they
    mean one class is for the label rule to say.
    """
    found = dict.fromkeys(value for value in _values(dataset, tags) if value)
    return tuple(found)


def _values(dataset: Any, tags: tuple[int, ...]) -> Iterator[str]:
    element = dataset.get(tags[0])
    if element is None or element.value is None:
        return
    if len(tags) > 1:
        if element.VR == "SQ":
            for item in element.value:
                yield from _values(item, tags[1:])
        return
    value = element.value
    if isinstance(value, bytes):  # a private attribute of unknown type
        value = value.decode("ascii", "replace").strip("\0 ")
    several = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
    for item in several:
        yield str(item).strip()[:_MAX_CHARACTERS]
