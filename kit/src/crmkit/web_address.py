"""Addresses of web pages."""

from urllib.parse import urlsplit


def is_web_address(text: str) -> bool:
    """True for an http or https address with a host."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is none
    except ValueError:
        return False
    in_one_piece = not any(character.isspace() for character in text)
    return in_one_piece and parts.scheme in {"http", "https"} and bool(parts.hostname)
