"""Edges to Kafka, Delta, Redis and MLflow: the only modules that do I/O."""
