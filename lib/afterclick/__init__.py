"""Afterclick: behaviour events in, personal recommendations out, within a fraction of a second."""

__version__ = "0.1.0"
