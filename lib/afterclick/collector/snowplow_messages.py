"""Snowplow's tracker protocol -> messages.

Page views, page pings, screen views, structured and self-describing events, and the e-commerce action with its product
and transaction entities. An entity named ``consent`` holds what Segment has in ``context.consent``.

References
----------
Snowplow Tracker Protocol (``com.snowplowanalytics.snowplow/tp2``).
"""

import base64
import binascii
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

import msgspec

from afterclick.collector.messages import Context, Json, Message, Refused

_ACTION = "snowplow_ecommerce_action"
_SCREENS = frozenset({"screen_view"})


def decode_snowplow(raw: bytes) -> Message:
    """Return the message of one event of a payload.

    Raises
    ------
    Refused
        If a field is not a text, or a self-describing part cannot be read.
    """
    try:
        sent = msgspec.json.decode(raw, type=dict[str, str], strict=False)
        entities = _entities(sent)
        call, name, properties = _event_of(sent, entities)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, ValueError) as error:
        raise Refused("wrong_types", f"the event does not fit Snowplow's tracker protocol: {error}") from error
    return Message(
        type=call,
        event=name,
        user_id=sent.get("uid"),
        anonymous_id=sent.get("duid") or sent.get("nuid") or sent.get("tnuid"),
        message_id=sent.get("eid"),
        properties=properties,
        context=Context(
            consent=_data_of(entities, "consent"),
            page={"path": _path(sent.get("url")), "referrer": sent.get("refr")},
            library={"name": f"snowplow-{sent.get('tv', '')[:40]}"},
            user_agent=sent.get("ua"),
            ip=sent.get("ip"),
        ),
        original_timestamp=_moment(sent, "ttm") or _moment(sent, "dtm"),
        sent_at=_moment(sent, "stm"),
    )


def _event_of(sent: dict[str, str], entities: list[tuple[str, Json]]) -> tuple[str, str | None, Json]:
    kind = sent.get("e")
    if kind == "pv":
        return "page", None, {}
    if kind == "pp":
        return "track", "page ping", {"scroll_percent": _scroll_percent(sent)}
    if kind == "se":
        names = {"category": "se_ca", "label": "se_la", "property": "se_pr", "value": "se_va"}
        return "track", sent.get("se_ac"), {name: sent.get(field) for name, field in names.items()}
    if kind == "ti":  # an item of an older transaction event
        item = {"sku": sent.get("ti_sk"), "price": _number(sent.get("ti_pr")), "quantity": _number(sent.get("ti_qu"))}
        return "track", "purchase", {"order_id": sent.get("ti_id"), "currency": sent.get("ti_cu"), "products": [item]}
    if kind == "ue":
        return _self_describing(sent, entities)
    return ("track", "order", {"order_id": sent.get("tr_id")}) if kind == "tr" else (f"snowplow:{kind}", None, {})


def _self_describing(sent: dict[str, str], entities: list[tuple[str, Json]]) -> tuple[str, str | None, Json]:
    frame = _embedded(sent, "ue_pr", "ue_px")
    name, data = _described(frame.get("data"))
    if name in _SCREENS:
        return "screen", None, data
    if name != _ACTION:
        return "track", name, {**data, "price": data.get("unitPrice", data.get("price"))}
    products = [entity for kind, entity in entities if kind == "product"]
    transaction = _data_of(entities, "transaction") or _data_of(entities, "refund") or {}
    currency = transaction.get("currency") or next((p["currency"] for p in products if p.get("currency")), None)
    order_id = transaction.get("transaction_id")
    action = data.get("type")
    if not isinstance(action, str | None):
        raise ValueError("the type of an e-commerce action is not a text")  # noqa: TRY004 - bad data, not a bug
    return "track", action, {"products": products, "currency": currency, "order_id": order_id}


def _entities(sent: dict[str, str]) -> list[tuple[str, Json]]:
    contexts = _embedded(sent, "co", "cx").get("data") or []
    if not isinstance(contexts, list):
        raise ValueError("contexts is not a list")  # noqa: TRY004 - bad data, not a bug
    return [_described(entity) for entity in contexts]


def _embedded(sent: dict[str, str], plain: str, encoded: str) -> Json:
    """Read a self-describing JSON, sent as text or as base64."""
    text = sent.get(plain) or ""
    if packed := sent.get(encoded):
        try:
            text = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
        except binascii.Error as error:
            message = f"{encoded} is not base64: {error}"
            raise ValueError(message) from error
    try:
        return msgspec.json.decode(text, type=Json) if text else {}
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _described(frame: Any) -> tuple[str, Json]:
    """Return name and data of ``{"schema": "iglu:vendor/name/format/version", "data": {...}}``."""
    if (
        not isinstance(frame, dict)
        or not isinstance(frame.get("schema"), str)
        or not isinstance(frame.get("data"), dict)
    ):
        raise ValueError("a self-describing JSON has no schema or no data")  # noqa: TRY004 - bad data, not a bug
    _, _, path = frame["schema"].partition(":")
    parts = path.split("/")
    return (parts[1] if len(parts) > 1 else path), frame["data"]


def _data_of(entities: list[tuple[str, Json]], name: str) -> Json | None:
    return next((data for kind, data in entities if kind == name), None)


def _path(url: str | None) -> str | None:
    try:
        return urlsplit(url).path or "/" if url else None
    except ValueError:  # "http://[": not an address of a page
        return None


def _scroll_percent(sent: dict[str, str]) -> float | None:
    """How much of the document's height has been in view."""
    offset, view, document = (_number(sent.get("pp_may")), _height(sent.get("vp")), _height(sent.get("ds")))
    if offset is None or not view or not document:
        return None
    return round(min(100.0, max(0.0, 100 * (offset + view) / document)), 1)


def _height(size: str | None) -> float | None:
    return _number((size or "").lower().partition("x")[2])


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    if not isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def _moment(sent: dict[str, str], name: str) -> int | None:
    value = _number(sent.get(name))
    return int(value) if value is not None else None
