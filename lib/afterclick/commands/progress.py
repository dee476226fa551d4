"""Lines on standard error that say what a long command is doing."""

import time
from collections.abc import Callable

from rich.console import Console


def announcer() -> Callable[[str], None]:
    """Return what tells a step, with the seconds since now in front."""
    console, begun = Console(stderr=True), time.monotonic()

    def announce(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - begun:6.1f} s[/dim]  {text}", highlight=False)

    return announce
