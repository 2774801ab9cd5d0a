"""The marks that make `poisoned_worker` break, apart from it, because importing that changes the ledger."""

from typing import Final

KILLS: Final = (1, 2, 3)
HANGS: Final = (3, 2, 1)
CRASHES: Final = (2, 3, 1)
SLOW: Final = (2, 2, 2)
SLOWER: Final = (3, 3, 2)
DIES_AFTER: Final = (1, 3, 2)
"""First pixel of a picture, as BGR."""
