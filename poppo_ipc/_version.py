"""The version of the package; the protocol's own version is in `poppo_ipc.protocol`."""

__version__ = "0.1.0"
