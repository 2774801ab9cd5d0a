"""The marks that make `poisoned_worker` break; apart from it, since to import that is to change the ledger."""

from typing import Final

KILLS: Final = (1, 2, 3)
HANGS: Final = (3, 2, 1)
SLOW: Final = (2, 2, 2)
DIES_AFTER: Final = (1, 3, 2)
"""BGR of a picture's first pixel."""
