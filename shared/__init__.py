"""Code that both the gateway and the worker import: the contract between them."""
