"""A failed query names the section of the runbook that says what to do, and the section exists."""

from pathlib import Path

import pytest

from afterclick.job_runner import runbook_section


@pytest.mark.parametrize(
    ("told", "section"),
    [
        ("[KAFKA_DATA_LOSS.START_OFFSET_RESET] Some data may have been lost", "A hole in Kafka"),
        ("Partition events-0's offset was changed from 10 to 3, some data may have been missed", "A hole in Kafka"),
        ("Redis does not answer as it should: OOM command not allowed", "Redis is down"),
        ("anything else", "A stream stopped"),
    ],
)
def test_runbook_section(told: str, section: str) -> None:
    assert runbook_section(told) == section
    assert f"# {section}\n" in Path("docs/operations.md").read_text(encoding="utf-8")
