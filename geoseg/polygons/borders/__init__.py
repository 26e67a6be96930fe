"""Simpler and rounder borders that stay a valid coverage."""
