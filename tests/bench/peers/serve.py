"""One program that a bench compares with, as a process: it says `ready`, then answers each line of its input with one line, so that a
driver can let peers take turns and each has a memory peak of its own."""
import sys


def peak_bytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0


def serve(commands, ready=()):
    """commands: name -> function that returns numbers for the answer. `quit` answers with the peak of memory."""
    answer = sys.stdout

    def say(*values):
        print(*values, file=answer, flush=True)

    say("ready", *ready)
    for line in sys.stdin:
        name = line.strip()
        if name == "quit":
            break
        say("ok", *commands[name]())
    say("ok", peak_bytes())
