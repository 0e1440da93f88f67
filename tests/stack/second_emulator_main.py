"""Starts LocalStack in this process, without containers and without the network.

Runs in .venv-emulator, apart from the tests. By itself, LocalStack 4.9.2 downloads DynamoDB Local
and a Java runtime for tables, needs Docker to create a function, and listens on all interfaces
whatever GATEWAY_LISTEN says.
"""

from __future__ import annotations

import threading
from functools import partial

from localstack.aws.api.dynamodb import DynamodbApi
from localstack.runtime.main import main
from localstack.services.cloudwatch import alarm_scheduler
from localstack.services.lambda_.invocation.docker_runtime_executor import DockerRuntimeExecutor
from localstack.services.moto import MotoFallbackDispatcher
from localstack.services.plugins import SERVICE_PLUGINS, Service
from localstack.utils.aws import aws_stack
from localstack.utils.scheduler import Scheduler
from twisted.internet import endpoints


class BriefCondition(threading.Condition):
    """Waits for a moment only, and then says that there may be something new.

    The scheduler of alarms looks into its queue, and then waits until the first task is due. It
    would miss an alarm that comes in between, for minutes.
    """

    def wait(self, timeout: float | None = None) -> bool:
        super().wait(0.2 if timeout is None else min(timeout, 0.2))
        return True


class PunctualScheduler(Scheduler):
    def __init__(self) -> None:
        super().__init__()
        self._condition = BriefCondition()


endpoints.TCP4ServerEndpoint = partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")

# Does not look up S3's name, for which it would ask a name server.
aws_stack.CACHE_S3_HOSTNAME_DNS_STATUS = False

alarm_scheduler.Scheduler = PunctualScheduler

# Moto keeps tables in memory.
SERVICE_PLUGINS.add_service(
    Service.for_provider(DynamodbApi(), dispatch_table_factory=MotoFallbackDispatcher)
)

# A function can be created, but not invoked.
DockerRuntimeExecutor.prepare_version = classmethod(lambda _class, _version: None)

main()
