"""What passes between the agent and a worker over pairs of sockets: one-byte words, fixed sizes.

Lane 0, once:   worker -> START byte; STARTED: a byte of layers, FAILED: a text that ends the stream
                agent  -> size of the model, 8 bytes big-endian, then the model
                worker -> ANSWER byte
Every lane, over and over:
                agent  -> noise, float32 [n, C, H, W]
                worker -> ANSWER byte; after DONE: images, float32 [n, C, H, W]

The agent reads exactly as many bytes as it expects, so that a worker can tell it nothing but
images, and a lie costs nothing.
"""

import struct
from enum import IntEnum

SIZE = struct.Struct(">Q")
MAX_TEXT = 500


class Start(IntEnum):
    """Whether the worker is ready, before it has seen a byte of the model."""

    STARTED = 1
    FAILED = 2


class Answer(IntEnum):
    """How loading or a batch ended."""

    DONE = 1
    RAISED = 2
    WRONG_SHAPE = 3
    NO_MEMORY = 4
