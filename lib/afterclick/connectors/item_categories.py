"""Category of every item as one value in Redis: written with the catalogue, read by every API process when it changes."""

import hashlib
from collections.abc import Mapping

import msgspec

from afterclick.connectors.redis_store import RedisStore, translated


def categories_key(prefix: str) -> bytes:
    """Return the key of the categories: MessagePack of a map from item id to category."""
    return f"{prefix}categories".encode()


def categories_digest_key(prefix: str) -> bytes:
    """Return the key of their digest: another one means that they have changed."""
    return f"{prefix}categories:digest".encode()


def write_categories(store: RedisStore, category_of: Mapping[str, str]) -> None:
    """Replace the categories; the API follows within ``serving.popular_refresh_seconds``.

    Raises
    ------
    StoreUnavailableError
        If Redis cannot be reached or refuses.
    """
    content = msgspec.msgpack.encode(dict(sorted(category_of.items())))
    prefix = store.settings.prefix
    with translated():
        store.client.set(categories_key(prefix), content)
        store.client.set(categories_digest_key(prefix), hashlib.sha256(content).hexdigest().encode())


def decode_categories(content: bytes) -> dict[str, str]:
    """Return what `write_categories` stored."""
    return msgspec.msgpack.decode(content, type=dict[str, str])
