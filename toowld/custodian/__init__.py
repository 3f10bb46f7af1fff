"""The process that keeps one session alive: its PTY, its child, its scrollback log, and all who are attached.

It needs nobody: with the daemon dead it goes on reading, logging and serving, and takes new clients on its own
socket. There is one for each persistent session, so it is small: a bare epoll loop, and of other people's code
only cbor2 and setproctitle.

``keeper`` is the custodian, ``link`` a connection to it, ``loop`` its event loop, ``socketfile`` where it listens,
``zygote`` the process that forks it, ``__main__`` where it begins. ``spare`` is one that waits for its session, and
``prefault`` what that does ahead. ``holes``, ``rehearsal`` and ``gathering`` have it share more of the zygote's
memory. ``upgrade`` has newer code go on in its place, whose side of that is ``successor``.
All is imported at the start: later, what lies on the disk may be another version's.
"""
