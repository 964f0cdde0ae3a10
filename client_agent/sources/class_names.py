"""Local names of classes against the federation's: case, spaces, `_` and `-` do not matter.

A name is never guessed: it is a class, stands in the site's label map, or is listed as unmapped.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

from client_agent.errors import DataError
from client_agent.sources.label_map import LabelMap, fold
from client_agent.sources.listing import SHOWN, listed

LEFT_OUT = -1
"""Index of names that the site's label map leaves out."""


class ClassNames:
    """The federation's classes, looked up by their own names and by the site's."""

    def __init__(self, classes: Sequence[str], mapping: LabelMap | None = None) -> None:
        """Prepare the look-up.

        Args:
            classes: in the spec's order.
            mapping: the site's own names, for `classes`.

        Raises:
            DataError: two classes that folders cannot tell apart.
        """
        self.classes = tuple(classes)
        self.mapping = mapping or LabelMap()
        self._index: dict[str, int] = {}
        for index, name in enumerate(self.classes):
            if self._index.setdefault(fold(name), index) != index:
                raise DataError(
                    f"the classes {self.classes[self._index[fold(name)]]!r} and {name!r} differ "
                    "only in case or separators, so folders cannot be told apart"
                )
        self._local = dict(self._index)
        self._local |= {name: self._index[fold(own)] for name, own in self.mapping.names.items()}
        self._local |= dict.fromkeys(self.mapping.left_out, LEFT_OUT)

    def find(self, name: str) -> int | None:
        """Return the index of a class, `LEFT_OUT`, or None for a name that is not mapped."""
        return self._local.get(fold(name))

    def unknown(self, name: str, where: str) -> DataError:
        """Make the error for a name that is no class, with the closest one that is."""
        hint = f"the federation's classes are {', '.join(self.classes)}"
        return DataError(
            f"{where} {name[:80]!r} is not a class of this federation",
            hint=hint + self._closest(name),
        )

    def unmapped(self, found: Counter[str], where: str) -> DataError:
        """Make the error for names that are no classes: the first ten, and how to map them."""
        names = [f"{name[:60]!r} ({count} images)" for name, count in found.most_common()]
        first = next(iter(found))
        shown = ", ".join(repr(name[:60]) for name, _ in found.most_common(SHOWN))
        return DataError(
            f"{where} of no class of this federation: {listed(names)}",
            hint=(
                f"the federation's classes are {', '.join(self.classes)}{self._closest(first)}; "
                "map them in a file for --label-map, in YAML: "
                f"classes: {{{self.classes[0]}: {{names: [{shown}]}}}}, "
                f"or leave-out: [{shown}]; or take some with --classes"
            ),
        )

    def subset(self, names: Iterable[str] | None) -> frozenset[int] | None:
        """Return the indices that `only_classes` names, or None for no restriction.

        Raises:
            DataError: one of them is no class.
        """
        if names is None:
            return None
        wanted = set()
        for name in names:
            index = self._index.get(fold(name))
            if index is None:
                raise self.unknown(name, "requested class")
            wanted.add(index)
        return frozenset(wanted)

    def _closest(self, name: str) -> str:
        close = difflib.get_close_matches(fold(name), list(self._index), n=1, cutoff=0.5)
        return f"; did you mean {self.classes[self._index[close[0]]]!r}?" if close else ""
