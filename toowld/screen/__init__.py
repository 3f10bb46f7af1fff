"""The screen of a session: what a terminal would show of its output, exactly, whoever looks and whenever.

::

    state     PURE   what a terminal shows and is set to, as values
    library          libghostty-vt, the emulator: the few functions of it that we need
    model            Model: our small interface over it; output in, state out
    decode    PURE   the library's snapshots as values (pages: rows and cells)
    render    PURE   a state as bytes for a real terminal (paint: rows; sgr: looks)
    window    PURE   a state in a terminal of another size, painted by differences
    snapshots        states on the disk, beside the log that they were made of
    follow           a model brought to the end of a log, from the newest snapshot on
    picture          what a client puts on its terminal before the output from some seq on; answers to questions
    worker           the process in which the daemon has that done

The model follows the *log*, so it needs neither the session's custodian nor its daemon, and works on a dead session.
The custodian loads none of this; the daemon and ``toowl`` load the library only in processes that are made for it.
"""

#: The emulator's release: what `library`'s numbers and `decode`'s form were taken from. Here, because the daemon
#: looks at snapshots and need not load what makes them.
PYGHOSTTY = "0.1.3"
#: What wrote a snapshot: one of another kind is not used, and made anew from the log.
MODEL_VERSION = f"ghostty-{PYGHOSTTY}"
