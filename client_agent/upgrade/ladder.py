"""The steps between formats, one file each. A new format: a new file, a line here, FORMAT + 1."""

from client_agent.upgrade import to_2
from client_agent.upgrade.formats import FORMAT
from client_agent.upgrade.plan import Step

STEPS: dict[int, Step] = {step.source: step for step in (Step(1, 2, to_2.up, to_2.back),)}
"""By the format that a step leads away from."""

assert set(STEPS) == set(range(1, FORMAT)), "each format but the newest has a step to the next"
