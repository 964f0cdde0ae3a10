"""The whole corpus, by name."""

from tests.hostile.attack import Attack, named
from tests.hostile.bytes_of_the_file import BYTES_OF_THE_FILE
from tests.hostile.cards import CARDS
from tests.hostile.files import FILES
from tests.hostile.operators import OPERATORS
from tests.hostile.outputs import OUTPUTS
from tests.hostile.weights import WEIGHTS
from tests.hostile.work import WORK

ATTACKS: dict[str, Attack] = named(
    (*FILES, *CARDS, *BYTES_OF_THE_FILE, *WEIGHTS, *OPERATORS, *WORK, *OUTPUTS)
)
