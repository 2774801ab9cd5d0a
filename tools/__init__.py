"""What a person runs on one machine: install, demo, the local stack. The service itself imports nothing from here."""
