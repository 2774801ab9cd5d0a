"""Everything behind the queue: claims jobs, runs the face pipeline, finishes jobs. No web framework."""
