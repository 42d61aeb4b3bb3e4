"""A grader for any nbgrader course: faster, sandboxed, explained; it knows nothing of mlsys."""
