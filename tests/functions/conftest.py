"""The world that the handlers of a test run in."""

from tests.functions.calls import world as world
