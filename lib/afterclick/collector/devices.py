"""What a user agent and an address tell, and no more: kind of device, bot or not, a truncated address."""

import ipaddress
from functools import lru_cache

import crawleruseragents

from afterclick.collector.messages import Json

_CACHED = 4096
_LONGEST_USER_AGENT = 1024


def device_type(user_agent: str | None, device: Json | None) -> str | None:
    """Return ``desktop``, ``mobile``, ``tablet`` or ``tv``; None when nothing says so.

    Parameters
    ----------
    device
        ``context.device`` of Segment's mobile clients.
    """
    if device and isinstance(device.get("type"), str):
        model = device.get("model")
        return "tablet" if isinstance(model, str) and "ipad" in model.lower() else "mobile"
    return _device_of(user_agent[:_LONGEST_USER_AGENT]) if user_agent else None


def is_bot(user_agent: str) -> bool:
    """Tell whether a user agent is a known crawler's."""
    return _is_bot(user_agent[:_LONGEST_USER_AGENT])


def ip_prefix(address: str | None) -> str | None:
    """Return the network of an address, /24 or /48; None when it is not an address."""
    return _prefix(address) if address else None


@lru_cache(_CACHED)
def _device_of(user_agent: str) -> str:
    agent = user_agent.lower()
    if "ipad" in agent or "tablet" in agent or ("android" in agent and "mobile" not in agent):
        return "tv" if "tv" in agent else "tablet"
    if "mobi" in agent or "iphone" in agent or "android" in agent:
        return "mobile"
    return "tv" if "smart-tv" in agent or "smarttv" in agent else "desktop"


@lru_cache(_CACHED)
def _is_bot(user_agent: str) -> bool:
    return bool(crawleruseragents.is_crawler(user_agent))


@lru_cache(_CACHED)
def _prefix(address: str) -> str | None:
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network(f"{parsed}/{24 if parsed.version == 4 else 48}", strict=False))  # noqa: PLR2004
