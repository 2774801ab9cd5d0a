"""Counts the blocks of a baseline JPEG scan, to distinguish a missing end marker from missing pixels (T.81, F.2)."""

import re
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Final

MAX_UNENDED: Final = 256 * 1024
"""Bytes of a scan whose blocks are counted. Each byte takes about half a microsecond in Python."""
_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")
_BLOCK: Final = 64
_WIDEST: Final = 16
"""Length of the longest code, in bits."""
_CODES: Final = 1 << _WIDEST
_SIXTEEN_ZEROS: Final = 0xF0
Lookup = list[int]
"""Indexed by the next 16 bits: the bits of a code and its value, plus 256 times the coefficients that it covers."""


class Scan:
    """The blocks that a scan must have according to the segments before it."""

    def __init__(self, frame: bytes, *, interval: int) -> None:
        """Read a frame header (SOF); `interval` is the number of MCUs between restart markers, or 0."""
        self._size = int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
        self._sampling = {frame[at]: divmod(frame[at + 1], 16) for at in range(6, 6 + 3 * frame[5], 3)}
        self._interval = interval
        self._tables: dict[int, tuple[bytes, bytes]] = {}

    def define(self, tables: bytes) -> None:
        """Read Huffman tables (DHT). A later definition replaces an earlier one."""
        at = 0
        while at + 1 + _WIDEST <= len(tables):
            counts = tables[at + 1 : at + 1 + _WIDEST]
            end = at + 1 + _WIDEST + sum(counts)
            self._tables[tables[at]] = counts, tables[at + 1 + _WIDEST : end]
            at = end

    def is_complete(self, header: bytes, coded: bytes) -> bool:
        """Return whether `coded` contains every block that `header` (SOS) declares."""
        blocks, mcus = self._blocks(header), self._mcus(header)
        if not blocks:
            return False
        for piece in _RESTART.split(coded) if self._interval else [coded]:
            due = min(mcus, self._interval or mcus)
            if not _holds(piece.replace(b"\xff\0", b"\xff"), chain.from_iterable(repeat(blocks, due))):
                return False
            mcus -= due
        return not mcus

    def _blocks(self, header: bytes) -> list[tuple[Lookup, Lookup]]:
        """Return the DC and AC tables of each block of an MCU, in order. Empty if a table or component is undefined."""
        count, blocks, lookups = header[0], list[tuple[Lookup, Lookup]](), dict[int, Lookup]()
        for at in range(1, 2 * count, 2):
            across, down = (1, 1) if count == 1 else self._sampling.get(header[at], (0, 0))
            names = header[at + 1] >> 4, 0x10 | header[at + 1] & 15
            if across * down < 1 or not self._tables.keys() >= set(names):
                return []
            for name in set(names) - lookups.keys():
                lookups[name] = _lookup(*self._tables[name], alternating=bool(name >> 4))
            blocks += [(lookups[names[0]], lookups[names[1]])] * (across * down)
        return blocks

    def _mcus(self, header: bytes) -> int:
        across, down = 1, 1
        if header[0] > 1:
            across = max(factors[0] for factors in self._sampling.values())
            down = max(factors[1] for factors in self._sampling.values())
        width, height = self._size
        return -(-width // (8 * max(1, across))) * -(-height // (8 * max(1, down)))


def _lookup(counts: bytes, values: bytes, *, alternating: bool) -> Lookup:
    """Return the lookup table of a Huffman code. An entry of 0 marks a code that does not exist."""
    table, code, index = [0] * _CODES, 0, 0
    for length, count in enumerate(counts, 1):
        for value in values[index : index + count]:
            ends = value & 15 == 0 and value != _SIXTEEN_ZEROS
            step = (_BLOCK if ends else (value >> 4) + 1) if alternating else 1
            start, width = code << (_WIDEST - length), 1 << (_WIDEST - length)
            if start < _CODES:
                table[start : start + width] = [length + (value & 15) | step << 8] * width
            code += 1
        index += count
        code <<= 1
    return table


def _holds(coded: bytes, blocks: Iterable[tuple[Lookup, Lookup]]) -> bool:
    """Return whether all of these blocks can be read from the bytes."""
    at, end, coded, number = 0, len(coded) * 8, coded + b"\0\0\0", int.from_bytes
    for dc, ac in blocks:
        byte = at >> 3
        entry = dc[number(coded[byte : byte + 3], "big") >> 8 - (at & 7) & 0xFFFF]
        coefficients, at = entry >> 8, at + (entry & 255)
        while entry and coefficients < _BLOCK:
            byte = at >> 3
            entry = ac[number(coded[byte : byte + 3], "big") >> 8 - (at & 7) & 0xFFFF]
            coefficients, at = coefficients + (entry >> 8), at + (entry & 255)
        if not entry or at > end:
            return False
    return True
