"""Kafka with TLS, passwords and ACLs, Redis with users of their own: each on a real server, each part with its own rights."""

import asyncio
import datetime as dt
import hashlib
import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import ACL, ACLOperation, ACLPermissionType, KafkaAdminClient, NewTopic, ResourcePattern, ResourceType
from kafka.admin import ACLResourcePatternType as PatternType
from kafka.errors import KafkaError
from pydantic import SecretStr
from pyspark.sql import SparkSession

from afterclick.collector.event_sink import KafkaSink
from afterclick.collector.messages import Event
from afterclick.connectors import redis_store
from afterclick.connectors.redis_erasure import RedisEraser
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.connectors.withdrawn_items import WithdrawnItems, withdrawn_key
from afterclick.errors import StoreUnavailableError
from afterclick.kafka_security import client_options, spark_options
from afterclick.local.jars import broker_jars, default_cache_dir
from afterclick.local.java import find_java
from afterclick.local.processes import free_port, start_process, stop_process, wait_for_port
from afterclick.local.valkey import valkey_server
from afterclick.recommendations import Recommender, update_lists
from afterclick.setting_sections import KafkaSettings
from afterclick.settings import Settings
from builders import make_model

USERS = ("admin", "collector", "streams")
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{port}
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
username="admin" password="admin-password";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
log.dirs={folder}/data
auto.create.topics.enable=true
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
"""


def write_certificate(folder: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1, with its key for the server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    public = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(public)
    (folder / "server.pem").write_bytes(private + public)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, KafkaSettings]]:
    """Start a broker with SASL_SSL and ACLs; settings by user."""
    folder = tmp_path_factory.mktemp("secured")
    write_certificate(folder)
    port, cache = free_port(), default_cache_dir()
    (folder / "server.properties").write_text(_PROPERTIES.format(port=port, controller=free_port(), folder=folder))
    jars = ":".join(map(str, broker_jars(cache)))
    java = [str(find_java(cache) / "bin" / "java"), "-Xmx384m", "-XX:+UseSerialGC", "-cp", jars]
    users = [part for user in USERS for part in ("-S", f"SCRAM-SHA-512=[name={user},password={user}-password]")]
    formatting = ["kafka.tools.StorageTool", "format", "-t", "YWZ0ZXJjbGlja2xvY2FsMQ", *users]
    command = [*java, *formatting, "-c", f"{folder}/server.properties"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    start_process("kafka", [*java, "kafka.Kafka", f"{folder}/server.properties"], folder)
    wait_for_port("kafka", port, folder)
    settings = {
        user: KafkaSettings(
            bootstrap_servers=f"127.0.0.1:{port}",
            security_protocol="SASL_SSL",
            username=user,
            password=SecretStr(f"{user}-password"),
            ca_file=folder / "ca.pem",
        )
        for user in USERS
    }
    admin = KafkaAdminClient(**client_options(settings["admin"]))
    admin.create_topics([NewTopic("events", 1, 1)])
    topic = ResourcePattern(ResourceType.TOPIC, "events", PatternType.LITERAL)
    rights = [("collector", ACLOperation.WRITE, topic), ("streams", ACLOperation.READ, topic)]
    allow = ACLPermissionType.ALLOW
    admin.create_acls([ACL(f"User:{user}", "*", right, allow, pattern) for user, right, pattern in rights])
    admin.close()
    yield settings
    stop_process(folder, "kafka")


def test_collector_may_write_and_streams_may_read_over_tls(
    secured: dict[str, KafkaSettings], settings: Settings, spark: SparkSession
) -> None:
    sink = KafkaSink(secured["collector"], settings.collector)
    asyncio.run(sink.publish([Event(b"ada", b"{}")]))
    sink.close()

    options = spark_options(secured["streams"])
    read = spark.read.format("kafka").options(**options).option("subscribe", "events").load()

    assert [bytes(row.key) for row in read.collect()] == [b"ada"]


def test_neither_may_do_the_other_s_work_and_a_wrong_password_or_no_tls_does_nothing(
    secured: dict[str, KafkaSettings], settings: Settings
) -> None:
    quick = settings.collector.model_copy(update={"delivery_timeout_seconds": 3.0})
    writing_streams = KafkaSink(secured["streams"], quick)
    with pytest.raises(StoreUnavailableError, match="did not confirm"):
        asyncio.run(writing_streams.publish([Event(b"eve", b"{}")]))
    writing_streams.close()

    reading_collector = KafkaConsumer(
        "events", **client_options(secured["collector"]), auto_offset_reset="earliest", consumer_timeout_ms=3_000
    )
    with pytest.raises((KafkaError, StopIteration)):
        next(reading_collector)
    reading_collector.close()

    wrong = secured["collector"].model_copy(update={"password": SecretStr("guessed")})
    with pytest.raises(StoreUnavailableError, match=r"(?i)authentication failed.*password"):
        KafkaSink(wrong, quick)
    with pytest.raises(StoreUnavailableError, match="no Kafka broker answers"):
        KafkaSink(KafkaSettings(bootstrap_servers=wrong.bootstrap_servers), quick)
    for options in (client_options(wrong), {"bootstrap_servers": wrong.bootstrap_servers}):
        with pytest.raises(KafkaError):
            KafkaProducer(**options, bootstrap_timeout_ms=3_000, max_block_ms=3_000).send("events", b"{}").get(3)


def test_collector_creates_no_topic_even_where_the_broker_would(
    secured: dict[str, KafkaSettings], settings: Settings
) -> None:
    quick = settings.collector.model_copy(update={"delivery_timeout_seconds": 3.0})
    sink = KafkaSink(secured["admin"].model_copy(update={"events_topic": "evnets"}), quick)
    with pytest.raises(StoreUnavailableError, match="did not confirm"):
        asyncio.run(sink.publish([Event(b"ada", b"{}")]))
    sink.close()

    admin = KafkaAdminClient(**client_options(secured["admin"]))
    assert "evnets" not in admin.list_topics()
    admin.close()


def test_passwords_are_masked(secured: dict[str, KafkaSettings]) -> None:
    assert "password" not in str(secured["collector"]).replace("password=SecretStr('**********')", "")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[int]:
    """Start Valkey with the users of conf/redis_users.acl; the password of each is its name."""
    text = Path("conf/redis_users.acl").read_text()
    for user in ("collector", "streams", "api"):
        text = text.replace(f"#{user.upper()}", f"#{hashlib.sha256(user.encode()).hexdigest()}")
    (tmp_path / "users.acl").write_text(text)
    port = free_port()
    options = {"port": port, "bind": "127.0.0.1", "dir": tmp_path, "appendonly": "yes", "save": ""}
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    start_process("valkey", [str(valkey_server()), "--aclfile", f"{tmp_path}/users.acl", *arguments], tmp_path)
    wait_for_port("valkey", port, tmp_path)
    yield port
    stop_process(tmp_path, "valkey")


def test_redis_users_may_do_their_work_and_no_more(guarded: int, settings: Settings) -> None:
    def as_user(user: str) -> Settings:
        url = SecretStr(f"redis://{user}:{user}@127.0.0.1:{guarded}/0")
        return settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": url})})

    model = make_model(items=9)
    columns = {
        "subject_id": ["ada"],
        "item_id": ["item-3"],
        "event_type": ["view"],
        "event_ms": [5],
        "received_ms": [5],
    }
    streams, api = redis_store.connect(as_user("streams").redis), redis_store.connect(as_user("api").redis)
    recommender = Recommender(model, settings.recommendations)
    streams.switch_version("v1")
    VersionPointer(streams).announce("v2")
    update_lists(pa.table(columns), recommender, streams, length=9, fence=Fence(1, 1), now_ms=9)
    histories = streams.read_histories(["ada"])
    later = Recommender(make_model(items=9, version="v2"), settings.recommendations)
    streams.write_items("v2", later.item_ids, expires=True)
    assert VersionPointer(streams).write_fresh(["ada"], histories, later.lists(histories, 9)) == 1
    assert VersionPointer(streams).behind("v2", 9) == []
    VersionPointer(streams).drop_lists("v2")
    WithdrawnItems(as_user("streams")).withdraw(["item-1"])
    assert api.client.smembers(withdrawn_key(settings.redis.prefix)) == {b"item-1"}
    WithdrawnItems(as_user("collector")).restore(["item-1"])
    assert not api.client.smembers(withdrawn_key(settings.redis.prefix))
    assert api.read_list("ada")[1] is not None
    with pytest.raises(StoreUnavailableError, match=r"(?i)no permissions"):
        api.switch_version("v2")

    eraser = RedisEraser(as_user("collector").redis)
    eraser.forget(["ada"])
    eraser.remove_all(["ada"])
    eraser.rewrite_append_only_file()
    assert api.read_list("ada")[1] is None

    for user in ("collector", "streams", "api"):
        client = redis.Redis.from_url(as_user(user).redis.url.get_secret_value(), protocol=2)
        for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("GET", "other:key"), ("ACL", "LIST"), ("KEYS", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)  # type: ignore[no-untyped-call]
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(port=guarded, protocol=2).get("ac:model")
