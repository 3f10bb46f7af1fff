"""One module for each family of measures, each a function that takes a `bench.run.Run`."""
