"""The spam filter as an ONNX file: what a device and a service run, without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from mlsys.serving.workflows.compare import WorkflowError, hash_all


class OnnxModel:
    """A model file opened for answers; one thread, for one message is too small for more.

    Raises WorkflowError when the file is no model.
    """

    def __init__(self, path: str | Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            # The bytes are read here, so that replacing the file cannot mix two models.
            self._session = onnxruntime.InferenceSession(
                Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise WorkflowError(f"There is no model to read at {path}.") from error
        except Exception as error:  # onnxruntime has an exception class for each kind of damage
            raise WorkflowError(f"{Path(path).name} is not a whole ONNX model.") from error
        self.version = int(self._session.get_modelmeta().version)
        self._input = self._session.get_inputs()[0].name

    def spam(self, text: str) -> float:
        """Probability that a message is spam."""
        return float(self.spam_all([text])[0])

    def spam_all(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, shape (len(texts),)."""
        _, probabilities = self._session.run(None, {self._input: hash_all(texts)})
        return probabilities[:, 1]
