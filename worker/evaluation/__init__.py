"""Error rates of verification and passive liveness on labelled pictures."""
