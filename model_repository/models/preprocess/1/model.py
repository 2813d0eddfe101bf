"""Shim: the model is `triptych_models.recognition.preprocessor.Preprocessor`."""

try:
    from triptych_models.recognition.preprocessor import Preprocessor
    from triptych_models.triton.adapter import adapt
except ModuleNotFoundError as error:
    advice = "Start tritonserver in the folder that holds triptych_models/ and models/, with PYTHONPATH set to it."
    raise ImportError(advice if error.name == "triptych_models" else str(error)) from error
TritonPythonModel = adapt(Preprocessor, __file__)
