"""The benchmark: toowl beside what else keeps a terminal session, in one run on one machine.

What lives where:

``payload``         what is printed; the same bytes in every run
``child``           the program that runs in a session: prints, echoes, floods; knows nothing of the rest
``outer``           a user at a real terminal with an attach command in it; nothing else reads and types
``contender``       what a program that keeps sessions is asked; ``contenders``, ``toowl``: each of them
``processes``       what the kernel says of processes: CPU, memory, wake-ups
``supervise``       that nothing of a run stays behind, whatever becomes of it
``run``             one run: rounds in which the contenders take turns, and the figures that came out
``stand``, ``flood``  what measures share: an attached terminal; sessions that print without end
``measures``        one module for each family of measures
``results``         the figures as JSON, and the machine that they are of

``figures``, ``stats``               PURE  what was measured; what becomes of many figures
``targets``, ``compare``             PURE  what has to be reached; what has changed
``report``, ``tables``, ``charts``   PURE  ``docs/performance.md`` from the figures

``python -m bench --help`` tells how to choose parts. Nothing here knows how toowl works inside; it uses what a user
has: programs, sockets, /proc. Nothing here touches a session of the user's.
"""
