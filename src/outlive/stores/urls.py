"""The urls of stores."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def is_postgres(url: str) -> bool:
    return url.partition("://")[0] in ("postgresql", "postgres")


def shown(url: str) -> str:
    """``url`` as it may be printed and logged: without its password."""
    if not is_postgres(url):
        return url
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    query = [(name, "***" if "pass" in name.lower() else value) for name, value in parse_qsl(parts.query)]
    hidden = f"{user.partition(':')[0]}:***" if ":" in user else user
    return urlunsplit(parts._replace(netloc=f"{hidden}{at}{place}", query=urlencode(query, safe="*")))
