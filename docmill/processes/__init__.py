"""The one place that makes processes: short-lived workers, forked from one preloaded server process.

`run` calls a function in a worker with limits on memory, CPU, wall time and output; `warm` starts the server
ahead of need; `map_in_children` spreads work over sibling processes from inside a worker.

Why not `multiprocessing`: its forkserver imports `__main__` again in every child, is one for the whole
process and not ours to configure, and unpickles what a worker sends, which has just parsed a hostile file.
It neither puts a worker into a process group of its own nor takes it down with its parent. The parts:

- `client`: `run` and `warm`; `job`: the parent's side of one worker, watched until nothing of it is left.
- `handle`: the parent's end of the server; `server`: its loop, which starts, kills and reaps workers;
  `keeper`: the process in between that tidies up where both are killed at once.
- `worker`: the forked child: limits on itself, the call, what came of it as JSON.
- `siblings`: processes forked by a worker.
- `limits`, and `failures`: the errors of reaching them; `frames`: the wire; `linux`: system calls.

No process outlives its parent, also after kill -9: server and keeper see each other's and the parent's pidfd,
adopt what dying workers leave behind, in whatever group or session, and kill it; workers and their siblings
carry PR_SET_PDEATHSIG; and should the server be killed, the parent kills the groups that it knows as well.
"""

from __future__ import annotations

from docmill.processes.client import run, shutdown
from docmill.processes.handle import warm
from docmill.processes.job import Abort, AbortFlag
from docmill.processes.limits import Limits
from docmill.processes.siblings import map_in_children

__all__ = ["Abort", "AbortFlag", "Limits", "map_in_children", "run", "shutdown", "warm"]
