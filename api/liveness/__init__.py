"""Active liveness sessions: challenges, frames, the decision, and the demo page."""
