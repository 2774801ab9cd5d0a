"""The contract that gateway and worker agree on: what both import lives here, what only one imports does not."""
