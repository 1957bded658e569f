"""Two visitors of a room: python talk.py ADDRESS [ADDRESS OF THE SECOND]."""

import json
import sys
from typing import Any

from websockets.sync.client import connect


def heard(frames: Any) -> object:
    for frame in frames:
        line = json.loads(frame)
        if line["text"] == "hello":
            return line
    return None


with connect(sys.argv[1]) as ada, connect(sys.argv[-1]) as bob:
    ada.send(json.dumps({"text": "hello"}))
    print("ada hears", heard(ada))
    print("bob hears", heard(bob))
