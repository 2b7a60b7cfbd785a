"""host.json, its overrides from the environment, and local.settings.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.host.settings import SettingsError, load


def _app(folder: Path, host: dict[str, Any], local: dict[str, str] | None = None) -> Path:
    (folder / "host.json").write_text(json.dumps(host))
    if local is not None:
        (folder / "local.settings.json").write_text(json.dumps({"Values": local}))
    return folder


def test_defaults_are_azures(tmp_path: Path) -> None:
    settings = load(_app(tmp_path, {"version": "2.0"}), {})
    assert settings.route_prefix == "api"
    assert (settings.queues.batch_size, settings.queues.new_batch_threshold) == (16, 8)
    assert (settings.queues.max_dequeue_count, settings.queues.max_polling_interval) == (5, 60.0)
    assert (settings.queues.hidden, settings.queues.visibility_timeout) == (600.0, 0.0)


def test_the_environment_overrides_host_json(tmp_path: Path) -> None:
    app = _app(tmp_path, {"extensions": {"queues": {"batchSize": 4, "maxPollingInterval": "00:00:30"}}})
    settings = load(app, {"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:02.5"})
    assert (settings.queues.batch_size, settings.queues.new_batch_threshold) == (4, 2)
    assert settings.queues.max_polling_interval == 2.5


def test_the_environment_wins_over_local_settings(tmp_path: Path) -> None:
    settings = load(_app(tmp_path, {}, {"A": "file", "B": "file"}), {"A": "env"})
    assert settings.expand("%A%-%B%", "here") == "env-file"
    with pytest.raises(SettingsError, match="here: the application setting C is not set"):
        settings.expand("%C%", "here")


def test_settings_stay_out_of_the_repr(tmp_path: Path) -> None:
    assert "hush" not in repr(load(_app(tmp_path, {}), {"AzureWebJobsStorage": "hush"}))


@pytest.mark.parametrize(
    "host",
    [
        {"extensions": {"queues": {"batchSize": 33}}},
        {"extensions": {"queues": {"batchSize": "many"}}},
        {"extensions": {"queues": {"maxPollingInterval": "2 s"}}},
        {"extensions": {"queues": {"messageEncoding": "base32"}}},
        {"singleton": {"listenerLockPeriod": "00:02:00"}},
    ],
)
def test_values_azure_would_refuse_are_refused(tmp_path: Path, host: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"host\.json"):
        load(_app(tmp_path, host), {})


def test_a_folder_that_is_no_app(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"host\.json is missing"):
        load(tmp_path, {})
