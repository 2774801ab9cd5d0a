"""Active liveness sessions: challenges, frames, the verdict, and the demo page."""
