"""Named maxima for every byte string that comes from outside, checked before it is parsed."""

KIB = 1024
MIB = 1024 * KIB

CHUNK_BYTES = 1 * MIB
"""Fixed transfer unit. Every chunk of a file but its last has exactly this size."""

MAX_CARD_BYTES = 64 * KIB
MAX_SIGNATURE_BYTES = 64 * KIB
MAX_CERTIFICATE_BYTES = 16 * KIB
MAX_ENVELOPE_BYTES = 1 * MIB
"""A publication names each chunk in 67 bytes, so 1 MiB covers modules of about 10 GiB."""

MAX_INVITATION_BYTES = 64 * KIB
MAX_SPEC_BYTES = 256 * KIB
MAX_JSON_DEPTH = 32
MAX_LISTED_STATEMENTS = 100_000
MAX_CHUNKS_PER_REQUEST = 4096
MAX_HEADS_ASKED = 4096
MAX_POSITION_BYTES = 64
MAX_TRUST_STATEMENT_BYTES = 64 * KIB
MAX_REQUEST_FILE_BYTES = 16 * KIB
MAX_MEMBERSHIP_FILE_BYTES = 512 * KIB
