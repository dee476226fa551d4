"""The event types and purposes every part agrees on; no dependencies, so that collector and jobs share it."""

from enum import StrEnum


class EventType(StrEnum):
    """What a person did."""

    VIEW = "view"
    CART = "cart"
    REMOVE_FROM_CART = "remove_from_cart"
    PURCHASE = "purchase"
    LIST_VIEW = "list_view"
    SEARCH = "search"
    WISHLIST = "wishlist"
    CHECKOUT = "checkout"
    REFUND = "refund"
    ENGAGEMENT = "engagement"
    """How long a page was in view and how far it was scrolled."""
    FORM = "form"
    CONSENT = "consent"
    PAGE = "page"
    SCREEN = "screen"
    IDENTIFY = "identify"
    GROUP = "group"
    ALIAS = "alias"
    CUSTOM = "custom"


class Purpose(StrEnum):
    """What a person may allow us to do with their events."""

    ANALYTICS = "analytics"
    PERSONALISATION = "personalisation"


ITEM_EVENT_TYPES = frozenset({EventType.VIEW, EventType.CART, EventType.REMOVE_FROM_CART, EventType.PURCHASE})
"""Event types that must name at least one item."""

LIST_EVENT_TYPES = frozenset({EventType.LIST_VIEW, EventType.WISHLIST, EventType.CHECKOUT, EventType.REFUND})
"""Event types that may name items."""
