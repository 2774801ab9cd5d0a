"""Settings of the gateway, one module per topic."""
