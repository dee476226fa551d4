"""The recommendation API: reads lists from Redis and always has one to give. No Spark here."""
