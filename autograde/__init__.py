"""A grader for any nbgrader course: faster, sandboxed, and explained; it knows nothing of this workbook."""
