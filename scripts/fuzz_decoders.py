"""Fuzz the collector's decoders, guided by coverage where atheris is installed, else by mutation of the corpus.

Usage: PYTHONPATH=lib:tests python scripts/fuzz_decoders.py RUNS [CORPUS]
"""

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

_CORPUS = "tests/fuzz_corpus"
_TOKENS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\u",
    b"null",
    b"1e999",
    b"-1",
    b"\x00",
    b"\xff",
    b'"type"',
    b'"context"',
)


def main() -> int:
    """Run, print how many executions there were, and end with 1 at the first finding."""
    runs = int(sys.argv[1])
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else _CORPUS)  # noqa: PLR2004
    begun = time.monotonic()
    try:
        import atheris  # noqa: PLC0415 - optional
    except ImportError:
        _mutate(runs, [path.read_bytes() for path in sorted(folder.iterdir())])
        sys.stdout.write(f"executions={runs} findings=0 seconds={time.monotonic() - begun:.0f}\n")
        return 0
    with atheris.instrument_imports(include=["afterclick.collector"]):
        from fuzzing import run_one  # noqa: PLC0415 - instrumented as it is imported
    arguments = [sys.argv[0], f"-runs={runs}", "-max_len=4096", "-print_final_stats=1", str(folder)]
    atheris.Setup(arguments, run_one)
    atheris.Fuzz()
    return 0


def _mutate(runs: int, corpus: list[bytes]) -> None:
    from fuzzing import TARGETS, run_one  # noqa: PLC0415 - as above

    draw = random.Random(6)  # noqa: S311 - repeatable, not secret
    for _ in range(runs):
        data = bytearray(draw.choice(corpus))
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(1, len(data) + 1)
            change = draw.random()
            if change < 0.3:  # noqa: PLR2004
                data[at : at + draw.randint(0, 8)] = draw.choice(_TOKENS)
            elif change < 0.6:  # noqa: PLR2004
                data[at:at] = draw.randbytes(draw.randint(1, 4))
            elif change < 0.8:  # noqa: PLR2004
                other = draw.choice(corpus)
                begin = draw.randrange(len(other))
                data[at:at] = other[begin : begin + draw.randint(1, 64)]
            else:
                del data[at : at + draw.randint(1, 16)]
        data[0] = draw.randrange(len(TARGETS))
        _run(run_one, bytes(data))


def _run(run_one: Callable[[bytes], None], data: bytes) -> None:
    try:
        run_one(data)
    except Exception:
        Path("/tmp/fuzz_finding").write_bytes(data)  # noqa: S108
        raise


if __name__ == "__main__":
    sys.exit(main())
