"""X25519 and Ed25519 as their RFCs write them down, in Python integers: slow, not constant-time, a second opinion."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]


def x25519(scalar: bytes, u: bytes) -> bytes:
    """RFC 7748, section 5."""
    k = int.from_bytes(scalar, "little")
    k = (k & ~7 & ((1 << 254) - 1)) | (1 << 254)
    x1 = int.from_bytes(u, "little") % (1 << 255)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a, c * b
        aa, bb = a * a % P, b * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def _add(p: Point, q: Point) -> Point:
    """RFC 8032, section 5.1.4."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(k: int, p: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while k:
        if k & 1:
            total = _add(total, p)
        p, k = _add(p, p), k >> 1
    return total


def _recover_x(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or y >= P:
        raise ValueError("not a point")
    return P - x if x & 1 != sign else x


_Y = 4 * pow(5, -1, P) % P
_X = _recover_x(_Y, 0)
BASE: Point = (_X, _Y, 1, _X * _Y % P)


def _encode(p: Point) -> bytes:
    z = pow(p[2], P - 2, P)
    x, y = p[0] * z % P, p[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decode(data: bytes) -> Point:
    value = int.from_bytes(data, "little")
    y = value & ((1 << 255) - 1)
    x = _recover_x(y, value >> 255)
    return (x, y, 1, x * y % P)


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def _expand(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little")
    return (scalar & ~7 & ((1 << 254) - 1)) | (1 << 254), digest[32:]


def ed25519_public(seed: bytes) -> bytes:
    """RFC 8032, section 5.1.5."""
    return _encode(_times(_expand(seed)[0], BASE))


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    """RFC 8032, section 5.1.6."""
    scalar, prefix = _expand(seed)
    public = _encode(_times(scalar, BASE))
    r = _hash(prefix, message)
    point = _encode(_times(r, BASE))
    s = (r + _hash(point, public, message) * scalar) % L
    return point + s.to_bytes(32, "little")


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032, section 5.1.7."""
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    try:
        a, r = _decode(public), _decode(signature[:32])
    except ValueError:
        return False
    k = _hash(signature[:32], public, message)
    left, right = _times(s, BASE), _add(r, _times(k, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))
