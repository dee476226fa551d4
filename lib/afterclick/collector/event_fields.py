"""A message -> the fields of `schemas.EVENT_MESSAGE`: items, page and device.

A wrong price or time goes through as it is, and the jobs' suite quarantines it with its raw bytes.
"""

from typing import Any
from urllib.parse import urlsplit

from afterclick.attribution import read_token
from afterclick.collector.devices import device_type, ip_prefix, is_bot
from afterclick.collector.event_names import event_type
from afterclick.collector.messages import Arrival, Context, Json, Message, as_text, own_id
from afterclick.vocabulary import ITEM_EVENT_TYPES, LIST_EVENT_TYPES, EventType

_SAYS_NOTHING = Context()


def event_fields(message: Message, call: str, raw: bytes, arrival: Arrival, happened: str) -> Json:
    """Return every field but the subject and the consent.

    Parameters
    ----------
    happened
        When, by our clock.
    """
    properties = message.properties or {}
    kind = event_type(call, message.event)
    context = message.context or arrival.context or _SAYS_NOTHING
    library = (context.library or {}).get("name")
    attribution = read_token(properties.get("attribution"), arrival.attribution_keys)
    return {
        "event_id": as_text(message.message_id) or own_id(raw),
        "event_type": kind,
        "event_name": message.event or message.name,
        "event_at": happened,
        "received_at": arrival.received_text,
        "items": _items_of(kind, properties),
        "order_id": as_text(_first(properties, "order_id", "orderId", "transaction_id")),
        "currency": properties.get("currency"),
        **_page_fields(kind, context, properties),
        **_device_fields(context, arrival),
        **(_engagement_fields(properties) if kind is EventType.ENGAGEMENT else _NO_ENGAGEMENT),
        "form_id": as_text(_first(properties, "form_id", "formId", "form_name")) if kind is EventType.FORM else None,
        "list_id": attribution.list_id if attribution else None,
        "source": library if isinstance(library, str) else "segment",
        "rejected_reason": None,
    }


_EXACT = 2**53
_NO_ENGAGEMENT: Json = {"dwell_ms": None, "scroll_percent": None}


def _engagement_fields(properties: Json) -> Json:
    return {
        "dwell_ms": _first(properties, "dwell_ms", "engagement_time_msec"),
        "scroll_percent": _first(properties, "scroll_percent", "percent_scrolled"),
    }


def _page_fields(kind: EventType, context: Context, properties: Json) -> Json:
    page = context.page or {}
    here, told = page.get("path"), properties.get("path")
    is_of_told = kind is EventType.ENGAGEMENT  # said when a page is left: the client may be at the next one already
    campaign = (context.campaign or {}).get("name")
    return {
        "page_path": (told or here) if is_of_told else (here or told),
        "referrer_host": _host(page.get("referrer") or properties.get("referrer")),
        "campaign": campaign if isinstance(campaign, str) else None,
    }


def _device_fields(context: Context, arrival: Arrival) -> Json:
    user_agent = context.user_agent or arrival.user_agent
    return {
        "device": device_type(user_agent, context.device),
        "is_bot": is_bot(user_agent) if user_agent else None,
        "ip_prefix": ip_prefix(context.ip or arrival.ip),
    }


def _items_of(kind: EventType, properties: Json) -> Any:
    products = _first(properties, "products", "items")
    if kind not in ITEM_EVENT_TYPES and not (kind in LIST_EVENT_TYPES and (products or _item_id(properties))):
        return None
    if products is None:
        return [_item(properties)]
    return (
        [_item(product) if isinstance(product, dict) else product for product in products]
        if isinstance(products, list)
        else products
    )


def _item(product: Json) -> Json:
    return {
        "item_id": as_text(_item_id(product)),
        "quantity": _whole(product.get("quantity")),
        "price": product.get("price"),
    }


def _whole(value: Any) -> Any:
    """Return a whole number as one: some languages' JSON has ``2.0``."""
    is_one = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    return int(value) if is_one else value


def _item_id(product: Json) -> Any:
    return _first(product, "product_id", "productId", "item_id", "id", "sku")


def _first(properties: Json, *names: str) -> Any:
    for name in names:
        if (value := properties.get(name)) is not None:
            return value
    return None


def _host(url: Any) -> str | None:
    """Return only the host of a referrer: its path may name a person."""
    if not isinstance(url, str) or not url:
        return None
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
