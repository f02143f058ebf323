"""Runs the programs that are named as arguments, one after the other, each in a process of its own that is forked from
this one: so asyncio is imported once. Prints a line of JSON for each: its name, exit code, stdout and stderr."""
import asyncio
import json
import os
import runpy
import selectors
import signal
import sys
import tempfile
import traceback

# Seconds that a program may take.
LIMIT = 20

# Sockets of this machine answer within this; a jump waits so long for them, in seconds of real time.
PATIENCE = 0.002


class Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout=None):
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(PATIENCE if len(self.get_map()) > 1 else 0)
        if not events:
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """CPython's own loop with a clock that jumps to the next deadline whenever nothing else is to do: a loaded machine
    does not change the order of events."""

    def __init__(self):
        self.clock = Selector()
        super().__init__(self.clock)

    def time(self):
        self.clock.now += 1e-9  # as on a real clock, no two readings are equal
        return self.clock.now


class VirtualPolicy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = VirtualLoop


def is_live(program):
    """Threads and child processes take real time."""
    with open(program) as source:
        return source.readline() == "# clock: live\n"


def child(program, out, err):
    os.dup2(out, 1)
    os.dup2(err, 2)
    signal.alarm(LIMIT)
    status = 0
    try:
        if not is_live(program):
            asyncio.set_event_loop_policy(VirtualPolicy())
        runpy.run_path(program, run_name="__main__")
    except SystemExit as exit:
        status = exit.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run(program):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            child(program, out.fileno(), err.fileno())
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return {
            "name": os.path.splitext(os.path.basename(program))[0],
            "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status),
            "stdout": out.read().decode(),
            "stderr": err.read().decode(),
        }


for program in sys.argv[1:]:
    print(json.dumps(run(program)), flush=True)
