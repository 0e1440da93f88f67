"""Starts LocalStack in this process, without containers and without the network.

Runs in .venv-emulator, apart from the tests. LocalStack 4.9.2 starts other programs for three of
the services: DynamoDB Local, which it would download together with a Java runtime, and containers
for functions. It also listens on all interfaces, whatever its settings say.
"""

from __future__ import annotations

from functools import partial

from localstack.aws.api.dynamodb import DynamodbApi
from localstack.runtime.main import main
from localstack.services.lambda_.invocation.docker_runtime_executor import DockerRuntimeExecutor
from localstack.services.moto import MotoFallbackDispatcher
from localstack.services.plugins import SERVICE_PLUGINS, Service
from localstack.utils.aws import aws_stack
from twisted.internet import endpoints

endpoints.TCP4ServerEndpoint = partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")

# Does not look up S3's name, for which it would ask a name server.
aws_stack.CACHE_S3_HOSTNAME_DNS_STATUS = False

# Moto keeps tables in memory.
SERVICE_PLUGINS.add_service(
    Service.for_provider(DynamodbApi(), dispatch_table_factory=MotoFallbackDispatcher)
)

# A function can be created, but not invoked.
DockerRuntimeExecutor.prepare_version = classmethod(lambda _class, _version: None)

main()
