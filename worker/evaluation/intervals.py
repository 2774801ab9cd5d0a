"""Confidence intervals of measured error rates."""

import math
from dataclasses import dataclass
from typing import Final

from worker.packs.calibration import LEAST_FALSE_MATCHES

Z: Final = 1.959963984540054
"""Half-width of the 95 % interval of the normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Errors among independent trials."""

    errors: int
    trials: int

    @property
    def share(self) -> float:
        """Observed rate; NaN without trials."""
        return self.errors / self.trials if self.trials else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval: Wilson (1927), and the rule of three if no errors, or only errors, were observed."""
        if not self.trials:
            return 0.0, 1.0
        if not self.errors:
            return 0.0, min(1.0, 3 / self.trials)
        if self.errors == self.trials:
            return max(0.0, 1 - 3 / self.trials), 1.0
        squared, share = Z * Z / self.trials, self.share
        middle = (share + squared / 2) / (1 + squared)
        reach = Z / (1 + squared) * math.sqrt(share * (1 - share) / self.trials + squared / (4 * self.trials))
        return max(0.0, middle - reach), min(1.0, middle + reach)

    def __str__(self) -> str:
        """Format the rate, such as `0.0012 [0.0009, 0.0016] (36 of 30000)`."""
        low, high = self.interval
        return f"{self.share:.2g} [{low:.2g}, {high:.2g}] ({self.errors} of {self.trials})"


def pairs_needed(rate: float) -> int:
    """Return the number of trials needed to state a rate: enough for 30 errors (the rule of 30)."""
    return math.ceil(LEAST_FALSE_MATCHES / rate * (1 - 1e-9))
