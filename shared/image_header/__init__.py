"""What an image file is, its size and orientation, and which of its bytes are the picture; nothing is decoded."""
