"""No load: how long a server took to start, and its memory when it has nothing to do."""

import time
from dataclasses import dataclass

from testproject.bench.loads.figures import Figures
from testproject.bench.peers import Servers

__all__ = ("StartUp",)


@dataclass(frozen=True)
class StartUp:
    """Looks at a server that has answered one request.

    Attributes:
        rest: seconds until its memory is looked at.
    """

    rest: float = 0.5

    def warm(self, servers: Servers, seconds: float) -> None:
        """Nothing: see ``Load``."""

    def run(self, servers: Servers, seconds: float) -> Figures:
        """See ``Load``."""
        time.sleep(self.rest)
        return {
            "start": servers.started * 1000,
            "memory": servers.memory() / 1024**2,
        }
