"""A service that says how it was started, and then exits with a status or waits: `echo.py STATUS` or `echo.py wait`."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    kept = sys.modules.get("kombu.transport.redis", time)  # imports the clock itself: `from time import time`
    started = {
        "name": __name__,
        "arguments": sys.argv[1:],
        "variables": sorted(os.environ),
        "leads_session": os.getsid(0) == os.getpid(),
        "descriptors": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir()),
        "libraries": sorted({"cv2", "fastapi", "celery"} & sys.modules.keys()),
        "clocks_off": [round(clock() - time.clock_gettime(time.CLOCK_REALTIME)) for clock in (time.time, kept.time)],
        "random": random.random(),  # noqa: S311 - whether it is another one in each process
    }
    sys.stdout.write(json.dumps(started) + "\n")
    sys.stdout.flush()
    if sys.argv[1] == "wait":
        signal.pause()
    sys.exit(int(sys.argv[1]))
