"""The pictures of a storm, apart from the worker that knows their marks: importing that changes the ledger."""

from typing import Final

from tests.integration.breaking import picture
from tests.integration.poisons import KILLS, SLOW

HOARDS: Final = (3, 1, 2)
"""First pixel (BGR) of a picture that exhausts the memory."""
QUICK: Final = picture()
LONG: Final = picture(SLOW)
"""Takes a worker a second: long enough to be killed meanwhile."""
DEADLY: Final = picture(KILLS)
"""Ends the process that takes it at once, as the kernel does when memory runs out."""
GREEDY: Final = picture(HOARDS)
