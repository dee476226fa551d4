"""Exact keys and bytes in Redis: other programs and older versions read them."""

import msgspec
import numpy as np
import pytest

from afterclick.connectors.redis_store import (
    Fence,
    StoredHistory,
    decode_popular,
    history_key,
    items_key,
    list_key,
    pack_history,
    pointer_key,
    popular_key,
    unpack_history,
)
from afterclick.errors import StoreUnavailableError
from afterclick.histories import EVENT_TYPE_CODES, RECORD
from afterclick.list_records import ItemNames, TopList, pack_list, unpack_list
from afterclick.places import ListedItem

TOP = TopList("v1", "fold_in", 5, 6, [ListedItem("mug", 0.5, "because_you_interacted")])


def test_keys() -> None:
    assert pointer_key("ac:") == b"ac:model"
    assert history_key("ac:", "s") == b"ac:h:s"
    assert list_key("ac:", "v1", "s") == b"ac:r:v1:s"
    assert popular_key("ac:", "v1") == b"ac:popular:v1"
    assert items_key("ac:", "v1") == b"ac:items:v1"


def test_history_bytes() -> None:
    value = pack_history(StoredHistory(np.array([(7, 1000, 3)], RECORD), 4, fresh_as_of_ms=99), Fence(2, 6))

    assert value.hex() == (
        "41483032" "05000000" "02000000" "0600000000000000" "6300000000000000"  # AH02, revision, fence, fresh as of 99
        "02" "04" "8a0e" "00"  # 1 record, types of 2 bits, 901 ms later, none from first to last
        "0700000000000000" "01" "02"  # key, time, type - 1
    )  # fmt: skip
    stored = unpack_history(value)
    assert (stored.revision, stored.fence, stored.fresh_as_of_ms) == (5, Fence(2, 6), 99)
    assert stored.records.tolist() == [(7, 1000, 3)]


def test_a_history_of_an_earlier_version_is_read() -> None:
    value = bytes.fromhex(
        "41483031" "05000000" "02000000" "0600000000000000" "6300000000000000"
        "0700000000000000" "e803000000000000" "03"
    )  # fmt: skip

    stored = unpack_history(value)

    assert (stored.revision, stored.fence, stored.fresh_as_of_ms) == (5, Fence(2, 6), 99)
    assert stored.records.tolist() == [(7, 1000, 3)]


@pytest.mark.parametrize("cut", [3, 27, 30, 40])
def test_a_history_that_was_cut_is_refused(cut: int) -> None:
    value = pack_history(StoredHistory(np.array([(7, 1000, 3)], RECORD), 4, fresh_as_of_ms=99), Fence(2, 6))

    with pytest.raises(StoreUnavailableError, match="expected b'AH02'"):
        unpack_history(value[:cut])


def test_revision_never_becomes_the_zero_of_an_absent_history() -> None:
    value = pack_history(StoredHistory(np.zeros(0, RECORD), 2**32 - 1), Fence(1, 1))

    assert unpack_history(value).revision == 1


def test_list_bytes() -> None:
    names = ItemNames(["cup", "mug"])

    value = pack_list(TOP, names)

    assert value.hex() == (
        "4c31" "0000003f" "00000000" "00000000" "00000000"  # L1, best score, step; of the later list too
        "00" "02" "00" "02" "00"  # fold_in, rows of 1 bit, reasons of none, one place and none later
        "0a" "02" "09" "00"  # fresh as of 5, made 1 ms later, later list from -5 ms on; nothing without a number
        "00" "01" "01"  # step 0: low bits, high ones; row 1
    )  # fmt: skip
    assert unpack_list(value, "v1", names) == TOP


def test_popular_bytes() -> None:
    value = msgspec.msgpack.encode(TOP)

    assert msgspec.msgpack.decode(value) == {
        "model_version": "v1",
        "source": "fold_in",
        "fresh_as_of_ms": 5,
        "generated_at_ms": 6,
        "items": [{"item_id": "mug", "score": 0.5, "reason": "because_you_interacted"}],
        "trigger": None,
        "later": None,
        "later_after_ms": 0,
    }
    assert decode_popular(value) == TOP


def test_a_popular_list_of_an_earlier_version_is_read_and_holds_for_ever() -> None:
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(TOP))
    earlier = {name: value for name, value in fields.items() if not name.startswith("later")}

    top = decode_popular(msgspec.msgpack.encode(earlier))

    assert top == top.at(2**62) == TOP


def test_event_type_codes_are_fixed() -> None:
    assert EVENT_TYPE_CODES == {"view": 1, "cart": 2, "purchase": 3, "remove_from_cart": 4}
