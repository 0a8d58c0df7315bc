"""TFLite models by LiteRT, or by what it was called before."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.errors import InferenceError, RuntimeMissingError
from edge_app.preprocessing import Image
from edge_app.runtimes import LIBRARIES, Executed, Logits, Model, executed_precision, import_library, in_one_line
from edge_app.stderr import stderr_into

# tflite_runtime was given up in 2023 and is far slower at int8; TensorFlow takes seconds to import.
MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")
HEAVY = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"}


class LiteRT:
    """A loaded TFLite model."""

    def __init__(self, model: Model, interpreter: Any, executed: Executed) -> None:
        self._model = model
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]
        self._executed = executed

    def infer(self, batch: Image) -> Logits:
        """See `Runtime.infer`."""
        batch = self._model.check_batch(batch)
        try:
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            logits = self._interpreter.get_tensor(self._output)
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"{self._executed.library} failed on a picture: {in_one_line(error)}") from error
        except (AttributeError, SystemError) as error:
            raise _misfit(self._executed.library, error) from error
        return self._model.check_logits(logits)

    def describe(self) -> Executed:
        """See `Runtime.describe`."""
        return self._executed


def library() -> tuple[str, str]:
    """See `Loader.library`."""
    _, name, version = import_library("tflite", *MODULES)
    return name, version


def load(model: Model, threads: int) -> LiteRT:
    """See `Loader.load`."""
    module, name, version = import_library("tflite", *MODULES)
    try:
        # Nothing that a user could act on: notes that go past Python, with errors that it also raises, and the warning
        # of TensorFlow's interpreter that it will be moved to LiteRT.
        with Path(os.devnull).open("wb") as nowhere, stderr_into(nowhere), warnings.catch_warnings(action="ignore"):
            interpreter = module.Interpreter(model_content=model.content, num_threads=threads)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise InferenceError(
            f"{name} {version} can't load the model: {in_one_line(error)}; get the bundle again, "
            f"or a newer library: {LIBRARIES['tflite'].install} --upgrade"
        ) from error
    except (AttributeError, SystemError) as error:
        raise _misfit(name, error) from error
    sides = interpreter.get_input_details(), interpreter.get_output_details()
    inputs, outputs = ([(np.dtype(each["dtype"]).name, each["shape"].tolist()) for each in side] for side in sides)
    model.check_signature(inputs, outputs)
    return LiteRT(model, interpreter, Executed(name, version, *_precision_and_device(interpreter, threads)))


def _precision_and_device(interpreter: Any, threads: int) -> tuple[str, int, str]:
    """Return precision, threads and device; the delegate stands as an operation beside those that it took over."""
    operations = interpreter._get_ops_details()  # the only way to ask; every version since 2.3 has it
    types = {each["index"]: np.dtype(each["dtype"]).name for each in interpreter.get_tensor_details()}
    heavy = (types[each["inputs"][0]] for each in operations if each["op_name"] in HEAVY)
    delegated = any("DELEGATE" in each["op_name"].upper() for each in operations)
    return executed_precision(heavy), threads, f"CPU {'with' if delegated else 'without'} XNNPACK"


def _misfit(name: str, error: Exception) -> RuntimeMissingError:
    """Return the error for a library whose numpy is another one: it imports, and fails at its first array."""
    return RuntimeMissingError(
        f"{name} does not work beside numpy {np.__version__} ({in_one_line(error)}); {LIBRARIES['tflite'].install}"
    )
