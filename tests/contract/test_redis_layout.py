"""Exact keys and bytes in Redis: other programs and older versions read them."""

import msgspec
import numpy as np

from afterclick.connectors.redis_store import (
    Fence,
    ListedItem,
    StoredHistory,
    TopList,
    decode_list,
    history_key,
    list_key,
    pack_history,
    pointer_key,
    popular_key,
    unpack_history,
)
from afterclick.histories import EVENT_TYPE_CODES, RECORD

TOP = TopList("v1", "fold_in", 5, 6, [ListedItem("mug", 0.5, "because_you_interacted", "cup", 1.0)])


def test_keys() -> None:
    assert pointer_key("ac:") == b"ac:model"
    assert history_key("ac:", "s") == b"ac:h:s"
    assert list_key("ac:", "v1", "s") == b"ac:r:v1:s"
    assert popular_key("ac:", "v1") == b"ac:popular:v1"


def test_history_bytes() -> None:
    value = pack_history(StoredHistory(np.array([(7, 1000, 3)], RECORD), 4, fresh_as_of_ms=99), Fence(2, 6))

    assert value.hex() == (
        "41483031" "05000000" "02000000" "0600000000000000" "6300000000000000"
        "0700000000000000" "e803000000000000" "03"
    )  # fmt: skip
    stored = unpack_history(value)
    assert (stored.revision, stored.fence, stored.fresh_as_of_ms) == (5, Fence(2, 6), 99)
    assert stored.records.tolist() == [(7, 1000, 3)]


def test_revision_never_becomes_the_zero_of_an_absent_history() -> None:
    value = pack_history(StoredHistory(np.zeros(0, RECORD), 2**32 - 1), Fence(1, 1))

    assert unpack_history(value).revision == 1


def test_list_bytes() -> None:
    value = msgspec.msgpack.encode(TOP)

    assert msgspec.msgpack.decode(value) == {
        "model_version": "v1",
        "source": "fold_in",
        "fresh_as_of_ms": 5,
        "generated_at_ms": 6,
        "items": [{"item_id": "mug", "score": 0.5, "reason": "because_you_interacted", "because": "cup", "share": 1.0}],
        "trigger": None,
        "later": None,
        "later_after_ms": 0,
    }
    assert decode_list(value) == TOP


def test_a_list_of_an_earlier_version_is_read_and_holds_for_ever() -> None:
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(TOP))
    earlier = {name: value for name, value in fields.items() if not name.startswith("later")}

    top = decode_list(msgspec.msgpack.encode(earlier))

    assert top == top.at(2**62) == TOP


def test_event_type_codes_are_fixed() -> None:
    assert EVENT_TYPE_CODES == {"view": 1, "cart": 2, "purchase": 3, "remove_from_cart": 4}
