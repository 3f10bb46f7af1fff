"""The suite. A package only so that `tests.harness` can be imported by that name."""
