"""The soak: sessions under load while everything around them is killed, and the proof that nothing was lost.

``make soak`` runs it; ``docs/reliability.md`` says what it shows. `lines` is what sessions print and how that is
checked, `child` the program in them, `viewer` and `users` who looks and types, `chaos` what happens to all, `world`
the folders, the disk and the daemon, `verdict` the comparison with the truth, ``__main__`` the course of it all.
"""
