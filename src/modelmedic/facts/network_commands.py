"""Commands about the network that a person can run, for this system."""

from __future__ import annotations

import shlex
import sys

# Source: gai.conf(5); resolv.conf(5), "no-aaaa" since glibc 2.36; netsh interface ipv6;
# networksetup(8).
_IPV4_FIRST = {
    "win32": "netsh interface ipv6 set prefixpolicy ::ffff:0:0/96 46 4   makes programs try IPv4 "
    "first (as administrator).",
    "darwin": "sudo networksetup -setv6off Wi-Fi   turns IPv6 off on that network.",
    "linux": "echo 'precedence ::ffff:0:0/96 100' | sudo tee -a /etc/gai.conf   makes programs try "
    "IPv4 first; for one shell: export RES_OPTIONS=no-aaaa",
}


def prefer_ipv4() -> str:
    """Return what makes programs try IPv4 first."""
    return _IPV4_FIRST.get(sys.platform, _IPV4_FIRST["linux"])


def show_routes() -> str:
    """Return what shows the routes out of this machine."""
    return {"win32": "route print", "darwin": "netstat -rn"}.get(sys.platform, "ip route")


def look_up(host: str) -> str:
    """Return what shows the addresses of a name."""
    return f"getent ahosts {host}" if sys.platform == "linux" else f"nslookup {host}"


def own_python() -> str:
    """Return this Python as the first word of a command."""
    return f'& "{sys.executable}"' if sys.platform == "win32" else shlex.quote(sys.executable)


def percent_encode() -> str:
    """Return what asks for a password and prints it as a URL can hold it."""
    code = (
        "from getpass import getpass; from urllib.parse import quote; print(quote(getpass(), ''))"
    )
    return f'{own_python()} -c "{code}"'


def take_bundle(path: str) -> str:
    """Return the command that makes Hub clients take another bundle; "" without a file."""
    if not path:
        return ""
    if sys.platform == "win32":
        return f'set "SSL_CERT_FILE={path}" & set "REQUESTS_CA_BUNDLE={path}"'
    return "export SSL_CERT_FILE={0} REQUESTS_CA_BUNDLE={0}".format(shlex.quote(path))
