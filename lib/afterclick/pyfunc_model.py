"""MLflow runs this file to load a model ("models from code"): history rows in, ranked items out."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from afterclick.holdout import as_histories
from afterclick.models import load_model
from afterclick.recommendations import Recommender
from afterclick.setting_sections import RecommendationSettings


class RankedItems(PythonModel):
    """The production ranking code over plain arrays."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the arrays beside this file."""
        model = load_model(Path(context.artifacts["model"]))
        rules = RecommendationSettings(event_weights=dict(model.event_weights))
        self._recommender = Recommender(model, rules)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> Any:
        """Return each person's list for the history rows given."""
        histories = as_histories(pa.Table.from_pandas(model_input, preserve_index=False))
        lists = self._recommender.lists(list(histories.values()), 0)
        rows = [
            (subject, rank, item.item_id, item.score)
            for subject, top in zip(histories, lists, strict=True)
            for rank, item in enumerate(top.items, 1)
        ]
        return pd.DataFrame(rows, columns=["subject_id", "rank", "item_id", "score"])


set_model(RankedItems())
