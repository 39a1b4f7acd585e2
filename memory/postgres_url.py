"""The URL of a Postgres database: checked, and told without its password. Speaks to no server."""

import re
from urllib.parse import parse_qs, unquote

FORM = "postgresql://user:password@host:5432/database, special characters of the password as %XX"
_HOST = r"(\[[^]]*\]|[^:\[]*)"


def check_url(url: str) -> None:
    """Find out whether a URL can be read, before libpq does, whose words repeat the part that it cannot.

    Raises:
        ValueError: it cannot; the message holds nothing of the URL but its scheme.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"is no URL: write {FORM}")
    if scheme not in ("postgresql", "postgres"):
        raise ValueError(f"begins with {scheme + separator!r}: write {FORM}")
    address = rest.partition("?")[0]
    user, _, place = address.rpartition("@")
    hosts, _, name = place.partition("/")
    escaped = not re.search(r"%(?![0-9A-Fa-f]{2})", rest) and "@" not in rest.partition("?")[2]
    hosts_told = all(re.fullmatch(rf"{_HOST}(:\d*)?", host) for host in hosts.split(","))
    if re.search(r"[@/#\s]", user) or not escaped or not hosts_told:
        raise ValueError(f"cannot be read: write {FORM}")
    if not name:
        raise ValueError(f"names no database: write {FORM}")


def describe_url(url: str) -> str:
    """What messages call a database: its host, port and name, and nothing else of the URL."""
    address, _, query = url.partition("://")[2].partition("?")
    # After the last @, and ports in digits alone: a password that is not escaped may hold any character.
    hosts, _, name = address.partition("#")[0].rpartition("@")[2].partition("/")
    given = parse_qs(query)
    hosts = hosts or given.get("host", ["localhost"])[0]
    hosts = ",".join(re.sub(rf"^{_HOST}:(?!\d*$).*", r"\1", host) for host in unquote(hosts).split(","))
    return f"postgresql://{hosts}/{unquote(name) or given.get('dbname', [''])[0]}"
