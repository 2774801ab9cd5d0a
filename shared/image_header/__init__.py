"""Reads type, size and orientation of an image file, and which bytes are the picture, without decoding it."""
