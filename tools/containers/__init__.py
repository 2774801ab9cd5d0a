"""Runs a command beside a Docker daemon with the images built, and checks that nothing stays behind."""
