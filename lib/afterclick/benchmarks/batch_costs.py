"""From what one load showed to the queue that predicts others: batch reports and probed posts in, `BatchQueue` out."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from afterclick.benchmarks.batch_queue import BatchQueue, FloatVector
from afterclick.errors import LocalStackError
from afterclick.query_metrics import BatchReport

_FEWEST = 10
"""Batches and samples below which there is nothing to fit."""


def fit_queue(
    reports: Sequence[BatchReport],
    samples: Sequence[dict[str, float]],
    *,
    uneven: Sequence[tuple[BatchReport, float]] = (),
) -> BatchQueue:
    """Return the queue of which these are the batches, and these the posts on their way (`FreshnessProbe.samples`).

    Parameters
    ----------
    uneven
        Batches of the same load sent unevenly, each with how many times slower the machine was than on the average of it.

    Notes
    -----
    Under an even load the size of a batch is the length of the one before, so that any likeness of neighbours would look
    like a cost of events; uneven sending makes sizes that nothing else explains.
    Duration over rows by Theil and Sen's estimator (Sen 1968): a pause of the machine makes one batch long and the next one
    large, which least squares would take for the cost of an event.

    Raises
    ------
    LocalStackError
        If there are too few of either.
    """
    if len(reports) < _FEWEST or len(samples) < _FEWEST:
        message = (
            f"{len(reports)} batches and {len(samples)} samples are too few: measure longer (at least {_FEWEST} each)"
        )
        raise LocalStackError(message)
    rows = np.array([report.rows for report in reports], np.float64)
    lengths = np.array([report.ms for report in reports], np.float64) / 1000
    more = np.array([(report.rows, report.ms / 1000 / factor) for report, factor in uneven]).reshape(-1, 2)
    rows, lengths = np.append(rows, more[:, 0]), np.append(lengths, more[:, 1])
    fixed, per_event = fitted_line(rows, lengths)
    return BatchQueue(
        fixed=fixed,
        per_event=per_event,
        spread=lengths / (fixed + per_event * rows),
        before=np.array([sample["acked_at"] - sample["posted_at"] for sample in samples]),
        after=_after_end(reports, samples),
    )


def fitted_line(at: FloatVector, value: FloatVector) -> tuple[float, float]:
    """Return level and slope: the median of all pairs' slopes, and of what is left; neither below 0."""
    first, second = np.triu_indices(len(at), 1)
    apart = at[second] != at[first]
    slopes = (value[second] - value[first])[apart] / (at[second] - at[first])[apart]
    slope = max(0.0, float(np.median(slopes))) if len(slopes) else 0.0
    return max(0.0, float(np.median(value - slope * at))), slope


def began(report: BatchReport) -> float:
    """Return when a batch began, in seconds since the epoch."""
    return datetime.fromisoformat(report.began_at).timestamp()


def _after_end(reports: Sequence[BatchReport], samples: Sequence[dict[str, float]]) -> FloatVector:
    """Return for each sample the seconds from the end of the batch that made its list to when it was seen."""
    begins = np.array([began(report) for report in reports])
    ends = begins + np.array([report.ms for report in reports]) / 1000
    generated = np.array([sample["generated_at"] for sample in samples])
    seen = np.array([sample["seen_at"] for sample in samples])
    batch = np.searchsorted(begins, generated, side="right") - 1
    is_known = batch >= 0
    return seen[is_known] - ends[batch[is_known]]
