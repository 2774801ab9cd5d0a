"""The worker: claims jobs from the queue, runs the face pipeline and records results. No web framework."""
