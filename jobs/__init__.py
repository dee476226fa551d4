"""One job, one file: each has `main(argv) -> int`; streams also have `start(spark, settings)`."""
