"""Repairs, once each: a strategy turns facts into operations and changes nothing itself."""
