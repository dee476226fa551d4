"""What the API must know of the catalogue, as one value in Redis: written with table ``items``, read when it changes."""

import hashlib
from collections.abc import Mapping

import msgspec

from afterclick.connectors.redis_store import RedisStore, translated


class ServedCatalogue(msgspec.Struct, frozen=True):
    """Category by item id, for those that have one, and the ids that are out of stock."""

    category_of: Mapping[str, str] = {}
    out_of_stock: frozenset[str] = frozenset()


def catalogue_key(prefix: str) -> bytes:
    """Return the key of the catalogue: MessagePack of `ServedCatalogue`."""
    return f"{prefix}catalogue".encode()


def catalogue_digest_key(prefix: str) -> bytes:
    """Return the key of its digest: another one means that it has changed."""
    return f"{prefix}catalogue:digest".encode()


def write_catalogue(store: RedisStore, catalogue: ServedCatalogue) -> None:
    """Replace the catalogue; the API follows within ``serving.popular_refresh_seconds``.

    Raises
    ------
    StoreUnavailableError
        If Redis cannot be reached or refuses.
    """
    content = msgspec.msgpack.encode(catalogue, order="sorted")
    prefix = store.settings.prefix
    with translated():
        store.client.set(catalogue_key(prefix), content)
        store.client.set(catalogue_digest_key(prefix), hashlib.sha256(content).hexdigest().encode())


def decode_catalogue(content: bytes) -> ServedCatalogue:
    """Return what `write_catalogue` stored."""
    return msgspec.msgpack.decode(content, type=ServedCatalogue)
