"""The commands of `afterclick`, one module per topic."""
