"""Errors of the export room. Importing this module imports neither torch nor ONNX."""


class ExportError(RuntimeError):
    """Base class; the message says what was wrong, what was expected and what to do next."""

    exit_code = 1


class WrongUsage(ExportError):
    """The arguments of the command are not valid."""

    exit_code = 2


class BackboneError(ExportError):
    """Weights are missing, damaged, or do not fit the network."""


class WeightsUnavailable(BackboneError):
    """Published weights cannot be downloaded."""


class PhotosMissing(ExportError):
    """There are no photos to verify on."""


class VerificationError(ExportError):
    """An exported file failed a check; nothing was placed."""


class QuantizationRefused(ExportError):
    """No INT8 file is accurate and faster."""


class RepositoryError(ExportError):
    """The model repository cannot be read or written."""


class BulkEmbeddingError(ExportError):
    """The server or the Ray cluster cannot be used; finished parts are kept."""


class EvaluationError(ExportError):
    """Predictions cannot be evaluated, or do not support the requested figure."""


class ReleaseError(ExportError):
    """A release is damaged, or cannot be made, published or removed; existing releases are unchanged."""


class CatalogueError(ExportError):
    """The catalogue cannot be used for training; the message names the place and the fix."""


class TrainingError(ExportError):
    """Training cannot start or continue; finished work is kept."""


class AccuracyRegression(ExportError):
    """Incremental training lost more accuracy than the margin allows; nothing was written."""
