"""The calls of the service, one file for each resource."""
