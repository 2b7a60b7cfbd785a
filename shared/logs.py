"""Log lines as JSON, one per line, that name the trace they belong to.

The formatter is put on whatever handlers the host has (Azure's worker sends to Application Insights, the lab's host
writes to standard error), so there is one form and no second copy. Of an exception its type and place are told, not
its text or its variables. Addresses are cut to their network. What has the form of a token is hidden, and in lines of
libraries also whatever follows the name of a secret; in ours that would cost the text of "KeyChanged: ...".
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from pathlib import Path

from shared import telemetry
from shared.control.redact import without_addresses
from shared.control.scrub import HIDDEN, without_secrets

ABOUT = ("gateway", "connection")
"""What a line may be about: given as `extra` of the logging call."""
_TOKEN = re.compile(r"((?:[?&;]|\b)(?:sig|code|AccountKey)=|\bbearer\s+|\beyJ|\bhle_)[^\s&;\"']+", re.IGNORECASE)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": without_addresses(_hidden(record)),
        }
        line |= {"trace": trace} if (trace := telemetry.trace_id()) else {}
        line |= {name: value for name in ABOUT if (value := getattr(record, name, None))}
        if record.exc_info and (error := record.exc_info[1]) is not None:
            frame = traceback.extract_tb(error.__traceback__)[-1:]
            line["error"] = " at ".join([type(error).__name__, *(f"{Path(f.filename).name}:{f.lineno}" for f in frame)])
        return json.dumps(line)


def _hidden(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if not record.name.startswith("homelink."):
        text = without_secrets(text)
    return _TOKEN.sub(lambda found: f"{found[1]}{HIDDEN}", text)


def structured() -> None:
    """Every handler of the root logger writes JSON from now on."""
    logging.getLogger("azure").setLevel(logging.WARNING)  # else each batch that is sent makes lines
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter())
