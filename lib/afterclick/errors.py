"""Every error Afterclick raises on purpose, grouped by who must act."""


class AfterclickError(Exception):
    """Root of all errors raised on purpose; the message says what, why and how to fix it."""


class SettingsError(AfterclickError):
    """Raised when the configuration is missing, unknown or inconsistent (operator)."""


class TriggerRulesError(SettingsError):
    """Raised when a file of trigger rules cannot be used; lists every problem with its line (operator)."""


class LocalStackError(AfterclickError):
    """Raised when the local Kafka, Valkey, Java or jars cannot be used as asked (operator)."""


class ContractError(AfterclickError):
    """Raised when data breaks an agreement (producer of the data)."""


class SchemaMismatchError(ContractError):
    """Raised when a table, file or message schema differs from its constant in `schemas`."""


class ExpectationError(ContractError):
    """Raised when an expectation suite is malformed or has a rule that cannot be compiled."""


class ModelError(AfterclickError):
    """Raised when a model cannot be used (ML owner)."""


class ModelNotFoundError(ModelError):
    """Raised when the registry has no model under the requested name, alias or version."""


class IncompatibleModelError(ModelError):
    """Raised when stored model files are damaged, tampered with or of another layout."""


class ModelRefusedError(ModelError):
    """Raised when a model does not pass the gates of promotion; what is served is left as it is."""


class VersionMovedError(ModelError):
    """Raised when another model version is served than the one computed for; compute again or look first."""


class FoldInError(ModelError):
    """Raised when the inputs of a fold-in disagree in shape."""


class StoreUnavailableError(AfterclickError):
    """Raised when Kafka, Redis or a table cannot be reached; may be retried (infrastructure)."""
