"""Hooks for PML's trainers."""

from .core.recluster_hook import ReclusterHook

__all__ = ["ReclusterHook"]
