"""A model as MLflow's pyfunc from code, beside the plain arrays: for MLflow's own tools and for comparing answers.

Neither streams nor services load it, and nothing in it is pickled: MLflow keeps the source of `pyfunc_model`.
"""

import tempfile
import warnings
from importlib import resources
from pathlib import Path

from afterclick import __version__


def save_pyfunc(model_folder: Path, into: Path) -> None:
    """Write the pyfunc of a model whose arrays lie in `model_folder`, with its signature."""
    from mlflow import pyfunc  # noqa: PLC0415 - seconds to import
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    history = [("string", "subject_id"), ("string", "item_id"), ("string", "event_type"), ("long", "event_ms")]
    ranked = [("string", "subject_id"), ("long", "rank"), ("string", "item_id"), ("double", "score")]
    schemas = [Schema([ColSpec(kind, name) for kind, name in columns]) for columns in (history, ranked)]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "pyfunc_model.py"  # the library may lie in a zip, MLflow wants a file
        source.write_text(resources.files("afterclick").joinpath("pyfunc_model.py").read_text(), encoding="utf-8")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*input example was not provided")  # there is a signature
            pyfunc.save_model(
                str(into),
                python_model=str(source),
                artifacts={"model": str(model_folder)},
                signature=ModelSignature(*schemas),
                pip_requirements=[f"afterclick=={__version__}"],
            )
