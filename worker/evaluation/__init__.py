"""How well a pack decides on labelled pictures: error rates of verification and of passive liveness."""
