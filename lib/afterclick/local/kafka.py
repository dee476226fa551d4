"""One Kafka broker (KRaft) on loopback."""

import json
import subprocess
from pathlib import Path

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from afterclick.errors import LocalStackError
from afterclick.local.processes import free_port, refuse_foreign_listener, running_pid, start_process, wait_for_port

NAME = "kafka"
_CLUSTER_ID = "YWZ0ZXJjbGlja2xvY2FsMQ"  # any base64 UUID; one node never meets another cluster
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
log.message.timestamp.type=LogAppendTime
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.hours=168
"""


def start_kafka(folder: Path, jars: list[Path], java_home: Path, *, port: int) -> None:
    """Start the broker unless ours runs already; data in ``<folder>/kafka``.

    Raises
    ------
    LocalStackError
        If another process has the port, or the broker does not come up.
    """
    if running_pid(folder, NAME) is not None:
        return
    refuse_foreign_listener(NAME, port)
    data = folder.resolve() / "kafka"
    data.mkdir(parents=True, exist_ok=True)
    properties = folder.resolve() / "kafka.properties"
    escaped = json.dumps(str(data))[1:-1]  # Java reads the file as ISO 8859-1, and JSON's escapes for the rest
    text = _PROPERTIES.format(port=port, controller=free_port(), data=escaped)
    properties.write_text(text, encoding="utf-8")
    java = [
        str(java_home / "bin" / "java"),
        "-Xmx384m",
        "-Xms128m",
        "-XX:+UseSerialGC",
        "-cp",
        ":".join(map(str, jars)),
    ]
    if not (data / "meta.properties").exists():
        command = [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            message = f"Kafka could not format {data}: {done.stderr[-800:]}"
            raise LocalStackError(message)
    start_process(NAME, [*java, "kafka.Kafka", str(properties)], folder)
    wait_for_port(NAME, port, folder)


def create_topic(bootstrap_servers: str, topic: str, partitions: int) -> None:
    """Create a topic unless it exists."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        admin.create_topics([NewTopic(topic, partitions, 1)])
    except TopicAlreadyExistsError:
        pass
    finally:
        admin.close()
