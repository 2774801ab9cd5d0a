"""Run the service of the tree in the working directory until standard input closes, for `bench.compare`.

Prints the port and the processes as one line of JSON. Only `bench.process_stats` of that tree is used.
"""

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:] = [str(Path.cwd()), *sys.path[1:]]
    from bench import process_stats

    with process_stats.vultus(app="bench.instant_models", worker_threads="8") as stack:
        print(json.dumps({"port": stack.port, "processes": process_stats.parts(stack)}), flush=True)
        sys.stdin.read()
