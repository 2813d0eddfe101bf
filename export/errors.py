"""What the export room refuses with. Light: importing it imports neither torch nor ONNX."""


class ExportError(RuntimeError):
    """Base of the refusals; the message says what was wrong, what was expected and what to do next."""

    exit_code = 1


class WrongUsage(ExportError):
    """The command was asked for something that cannot be."""

    exit_code = 2


class BackboneError(ExportError):
    """Weights that are missing or not what their name promises."""


class WeightsUnavailable(BackboneError):
    """Published weights that cannot be fetched here."""


class PhotosMissing(ExportError):
    """There is nothing to verify on."""


class VerificationError(ExportError):
    """The exported file must not be served; nothing was placed."""


class QuantisationRefused(ExportError):
    """No INT8 file is accurate enough and faster."""


class RepositoryError(ExportError):
    """The model repository cannot be read or written."""


class BulkEmbeddingError(ExportError):
    """The server or the Ray cluster cannot be used; what was embedded before is there still."""


class EvaluationError(ExportError):
    """Answers that cannot be judged, or judged answers that do not support what is asked."""


class ReleaseError(ExportError):
    """A release is damaged, or cannot be made, published or removed; what was there before is there still."""
