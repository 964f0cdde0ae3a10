"""Local names of classes against the federation's: case, spaces, `_` and `-` do not matter."""

import difflib
from collections.abc import Iterable, Sequence

from client_agent.errors import DataError


def fold(name: str) -> str:
    """Return the form in which names are compared."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


class ClassNames:
    """The federation's classes, looked up by any spelling that differs in case or separators."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._index: dict[str, int] = {}
        for index, name in enumerate(self.classes):
            if self._index.setdefault(fold(name), index) != index:
                raise DataError(
                    f"the classes {self.classes[self._index[fold(name)]]!r} and {name!r} differ "
                    "only in case or separators, so folders cannot be told apart"
                )

    def find(self, name: str) -> int | None:
        """Return the index of a class, or None."""
        return self._index.get(fold(name))

    def unknown(self, name: str, where: str) -> DataError:
        """Make the error for a name that is no class, with the closest one that is."""
        close = difflib.get_close_matches(fold(name), list(self._index), n=1, cutoff=0.5)
        hint = f"the federation's classes are {', '.join(self.classes)}"
        if close:
            hint += f"; did you mean {self.classes[self._index[close[0]]]!r}?"
        return DataError(f"{where} {name[:80]!r} is not a class of this federation", hint=hint)

    def subset(self, names: Iterable[str] | None) -> frozenset[int] | None:
        """Return the indices that `only_classes` names, or None for no restriction.

        Raises:
            DataError: one of them is no class.
        """
        if names is None:
            return None
        wanted = set()
        for name in names:
            index = self.find(name)
            if index is None:
                raise self.unknown(name, "requested class")
            wanted.add(index)
        return frozenset(wanted)
