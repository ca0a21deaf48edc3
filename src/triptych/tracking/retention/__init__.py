"""What a store holds, what of it is kept, and how the rest is deleted."""

from triptych.tracking.retention.deletion import can_collect, collect_left, delete_old, delete_trunks
from triptych.tracking.retention.entries import Entry, list_entries
from triptych.tracking.retention.selection import Keep, Old, select_old
from triptych.tracking.retention.sizes import StoreSizes, measure_addresses, measure_store
from triptych.tracking.retention.trunks import find_unused_trunks

__all__ = [
    "Entry",
    "Keep",
    "Old",
    "StoreSizes",
    "can_collect",
    "collect_left",
    "delete_old",
    "delete_trunks",
    "find_unused_trunks",
    "list_entries",
    "measure_addresses",
    "measure_store",
    "select_old",
]
