"""The HTTP ingest service; no Spark here."""
