"""The pictures of a storm; apart from the worker that knows their marks: to import that is to change the ledger."""

from typing import Final

from tests.integration.breaking import picture
from tests.integration.poisons import KILLS, SLOW

HOARDS: Final = (3, 1, 2)
"""BGR of the first pixel of a picture that takes all memory."""
QUICK: Final = picture()
LONG: Final = picture(SLOW)
"""Takes a worker a second: long enough to be killed in."""
DEADLY: Final = picture(KILLS)
"""Ends the process that takes it at once, as the kernel does where memory is out."""
GREEDY: Final = picture(HOARDS)
