"""Everything that makes one machine enough: jars, Java, Kafka, Valkey, the demo."""
