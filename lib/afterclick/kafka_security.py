"""One set of security settings for Kafka -> what each of its three clients calls them."""

from typing import Any

from afterclick.setting_sections import KafkaSettings


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the arguments of kafka-python's clients."""
    options: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap_servers.split(",")}
    options["security_protocol"] = kafka.security_protocol
    if kafka.ca_file:
        options["ssl_cafile"] = str(kafka.ca_file)
    if kafka.password:
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password.get_secret_value(),
        }
    return options


def librdkafka_options(kafka: KafkaSettings) -> dict[str, str]:
    """Return the options of confluent-kafka's clients."""
    options = {"bootstrap.servers": kafka.bootstrap_servers, "security.protocol": kafka.security_protocol}
    if kafka.ca_file:
        options["ssl.ca.location"] = str(kafka.ca_file)
    if kafka.password:
        options |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": kafka.username,
            "sasl.password": kafka.password.get_secret_value(),
        }
    return options


def spark_options(kafka: KafkaSettings) -> dict[str, str]:
    """Return the options of Spark's Kafka source, with the ``kafka.`` prefix; Spark masks them in its logs."""
    options = {"bootstrap.servers": kafka.bootstrap_servers, "security.protocol": kafka.security_protocol}
    if kafka.ca_file:
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(kafka.ca_file)}
    if kafka.password:
        is_scram = kafka.sasl_mechanism.startswith("SCRAM")
        login = "scram.ScramLoginModule" if is_scram else "plain.PlainLoginModule"
        module = f"{kafka.class_prefix}org.apache.kafka.common.security.{login}"
        secret = kafka.password.get_secret_value().replace("\\", "\\\\").replace('"', '\\"')
        options |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.jaas.config": f'{module} required username="{kafka.username}" password="{secret}";',
        }
    return {f"kafka.{name}": value for name, value in (options | kafka.options).items()}
