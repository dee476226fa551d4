"""Event names of client SDKs -> our event types.

References
----------
Segment e-commerce spec, version 2 ("Product Viewed") and version 1 ("Viewed Product").
"""

from afterclick.vocabulary import EventType

_TRACKED = {
    "Product Viewed": EventType.VIEW,
    "Viewed Product": EventType.VIEW,
    "Product Clicked": EventType.VIEW,
    "Product Added": EventType.CART,
    "Added Product": EventType.CART,
    "Product Removed": EventType.REMOVE_FROM_CART,
    "Removed Product": EventType.REMOVE_FROM_CART,
    "Order Completed": EventType.PURCHASE,
    "Completed Order": EventType.PURCHASE,
}
_CALLS = {
    "page": EventType.PAGE,
    "screen": EventType.SCREEN,
    "identify": EventType.IDENTIFY,
    "group": EventType.GROUP,
    "alias": EventType.ALIAS,
}
CALLS = frozenset({"track", *_CALLS})
"""Message types of the Segment spec that we accept."""


def event_type(call: str, name: str | None) -> EventType:
    """Return what a message is about; a track of an unknown name is ``custom``."""
    return _TRACKED.get(name or "", EventType.CUSTOM) if call == "track" else _CALLS[call]
