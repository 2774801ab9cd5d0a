"""The pixel layout of a BMP file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bitmap:
    """How an uncompressed BMP stores its pixels. Rows start at multiples of four bytes from `pixels_at`."""

    depth: int
    """Bits per pixel: 1, 4, 8, 16, 24 or 32."""
    top_down: bool
    pixels_at: int
    palette_at: int
    palette_size: int
    """Number of colors; 0 if pixels contain their color."""
    palette_entry: int
    """Bytes per color, 3 or 4, in the order blue, green, red."""
    masks: tuple[int, int, int, int]
    """Bit masks of red, green, blue and alpha for pixels of 16 or 32 bits; an alpha mask of 0 means opaque."""

    def stride(self, width: int) -> int:
        """Return the number of bytes from one row to the next."""
        return (width * self.depth + 31) // 32 * 4

    def row_bytes(self, width: int) -> int:
        """Return the number of bytes in a row without padding."""
        return (width * self.depth + 7) // 8
