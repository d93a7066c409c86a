"""Addresses that name servers give for servers of the internet, and that are none of it."""

from __future__ import annotations

# Where an address leads that a name server gives for a server of the internet. The more special
# come first. Source: RFC 1122, RFC 2544 (its range is what Clash and its like give as "fake-ip"),
# RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291.
_ODD_NETWORKS = (
    ("127.0.0.0/8", "this machine itself: most often a line of its hosts file"),
    ("::1/128", "this machine itself: most often a line of its hosts file"),
    ("198.18.0.0/15", "a local proxy program that answers for all names (fake-ip)"),
    ("100.64.0.0/10", "a VPN or the provider's own network"),
    ("169.254.0.0/16", "the local network alone"),
    ("10.0.0.0/8", "a private network: a mirror, a filter or a login page"),
    ("172.16.0.0/12", "a private network: a mirror, a filter or a login page"),
    ("192.168.0.0/16", "a private network: a mirror, a filter or a login page"),
    ("fc00::/7", "a private network: a mirror, a filter or a login page"),
)


def place_of(address: str) -> str:
    """Return where an address leads that is none of the internet, in words; "" for any other."""
    import ipaddress

    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    for network, words in _ODD_NETWORKS:
        if found in ipaddress.ip_network(network):
            return words
    return ""
