"""Metrics, statistics, the report, who may be champion."""
