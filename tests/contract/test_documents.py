"""Documents that repeat the code say the same."""

from pathlib import Path

import pytest

from afterclick.collector.event_names import NAMES
from afterclick.vocabulary import EventType


@pytest.mark.parametrize("kind", NAMES, ids=str)
def test_events_document_lists_every_name(kind: EventType) -> None:
    line = f"| `{kind.value}` | {', '.join(NAMES[kind])} |"

    assert line in Path("docs/events.md").read_text(encoding="utf-8").splitlines()


def test_a_name_means_one_thing() -> None:
    names = [name for names in NAMES.values() for name in names]

    assert len(names) == len(set(names))
