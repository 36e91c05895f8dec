"""Changes of a file's bytes, as damage or malice would make them."""

import re

NUMBERS = (
    *(0, 1, -1, 2, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**20, 2**31 - 1, 2**31, 2**32 - 1),
    *(10**13, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 10**30),
)
"""What lengths and sizes are replaced by; 10^13 bytes are 10 TB."""

TOKENS = [
    *(b"", b"\0", b"\xff" * 8, b"\n", b"\r", b",", b";", b'"', b"'", b":", b"- ", b"{}", b"[]"),
    *(b"null", b"true", b"nan", b"-inf", b"1e999", b"-1", b"9" * 40, b"9" * 5000, b"0.5", b"\xc3"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"{", b"[", b"[" * 300, b"}", b"]", b"\\u0000", b"\\ud800"),
    *(
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"'O'",
        b"(0,)",
        b"&a ",
        b"*a",
        b"!!python/name:os",
    ),
    *(b"../../etc/passwd", b"/etc/passwd", b"%s", b"\x1b[2J", b"1_0", b"01/02/2003", b"__class__"),
]
_DIGITS = re.compile(rb"\d+")
_ORDERS = ("little", "little", "big")


def mutated(content, random, others=()):
    """Return bytes with one to six changes.

    Args:
        content: the bytes.
        random: a `random.Random`.
        others: further files of the kind, of which pieces are taken.
    """
    content = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        start = _place(content, random)
        stop = min(len(content), start + random.choice((1, 1, 2, 4, 8, 16, 64)))
        kind = random.randrange(11)
        if kind == 0 and start < len(content):
            content[start] ^= 1 << random.randrange(8)
        elif kind == 1:
            content[start:stop] = random.randbytes(stop - start)
        elif kind == 2:
            content[start : random.choice((start, stop))] = random.choice(TOKENS)
        elif kind == 3:
            content = _number(content, random)
        elif kind == 4:
            size = random.choice((1, 2, 2, 4, 4, 4, 8, 8))
            number = random.choice(NUMBERS) % 256**size
            content[start : start + size] = number.to_bytes(size, random.choice(_ORDERS))
        elif kind == 5 and random.random() < 0.4:
            del content[start:]
        elif kind == 6:
            del content[start:stop]
        elif kind == 7:
            content[start:start] = content[start:stop] * random.choice((1, 2, 50))
        elif kind == 8 and others:
            other = random.choice(others)
            first = _place(other, random)
            content[start:stop] = other[first : first + random.choice((4, 16, 64, 1024))]
        elif kind == 9:
            content = _swapped(content, random)
        else:
            content[start:stop] = bytes([random.choice((0, 255, 32, 48))]) * (stop - start)
    return bytes(content)


def _place(content, random):
    """Return a place in a file, most often near an end, where the lengths and names are."""
    if random.random() < 0.5:
        near = random.randrange(200)
        return min(near, len(content)) if random.random() < 0.7 else max(0, len(content) - near)
    return random.randrange(len(content) + 1)


def _number(content, random):
    """Replace a number that is written in digits."""
    found = [*_DIGITS.finditer(bytes(content[:4096]))]
    if found:
        start, stop = random.choice(found).span()
        content[start:stop] = str(random.choice(NUMBERS)).encode()
    return content


def _swapped(content, random):
    """Exchange two pieces, such as two fields or lines."""
    mark = random.choice((b",", b"\n", b" ", b'"'))
    parts = bytes(content).split(mark)
    if len(parts) > 2:
        first, second = random.randrange(len(parts)), random.randrange(len(parts))
        parts[first], parts[second] = parts[second], parts[first]
    return bytearray(mark.join(parts))
