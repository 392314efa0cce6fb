"""What tells one running twin from another: tenant and data folder. Light on purpose: clients import it."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address

from twin.settings import Settings


def data_fingerprint(settings: Settings) -> str:
    """16 hexadecimal digits over the resolved folder of the tenant's data; says nothing about the path itself."""
    return hashlib.sha256(str(settings.tenant_dir.resolve()).encode()).hexdigest()[:16]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`. Names are not resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def url_of(host: str, port: int) -> str:
    """The address a browser on this machine can open."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
