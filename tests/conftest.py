"""Shared by all tests: the plugin that turns test outcomes into evidence."""

pytest_plugins = ["tests.threat_plugin"]
