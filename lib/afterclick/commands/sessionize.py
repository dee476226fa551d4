"""``afterclick sessionize``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST_GAP = 1e9
"""Minutes, almost two thousand years: more does not fit in the microseconds that sessions are cut by."""


def sessionize(
    file: Annotated[Path, typer.Argument(help="Parquet, CSV or JSON Lines.", exists=True, dir_okay=False)],
    mapping: Annotated[Path | None, typer.Option(help="How its columns become the default ones.")] = None,
    gap_minutes: Annotated[float, typer.Option(help="A session closes by a gap greater than this.", min=0)] = 30,
    out: Annotated[Path | None, typer.Option(help="Write the sessions to this Parquet file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Cut a recorded log into sessions with the operator of the stream.

    Example: afterclick sessionize lines.parquet --mapping conf/mappings/online_retail.yaml --json
    """
    from afterclick.recorded_logs import read_log, read_mapping

    if not gap_minutes <= _LONGEST_GAP:
        raise typer.BadParameter(f"{gap_minutes} is not at most {_LONGEST_GAP:,.0f}", param_hint="--gap-minutes")
    log = read_log(file, read_mapping(mapping)).table
    closed, figures = cut_log(log, gap_minutes)
    if out:
        _write(closed, out)
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        table = "\n".join(f"{key:>28}  {value:>10,}" for key, value in figures.items())
        Console().print(table, highlight=False)


def cut_log(log: "pa.Table", gap_minutes: float) -> tuple["pa.Table", dict[str, int]]:
    """Return closed sessions and counts: events, subjects, sessions, lines without subject or time."""
    import numpy as np
    import pyarrow.compute as pc

    from afterclick.session_shards import ARRIVING, Cutting, advance_shard
    from afterclick.session_state import Shard

    arriving = as_arriving(log)
    end_of_time = int(np.iinfo(np.int64).max)
    cutting = Cutting(round(gap_minutes * 6e7))
    opened = advance_shard(Shard.empty(), arriving, cutting, watermark_us=0)
    closed = advance_shard(opened.shard, ARRIVING.empty_table(), cutting, watermark_us=end_of_time)
    figures = {
        "events": sum(closed.closed["event_count"].to_pylist()),
        "subjects": pc.count_distinct(closed.closed["subject_id"]).as_py(),
        "sessions": len(closed.closed),
        "lines": len(log),
        "without_subject_or_time": len(log) - len(arriving),
    }
    return closed.closed, figures


def _write(closed: "pa.Table", out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from afterclick.errors import SettingsError
    from afterclick.session_shards import closed_frame

    try:
        pq.write_table(pa.Table.from_pandas(closed_frame(closed), preserve_index=False), out)
    except OSError as error:
        message = (
            f"{out} cannot be written: {error}. Name a file in a folder that exists and that this user may write to."
        )
        raise SettingsError(message) from error


def as_arriving(log: "pa.Table") -> "pa.Table":
    """Return a log's lines with subject and time as the operator takes them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from afterclick.session_shards import ARRIVING

    rows = log.filter(pc.and_(pc.is_valid(log["subject_id"]), pc.is_valid(log["event_at"])))
    keys = _event_keys(rows)
    at = pc.cast(rows["event_at"], pa.int64())
    columns = {
        "subject_id": rows["subject_id"],
        "event_key": keys,
        "event_type": rows["event_type"],
        "event_us": at,
        "received_us": at,
        "value": pc.multiply(_column(rows, "quantity", 1.0), _column(rows, "price", 0.0)),
        "item_ids": pa.ListArray.from_arrays(np.arange(len(rows) + 1), rows["item_id"].combine_chunks()),
    }
    nulls = {field.name: pa.nulls(len(rows), field.type) for field in ARRIVING if field.name not in columns}
    return pa.table({**columns, **nulls}).select(ARRIVING.names).cast(ARRIVING)


def _event_keys(rows: "pa.Table") -> "pa.Array":
    """Return a hash of `event_id`; without ids every line is an event of its own."""
    import hashlib

    import numpy as np
    import pyarrow as pa

    if "event_id" not in rows.schema.names:
        return pa.array(np.arange(len(rows)))
    digests = (
        hashlib.blake2b((i or f"line {n}").encode(), digest_size=8).digest()
        for n, i in enumerate(rows["event_id"].to_pylist())
    )
    return pa.array(np.frombuffer(b"".join(digests), "<i8"))


def _column(rows: "pa.Table", name: str, default: float) -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in rows.schema.names:
        return pa.repeat(default, len(rows))
    return pc.fill_null(pc.cast(rows[name], pa.float64()), default)
