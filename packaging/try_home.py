"""For packaging/test.sh: a home that has joined, made without a coordinator, and images for it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.conftest import CLASSES, digits_npz
from tests.homes import UNAUDITED, make_authority


def main(folder: Path) -> None:
    """Write `home/` and `data.npz` into a folder."""
    site = make_authority(classes=list(CLASSES)).join(folder / "home", "hospital-1")
    site.home.policy_file.write_text(UNAUDITED)
    digits_npz(folder / "data.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
