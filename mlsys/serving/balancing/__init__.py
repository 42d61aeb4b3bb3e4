"""Servers behind a balancer: policies, real fronts, retries, a hash ring, traces."""
