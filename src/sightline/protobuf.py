"""The protobuf wire format, read in place: which fields a message has and where their bytes lie.

Made for files nobody vouches for. Reading is linear in the bytes, copies only what is asked for, and believes no
length before checking it against the message around it. What cannot be read raises `WireError`, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 are groups, abandoned before ONNX began
_FIXED_SIZE = {FIXED64: 8, FIXED32: 4}

_MAX_VARINT_BYTES = 10
_MAX_FIELD_NUMBER = (1 << 29) - 1
_CHUNK = 1 << 20  # bytes


class WireError(ValueError):
    """Bytes that are not a protobuf message. `str()` says what is wrong and at which byte of the file."""


class OverrunError(WireError):
    """A field that goes on after the end of its message. `missing` is by how many bytes, 0 where nobody can know."""

    def __init__(self, at: int, *, missing: int) -> None:
        super().__init__(f"the field at byte {at} runs past the end of its message")
        self.missing = missing


class Field(NamedTuple):
    """One field: its bytes are `start:end` with the key, `body:end` without key and length."""

    number: int
    wire: int
    start: int
    body: int
    end: int
    value: int  # of a VARINT, as unsigned 64 bit; 0 for the rest


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes `start:end` of a buffer, read as fields.

    As protobuf has it, a field of an unexpected wire type is as good as absent, and of a field that should be there
    once but is repeated, the last scalar counts while sub-messages add up.
    """

    buffer: mmap | bytes
    start: int
    end: int

    def fields(self) -> Iterator[Field]:
        """Every field in file order."""
        at = self.start
        while at < self.end:
            field = _read_field(self.buffer, at, self.end)
            yield field
            at = field.end

    def messages(self, *numbers: int) -> Iterator[tuple[int, Message]]:
        """The sub-messages of these field numbers, in file order, each with its number."""
        for field in self.fields():
            if field.number in numbers and field.wire == BYTES:
                yield field.number, self.within(field)

    def within(self, field: Field) -> Message:
        """The body of one of the fields, as a message."""
        return Message(self.buffer, field.body, field.end)

    def integer(self, number: int, *, default: int = 0) -> int:
        """The signed 64-bit value of a field."""
        found = default
        for field in self.fields():
            if field.number == number and field.wire == VARINT:
                found = signed(field.value)
        return found

    def text(self, number: int) -> str:
        r"""The text of a field, "" where absent. Bytes that are not UTF-8 show as `\xff`: a bad name is no reason to
        refuse a model that a runtime may well run."""
        found = b""
        for field in self.fields():
            if field.number == number and field.wire == BYTES:
                found = self.buffer[field.body : field.end]
        return found.decode("utf-8", errors="backslashreplace")

    def chunks(self, field: Field) -> Iterator[bytes]:
        """The bytes of a whole field, key included, at most 1 MiB at a time."""
        for at in range(field.start, field.end, _CHUNK):
            yield self.buffer[at : min(at + _CHUNK, field.end)]


def signed(value: int) -> int:
    """An unsigned 64-bit number read as two's complement, which is how protobuf writes negative ones."""
    return value - (1 << 64) if value >= 1 << 63 else value


def encode_bytes(number: int, body: bytes) -> bytes:
    """A BYTES field: key, length, body."""
    return _encode_varint(number << 3 | BYTES) + _encode_varint(len(body)) + body


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_field(buffer: mmap | bytes, start: int, limit: int) -> Field:
    key, body = _read_varint(buffer, start, limit)
    number, wire, value = key >> 3, key & 7, 0
    if not 1 <= number <= _MAX_FIELD_NUMBER:
        raise WireError(f"no field begins at byte {start} (number {number})")
    if wire == VARINT:
        value, end = _read_varint(buffer, body, limit)
    elif wire == BYTES:
        length, body = _read_varint(buffer, body, limit)
        end = body + length
    elif wire in _FIXED_SIZE:
        end = body + _FIXED_SIZE[wire]
    else:
        raise WireError(f"no field begins at byte {start} (wire type {wire})")
    if end > limit:
        raise OverrunError(start, missing=end - limit)
    return Field(number, wire, start, body, end, value)


def _read_varint(buffer: mmap | bytes, start: int, limit: int) -> tuple[int, int]:
    """The number at `start`, as unsigned 64 bit, and where it ends."""
    if start < limit and (value := buffer[start]) < 0x80:  # most are one byte: a third of all reading time saved
        return value, start + 1
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if start + index >= limit:
            raise OverrunError(start, missing=0)
        byte = buffer[start + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, start + index + 1
    raise WireError(f"the number at byte {start} has more than {_MAX_VARINT_BYTES} bytes")
