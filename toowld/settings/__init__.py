"""What can be set, from where, and what holds in the end. Knows no session and no daemon.

- `schema`: every key, as a table: its kind, default and meaning, and who may set it. All else here follows from it.
- `values`: what may stand for a value (``"64 MiB"``, ``"12h"``), and what is wrong with it if it may not.
- `file`: ``config.toml`` as keys with values, and all that is wrong in it, by line.
- `resolve`: which value holds, and where it comes from: built-in < file < environment; for one session: the file's
  global value < the connection's table < what was said for this session.
- `example`: the shipped, commented file, written from the schema.

From the schema come the loader, ``toowl config``, ``toowl set``, the example and docs/configuration.md.

To add a key: one line in a class of `schema`. To add a table: a class there, and a line in its `TABLES` and in
`resolve.Settings`. A table whose keys are not known beforehand, such as hooks by the name of an event, has
``FREE``: the `Key` that all others are like; its class has a field ``given`` then, a map of them.
"""
