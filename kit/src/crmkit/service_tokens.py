"""Services call one another as themselves: a five-minute token signed with the service's own key.

The public keys of all services lie in one file of the deployment (`service-jwks.json`), so that calls
between services do not depend on identity (decision 5).
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from crmkit.files import write_secret
from crmkit.sealing import create_sealing_key

SERVICE_ISSUER = "crm-services"
_AUDIENCE = "crm"
_LIFETIME_SECONDS = 300
_RENEW_BEFORE_SECONDS = 60


@dataclass
class ServiceKeys:
    """A service's own signing key and everyone's public keys."""

    service: str
    private: ECKey
    public: list[dict[str, Any]]
    _token: str = field(default="", repr=False)
    _renew_at: float = 0

    @classmethod
    def load(cls, service: str, folder: Path) -> "ServiceKeys":
        """Reads `<service>.key.json` and `service-jwks.json` from the deployment's key folder."""
        private = ECKey.import_key(json.loads((folder / f"{service}.key.json").read_text()))
        public = json.loads((folder / "service-jwks.json").read_text())["keys"]
        return cls(service, private, public)

    def token(self) -> str:
        """A token that says who calls; the same one until shortly before it expires."""
        now = time.time()
        if now >= self._renew_at:
            claims = {
                "iss": SERVICE_ISSUER,
                "aud": _AUDIENCE,
                "sub": f"services/{self.service}",
                "iat": int(now),
                "exp": int(now) + _LIFETIME_SECONDS,
            }
            header = {"alg": "ES256", "kid": f"service-{self.service}"}
            self._token = jwt.encode(header, claims, self.private)
            self._renew_at = now + _LIFETIME_SECONDS - _RENEW_BEFORE_SECONDS
        return self._token


def create_service_keys(folder: Path, services: list[str]) -> None:
    """Makes the keys of each service that has none, and the file of all public keys."""
    folder.mkdir(parents=True, exist_ok=True)
    public = []
    for service in services:
        path = folder / f"{service}.key.json"
        if not path.exists():
            key = ECKey.generate_key("P-256", {"kid": f"service-{service}", "use": "sig"})
            write_secret(path, json.dumps(key.as_dict(private=True)))
        create_sealing_key(folder, service)
        key = ECKey.import_key(json.loads(path.read_text()))
        public.append(key.as_dict(private=False))
    (folder / "service-jwks.json").write_text(json.dumps({"keys": public}))
