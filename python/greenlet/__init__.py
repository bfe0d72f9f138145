"""Greenlets for the stock interpreter, on moonlet's core."""

from ._greenlet import GreenletExit, error, getcurrent, greenlet

__all__ = ["GreenletExit", "error", "getcurrent", "greenlet"]
