"""One module per trigger family. A handler parses, calls a use case, and answers; nothing is decided here."""
