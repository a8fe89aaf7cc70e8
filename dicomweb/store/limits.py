"""How much of Store requests may be in memory, on disk and at work at once."""

MIB = 1 << 20

MAX_PART_MEMORY_BYTES = 16 * MIB  # a larger part is spooled; nearly every single-frame image is smaller
MAX_PART_BYTES = (
    16 << 30
)  # longer than any object whose lengths fit their 32-bit fields, with room for fragments
MAX_IN_FLIGHT_BYTES = 128 * MIB  # of all requests together; beyond it parts are spooled, whatever their size
BATCH_BYTES = (
    32 * MIB
)  # one put and one transaction; bounds what a request holds, and how long the writer is held
BATCH_INSTANCES = 100  # the same for small instances
MAX_INSTANCES = 100_000  # of one request: its response is built in memory
MAX_METADATA_BYTES = 8 * MIB  # of all metadata parts of a request: some 500 instances
MAX_METADATA_VALUES = (
    1_000_000  # members, values and items in them: what they grow to in memory, not their bytes, is the cost
)
MAX_DATA_SETS = 10_000  # in all metadata parts of a request, as many as it could have as files
MAX_BULK_PARTS = 10_000  # of a request
MAX_PNG_BYTES = 64 * MIB  # of a PNG image
SPOOL_WRITE_BYTES = MIB  # bytes collected for one write to the spool
PARSERS = 4  # threads that read instances at once
