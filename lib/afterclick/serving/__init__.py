"""The recommendation API; no Spark here."""
