"""Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body.

Source: the specification of Standard Webhooks, 1.0.0. Several secrets give several signatures, of which
the receiver accepts any: that is how a secret is changed without a gap.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime


def signed_headers(
    secrets: Sequence[bytes], message_id: str, now: datetime, body: bytes
) -> dict[str, str]:
    """The three headers of a request; `now` guards against replays at the receiver."""
    timestamp = str(int(now.timestamp()))
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [
        base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
        for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
