"""Shared by all tests: the plugin that turns test outcomes into evidence."""

import os

from hypothesis import settings

from privacy.link.transport_rules import grpc_environment

# Before any test module imports grpc (flwr does): gRPC reads it once, and the link refuses to start without it.
os.environ.update(grpc_environment(os.environ))

# How long one example takes says how busy the machine is, and nothing of the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

pytest_plugins = ["tests.threat_plugin"]
