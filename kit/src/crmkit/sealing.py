"""Secrets that must be read again (a webhook's key, a mail server's password), sealed at rest.

AES-256-GCM with a key file of the service in the deployment's key folder; the database alone opens
nothing. A sealed value says which key it needs: keys can be added, the newest seals. What a value is for
is authenticated with it, so that one cannot be put in another's place.
"""

import base64
import json
import secrets
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crmkit.files import write_secret

_FORMAT = b"\x01"
_KEY_BITS = 256
_NONCE_BYTES = 12
_HEAD_BYTES = len(_FORMAT) + 1


class UnsealError(Exception):
    """The value was not sealed here for this purpose, or its key is gone."""


class Sealer:
    """Seals and opens with the keys of one service."""

    def __init__(self, keys: dict[int, bytes]) -> None:
        """Takes keys by number, 1 to 255; the highest seals."""
        self._ciphers = {number: AESGCM(key) for number, key in keys.items()}
        self._newest = max(keys)

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Seals a secret for a purpose, such as `webhooks/0190…/secret`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        head = _FORMAT + bytes([self._newest])
        sealed = self._ciphers[self._newest].encrypt(nonce, plain, head + purpose.encode())
        return head + nonce + sealed

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Opens what was sealed for this purpose; raises UnsealError."""
        head, rest = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:]
        if len(head) < _HEAD_BYTES or head[:1] != _FORMAT or head[1] not in self._ciphers:
            msg = "not a sealed value, or its key is not in the key folder"
            raise UnsealError(msg)
        nonce, box = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        try:
            return self._ciphers[head[1]].decrypt(nonce, box, head + purpose.encode())
        except (InvalidTag, ValueError) as error:
            msg = "the value was changed or sealed for something else"
            raise UnsealError(msg) from error


@lru_cache(maxsize=16)
def sealer_of(service: str, keys_dir: Path) -> Sealer:
    """A service's sealer; its keys are read once."""
    kept = json.loads(_path(keys_dir, service).read_text())
    return Sealer({int(number): base64.b64decode(key) for number, key in kept.items()})


def create_sealing_key(folder: Path, service: str) -> None:
    """Makes a service's first sealing key, unless it has one."""
    path = _path(folder, service)
    if not path.exists():
        key = base64.b64encode(AESGCM.generate_key(_KEY_BITS)).decode()
        write_secret(path, json.dumps({"1": key}))


def _path(folder: Path, service: str) -> Path:
    return folder / f"{service}.sealing.json"
