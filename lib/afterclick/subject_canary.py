"""Two invented people whose traces are found again: random markers in every field that a client may fill."""

import secrets

import httpx

from afterclick.connectors.subject_store import open_subject_store
from afterclick.errors import StoreUnavailableError
from afterclick.pseudonyms import RawId
from afterclick.settings import Settings

_CONSENT = {"categoryPreferences": {"analytics": True, "personalisation": True}}


def plant(settings: Settings) -> dict[str, list[str]]:
    """Send an identify and a view of each through the collector; return their markers, the user id first.

    Raises
    ------
    StoreUnavailableError
        If the collector does not take them.
    """
    return {who: _plant(settings, who) for who in ("canary", "control")}


def _plant(settings: Settings, who: str) -> list[str]:
    marker = f"{who}-{secrets.token_hex(16)}"
    markers = [f"{marker}-{field}" for field in ("user", "anonymous", "message", "order", "page")]
    user, anonymous, message, order, page = markers
    shared = {"userId": user, "anonymousId": anonymous, "context": {"consent": _CONSENT, "page": {"path": f"/{page}"}}}
    properties = {"product_id": "canary-item", "order_id": order}
    view = {"type": "track", "event": "Product Viewed", "messageId": message, "properties": properties}
    spoiled = {**view, "messageId": f"{message}-2", "properties": {**properties, "price": "free"}}
    batch = [{**shared, **one} for one in ({"type": "identify", "messageId": f"{message}-1"}, view, spoiled)]
    key = settings.collector.write_keys[0].get_secret_value()
    answer = httpx.post(f"{settings.collector.base_url}/v1/batch", json={"batch": batch}, auth=(key, ""), timeout=10)
    store = open_subject_store(settings)
    person = store.find(RawId("user", user))
    if answer.status_code != httpx.codes.OK or person is None:
        told = f"the collector at {settings.collector.base_url} answered {answer.status_code}; is it up?"
        raise StoreUnavailableError(told)
    hashed = [store.keys.lookup(RawId("user", user)), store.keys.lookup(RawId("anonymous", anonymous))]
    return [*markers, *hashed, person.subject_id]
