"""The HTTP gateway: checks images, accepts jobs, answers from the ledger. No numpy, no OpenCV, no models."""
