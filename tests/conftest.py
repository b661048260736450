"""Shared by all tests: the plugin that turns test outcomes into evidence."""

import os

from privacy.link.transport_rules import grpc_environment

# Before any test module imports grpc (flwr does): gRPC reads it once, and the link refuses to start without it.
os.environ.update(grpc_environment(os.environ))

pytest_plugins = ["tests.threat_plugin"]
