"""Why a message was refused. `shared.errors` hangs this tree into the product's own."""


class WireError(ValueError):
    """A message from the other side cannot be accepted; the text says what and where, and never holds a secret."""


class BadSeal(WireError):
    """The MAC does not fit: forged, damaged, or sealed with a key of another agent, purpose or controller."""


class Malformed(WireError):
    """The seal (if any) fits, but the content is not of the form that this version reads."""
