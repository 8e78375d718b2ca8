"""Where messages may be posted to: addresses come from clients, and must not reach inside."""

import ipaddress
from collections.abc import Iterable
from fnmatch import fnmatchcase

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AllowedHosts:
    """The rule of ``DURABLE_PUSH_ALLOWED_HOSTS``.

    Entries are names, patterns as ``*.example.com``, either with ``:port``, and networks. With none
    every public address is allowed. A private one is, when its name or its network is listed.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        """``entries`` as in the setting."""
        self._names: list[tuple[str, int | None]] = []
        self._networks: list[Network] = []
        for entry in entries:
            if (network := _parse_network(entry)) is not None:
                self._networks.append(network)
            else:
                self._names.append(_parse_name(entry))
        self._is_open = not (self._names or self._networks)

    def is_listed(self, host: str, port: int) -> bool:
        """Whether the host itself is listed, by name or by the network that it is an address of."""
        host = host.lower().rstrip(".")
        if any(
            fnmatchcase(host, name) and listed_port in {None, port}
            for name, listed_port in self._names
        ):
            return True
        address = parse_address(host)
        return address is not None and self._is_in_network(address)

    def may_ask(self, host: str, port: int) -> bool:
        """Whether the host may be looked up at all."""
        return self._is_open or bool(self._networks) or self.is_listed(host, port)

    def may_connect(self, host: str, port: int, address: str) -> bool:
        """Whether a connection to this address of a host may be opened."""
        if self.is_listed(host, port):
            return True
        parsed = parse_address(address)
        if parsed is None:
            return False
        return self._is_in_network(parsed) or (self._is_open and is_public(parsed))

    def _is_in_network(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def is_public(address: Address) -> bool:
    """Whether an address is reachable by everybody: no loopback, private or link-local one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address in _NAT64:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def parse_address(host: str) -> Address | None:
    """Return an IP address; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _parse_network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None


def _parse_name(entry: str) -> tuple[str, int | None]:
    name, separator, port = entry.lower().rpartition(":")
    if separator and port.isdigit():
        return name.strip("[]"), int(port)
    return entry.lower(), None
