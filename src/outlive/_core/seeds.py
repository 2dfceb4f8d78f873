"""Everything that looks random in a run, derived from its secret seed (R39)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

from outlive.model.ids import TokenHash


class Seed:
    """256 random bits of a link, never derived from anything public."""

    __slots__ = ("_counts", "_key")

    def __init__(self, hex_seed: str) -> None:
        self._key = bytes.fromhex(hex_seed)
        self._counts: dict[str, int] = {}

    def derive(self, purpose: str, number: int) -> bytes:
        """32 bytes that belong to ``purpose`` and ``number`` alone."""
        return hmac.digest(self._key, f"{purpose}:{number}".encode(), "sha256")

    def first_order(self) -> int:
        """Where the hashes of this run's tasks begin: far from those of other runs, and the same on replay (R21)."""
        return int.from_bytes(self.derive("order", 0)[:5], "big") << 20

    def draw(self, purpose: str) -> bytes:
        """The next 32 bytes for ``purpose``; the order of calls decides, as on replay."""
        number = self._counts.get(purpose, 0)
        self._counts[purpose] = number + 1
        return self.derive(purpose, number)

    def token(self, ref: int) -> str:
        """The token of the hook that ``ref`` opens: 256 bits that nothing public gives away."""
        return urlsafe_b64encode(self.derive("hook", ref)).rstrip(b"=").decode()


def hash_token(token: str) -> TokenHash:
    """The form in which a token is stored and looked up."""
    return TokenHash(hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest())
