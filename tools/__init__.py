"""Developer commands for one machine: setup, demo, local stack. The service itself imports nothing from here."""
