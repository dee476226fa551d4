"""Event names of client SDKs -> our event types.

Names are compared without case, with spaces for underscores: "Product Viewed", "product_viewed" and "PRODUCT VIEWED" are one.

References
----------
Segment e-commerce spec, version 2 ("Product Viewed") and version 1 ("Viewed Product"); Google Analytics 4 recommended
events; Snowplow e-commerce actions and its older self-describing events. `docs/events.md` shows the table.
"""

from afterclick.vocabulary import EventType

NAMES: dict[EventType, tuple[str, ...]] = {
    EventType.VIEW: ("product viewed", "viewed product", "product clicked", "clicked product", "view item",
                     "select item", "product view", "list click"),
    EventType.CART: ("product added", "added product", "add to cart", "wishlist product added to cart"),
    EventType.REMOVE_FROM_CART: ("product removed", "removed product", "remove from cart"),
    EventType.PURCHASE: ("order completed", "completed order", "purchase", "transaction"),
    EventType.LIST_VIEW: ("product list viewed", "viewed product list", "viewed product category", "view item list", "list view"),
    EventType.SEARCH: ("products searched", "searched products", "search", "view search results", "site search"),
    EventType.WISHLIST: ("product added to wishlist", "added product to wishlist", "add to wishlist"),
    EventType.CHECKOUT: ("checkout started", "started checkout", "begin checkout", "checkout step",
                          "checkout step viewed", "viewed checkout step", "checkout step completed", "completed checkout step"),
    EventType.REFUND: ("order refunded", "refunded order", "refund"),
    EventType.ENGAGEMENT: ("page engaged", "user engagement", "scroll", "page ping"),
    EventType.FORM: ("form submitted", "form submit", "submit form"),
    EventType.CONSENT: ("segment consent preference updated", "consent preference updated", "consent preferences"),
    EventType.PAGE: ("page view",),
    EventType.SCREEN: ("screen view",),
}  # fmt: skip
"""Names of ``track`` messages by what they mean; every other name is ``custom``."""

_TRACKED = {name: kind for kind, names in NAMES.items() for name in names}
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
    if call != "track":
        return _CALLS[call]
    return _TRACKED.get((name or "").strip().lower().replace("_", " "), EventType.CUSTOM)
