"""Whether this gateway is on its way out: load balancers are told first, then clients, then the door is closed."""


class Drain:
    """Set once, by whoever stops the process; never taken back."""

    def __init__(self) -> None:
        self.began = False

    def begin(self) -> None:
        """From now on `/readyz` says so, and each answer asks its client to connect anew, to another gateway."""
        self.began = True
