"""The ingest service: Segment's HTTP API in, pseudonymous events on Kafka out. No Spark here.

One request, top to bottom: `app` (HTTP) -> `segment_messages` (decode, consent, pseudonym) -> `event_sink` (Kafka).
"""
