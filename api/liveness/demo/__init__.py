"""Demo page that runs a liveness session in the browser."""
