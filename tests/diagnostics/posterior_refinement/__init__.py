"""Tests of posteriors that can be trusted."""
