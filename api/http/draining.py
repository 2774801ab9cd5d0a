"""Whether this gateway is shutting down. Load balancers notice first, then clients; then the port is closed."""


class Drain:
    """A flag that is set once, when the process is told to stop, and never reset."""

    def __init__(self) -> None:
        self.began = False

    def begin(self) -> None:
        """From now on `/readyz` reports it, and every response asks its client to reconnect, to another gateway."""
        self.began = True
