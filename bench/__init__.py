"""The benchmark: toowl beside what else keeps a terminal session, in one run on one machine.

What lives where:

``payload``, ``stats``   PURE  what is printed, what becomes of the figures
``child``           the program that runs in a session: prints, echoes, floods on demand; knows nothing of the rest
``outer``           a user at a real terminal that runs the attach command; the only place that reads and types
``contenders``      how each program is started, attached, detached, listed; each in a private namespace
``processes``       what the kernel says of processes: CPU, memory, wake-ups
``supervise``       that nothing of a run stays behind, whatever becomes of it
``run``             one run: rounds in which the contenders take turns, and the figures that came out
``measures``        one module for each family of measures
``results``         the figures as JSON, with the machine that they are of
``report``, ``charts``, ``targets``   PURE  ``docs/performance.md`` from that JSON

``python -m bench --help`` tells how to choose parts. Nothing here knows how toowl works inside; it uses what a user
has: programs, sockets, /proc. Nothing here touches a session of the user's.
"""
